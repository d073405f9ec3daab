"""What a person asks of `train`: checked before anything slow begins."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pretrieve.core.errors import UsageError
from pretrieve.pipeline.run.sources import OnBad, field_words
from pretrieve.pipeline.run.workspace import check_workspace
from pretrieve.text.corpus import Fields
from pretrieve.text.tokenizer import Algorithm

DEFAULT_MINUTES = 1.5


@dataclass(frozen=True, kw_only=True)
class Tokenization:
    """How a vocabulary is trained, for bases that bring none.

    Attributes:
        vocabulary_size: most entries wanted.
        algorithm: WordPiece, Unigram, or what the script calls for.
        lowercase: fold case and accents.
    """

    vocabulary_size: int = 32_000
    algorithm: Algorithm = "auto"
    lowercase: bool = True


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """The arguments of a training run, as they were given."""

    sources: tuple[str, ...]
    output: Path
    method: str | None = None
    base: str = "static"
    minutes: float | None = None
    steps: int | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    on_bad: OnBad = "fail"
    tracker: str = "auto"
    held_out: int = 400  # documents that are kept from training, at most
    variants: tuple[str, ...] = ()  # of the preset, those to train; all without it
    select: bool = True  # choose the saved weights by the label-free probe
    fields: Fields = dataclasses.field(default_factory=Fields)
    shared: Path | None = None  # documents and tokens that several runs read
    keep_workspace: bool = False  # leave documents, tokens and checkpoints beside the output when the run is done

    def check(self) -> None:
        """Say at once what cannot work.

        Raises:
            UsageError: two budgets, an unknown method, or an output that is taken.
        """
        if self.minutes is not None and self.steps is not None:
            raise UsageError("give --minutes or --steps, not both.")
        if self.method is not None:
            _check_method(self.method)
        check_workspace(self.output, [*self.sources, self.base], resume=self.resume, overwrite=self.overwrite)


def train_command(request: TrainRequest) -> str:
    """The exact command of a run, for its model card."""
    words = ["pretrieve", "train", *request.sources, "-o", str(request.output)]
    words += ["--variants", ",".join(request.variants)] if request.variants else []
    for name in ("method", "minutes", "steps"):
        if (value := getattr(request, name)) is not None:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    words += [] if request.select else ["--no-select"]
    words += ["--base", request.base] if request.base != "static" else []
    for key, value in request.settings.items():
        words += ["--set", f"{key}={value}"]
    words += ["--seed", str(request.seed)]
    words += ["--on-bad", request.on_bad] if request.on_bad != "fail" else []
    return shlex.join(words + field_words(request.fields))


def _check_method(name: str) -> None:
    """Look a preset up by the text of the files, because importing a method imports torch."""
    from pretrieve.methods import names

    if name not in names():
        from pretrieve.core.errors import suggest

        raise UsageError(f"unknown method {name!r}.{suggest(name, names())}")
