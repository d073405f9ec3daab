"""Arguments of ``train``, validated before any slow work starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pretrieve.core.bounds import check_bounds
from pretrieve.core.config import setting_text
from pretrieve.core.errors import UsageError
from pretrieve.core.shown import command_line
from pretrieve.models import devices
from pretrieve.pipeline.run.sources import source_words
from pretrieve.pipeline.run.workspace import check_workspace
from pretrieve.text.corpus import Fields, FileFilter, OnBad
from pretrieve.text.tokenizer import Algorithm
from pretrieve.training.trackers import check_tracker

DEFAULT_MINUTES = 1.5
HELD_OUT = 400


@dataclass(frozen=True, kw_only=True)
class Tokenization:
    """How a vocabulary is trained, for bases without one.

    Attributes:
        vocabulary_size: maximum number of entries.
        algorithm: WordPiece, Unigram, or by the script.
        lowercase: fold case and accents.
    """

    vocabulary_size: int = 32_000
    algorithm: Algorithm = "auto"
    lowercase: bool = True

    def __post_init__(self) -> None:
        check_bounds(self, 1, 1_000_000, "vocabulary_size")


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """The arguments of a training run, as given."""

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
    on_bad: OnBad = "auto"
    file_filter: FileFilter = field(default_factory=FileFilter)
    tracker: str = "auto"
    held_out: int = HELD_OUT  # maximum number of held-out documents
    variants: tuple[str, ...] = ()  # variants of the preset to train; None: all
    select: bool = True  # choose the saved weights by the label-free probe
    fields: Fields = dataclasses.field(default_factory=Fields)
    shared: Path | None = None  # folder of documents and tokens shared by several runs
    keep_workspace: bool = False  # keep documents, tokens and checkpoints of the finished run
    device: str = "auto"  # where to compute: auto, cpu, or the name of an accelerator

    def check(self) -> None:
        """Validate the arguments.

        Raises:
            UsageError: two budgets, an unknown method or device, or an output that is taken.
        """
        check_tracker(self.tracker)
        devices.check(self.device)
        if self.minutes is not None and self.steps is not None:
            raise UsageError("give --minutes or --steps, not both.")
        if self.method is not None:
            _check_method(self.method)
        check_workspace(self.output, [*self.sources, self.base], resume=self.resume, overwrite=self.overwrite)


def train_command(request: TrainRequest, steps: int | None = None) -> str:
    """The exact command of a run, for its model card.

    Args:
        request: the run.
        steps: number of steps that its minutes came to; None: as in the request.
    """
    words = ["pretrieve", "train", *request.sources, "-o", str(request.output)]
    words += ["--variants", ",".join(request.variants)] if request.variants else []
    words += ["--method", request.method] if request.method is not None else []
    if steps is not None:
        words += ["--steps", str(steps)]
    elif request.steps is not None:
        words += ["--steps", str(request.steps)]
    elif request.minutes is not None:
        words += ["--minutes", f"{request.minutes:g}"]
    words += [] if request.select else ["--no-select"]
    words += ["--base", request.base] if request.base != "static" else []
    words += ["--held-out-documents", str(request.held_out)] if request.held_out != HELD_OUT else []
    for key, value in request.settings.items():
        words += ["--set", f"{key}={setting_text(value)}"]
    words += ["--seed", str(request.seed)]
    return command_line([*words, *source_words(request)])


def _check_method(name: str) -> None:
    """Look up a preset by the text of the files, since importing a method imports torch."""
    from pretrieve.methods import names

    if name not in names():
        from pretrieve.core.errors import suggest

        raise UsageError(f"unknown method {name!r}.{suggest(name, names())}")
