"""What a person asks of `train`: checked before anything slow begins."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pretrieve.core import files
from pretrieve.core.aside import BEFORE, MOVING
from pretrieve.core.disk import LOCK, TEMPORARY
from pretrieve.core.errors import UsageError
from pretrieve.text.corpus import Fields
from pretrieve.text.tokenizer import Algorithm

CHECKPOINTS = "checkpoints"
WORKSPACE = "training"  # inside the model's folder: documents, tokenizer, store, recipe of the run
STATIC = "static"  # inside the folder of a retrieval model: the static model beside it
DEFAULT_MINUTES = 1.5
OnBad = Literal["fail", "skip", "quarantine"]


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
class Request:
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
    judge: bool = True  # hand out nothing that the label-free probe finds worse than the start
    fields: Fields = dataclasses.field(default_factory=Fields)

    def check(self) -> None:
        """Say at once what cannot work.

        Raises:
            UsageError: two budgets, an unknown method, or an output that is taken.
        """
        if self.minutes is not None and self.steps is not None:
            raise UsageError("give --minutes or --steps, not both.")
        if self.method is not None:
            _check_method(self.method)
        if not self.resume:
            check_output(self.output, [*self.sources, self.base], overwrite=self.overwrite)


def check_output(output: Path, sources: Iterable[str | Path], *, overwrite: bool, also: Iterable[str] = ()) -> None:
    """Refuse a place that is taken, that holds an unfinished run and is not to be begun anew, or that the run reads.

    Args:
        output: the place.
        sources: what the run reads.
        overwrite: it may be begun anew, or replaced.
        also: more names that an unfinished run of this kind may leave there.

    Raises:
        UsageError: it is taken, or is read.
    """
    if not unfinished(output, also):
        files.check_free(output, replace=overwrite)
    elif not overwrite:
        raise UsageError(
            f"{output} holds a run that was not finished: add --resume to go on, or --overwrite to start anew."
        )
    if overwrite:
        files.check_apart(output, sources)


def unfinished(output: Path, also: Iterable[str] = ()) -> bool:
    """Whether a folder holds an unfinished run and nothing else, so that it may be gone on with, or removed."""
    names = {path.name for path in output.iterdir()} if output.is_dir() else set()
    ours = {LOCK, BEFORE, MOVING, WORKSPACE, CHECKPOINTS, STATIC, "start", *also}
    return LOCK in names and all(name in ours or name.startswith(TEMPORARY) for name in names)


def fields_of(
    *,
    text: str | None,
    title: str | None,
    identity: str | None,
    group: str | None,
    titles: bool,
    wikipedia: bool = False,
) -> Fields:
    """Names of fields as the user gave them; None leaves the usual conventions."""
    return Fields(text=text, title=title, id=identity, group=group, use_titles=titles, wikipedia=wikipedia)


def train_command(request: Request) -> str:
    """The exact command of a run, for its model card."""
    words = ["pretrieve", "train", *request.sources, "-o", str(request.output)]
    words += ["--variants", ",".join(request.variants)] if request.variants else []
    for name in ("method", "minutes", "steps"):
        if (value := getattr(request, name)) is not None:
            words += [f"--{name}", f"{value:g}" if isinstance(value, float) else str(value)]
    words += [] if request.judge else ["--no-judge"]
    words += ["--base", request.base] if request.base != "static" else []
    for key, value in request.settings.items():
        words += ["--set", f"{key}={value}"]
    words += ["--seed", str(request.seed)]
    words += ["--on-bad", request.on_bad] if request.on_bad != "fail" else []
    return shlex.join(words + field_words(request.fields))


def field_words(fields: Fields) -> list[str]:
    """Options of a command that say which fields of the sources hold what, those that are not usual."""
    words: list[str] = []
    for name in ("text", "title", "id", "group"):
        words += [f"--{name}-field", value] if (value := getattr(fields, name)) else []
    words += [] if fields.use_titles else ["--without-titles"]
    return words + (["--wikipedia"] if fields.wikipedia else [])


def _check_method(name: str) -> None:
    """Look a preset up by the text of the files, because importing a method imports torch."""
    from pretrieve.methods import names

    if name not in names():
        from pretrieve.core.errors import suggest

        raise UsageError(f"unknown method {name!r}.{suggest(name, names())}")
