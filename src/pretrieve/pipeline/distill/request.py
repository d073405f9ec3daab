"""Arguments of ``distill``, validated before any slow work starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pretrieve.core.config import options_of, setting_text
from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.model_files import check_model_files
from pretrieve.core.shown import command_line
from pretrieve.models import devices
from pretrieve.models.text_encoder import ModelOptions
from pretrieve.pipeline.run.settings import sort_settings
from pretrieve.pipeline.run.sources import field_words
from pretrieve.pipeline.run.workspace import check_workspace
from pretrieve.text.corpus import Fields, FileFilter, OnBad
from pretrieve.training.trackers import check_tracker

if TYPE_CHECKING:
    from pretrieve.finetuning.distillation import Options
    from pretrieve.training.options import TrainingOptions

Weighting = Literal["idf", "sif", "none"]
Stage = Literal["tokens", "distil", "contrast"]
STAGES: tuple[Stage, ...] = ("tokens", "distil", "contrast")
TEACHER_TOKENS = 500_000
_AT_LEAST = {"words": 0, "window": 8, "queries": 1, "steps": 1, "contrast_steps": 1, "teacher_tokens": 1000}
_OURS = {  # of the first training; the second takes its own from the method `structure`, at a smaller rate
    "batch_size": 512,
    "learning_rate": 0.02,
    "warmup": 0.05,
    "floor": 0.05,
    "beta2": 0.99,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
    "save_every": 50,
}


@dataclass(frozen=True, kw_only=True)
class DistillRequest:
    """The arguments of a run.

    Attributes:
        sources: documents.
        output: folder for the model.
        teacher: folder or hub name of a transformer text encoder.
        described: usage of the teacher, where its files do not specify it.
        stages: stages to run: token vectors of the teacher (random ones without it), distillation, contrast.
        teacher_tokens: tokens of the documents that the teacher reads; default ``TEACHER_TOKENS``.
        minutes: time of the teacher, vocabulary included, in place of ``teacher_tokens``.
        words: number of frequent words, split by the teacher's tokenizer, that are added to the vocabulary.
        dimensions: dimensions of the student; default: the teacher's, at most 256.
        weighting: weights of the token vectors before training.
        window: maximum number of tokens of a document that the teacher reads.
        queries: number of queries drawn from each document for the teacher.
        steps: steps of the distillation stage.
        contrast_steps: steps of the contrastive stage.
        anchor: weight of the distillation loss in the contrastive stage.
        bfloat16: run the teacher in half precision: three times as fast on processors that support it.
        select: hold documents out and save the stage that adds most to BM25 on them; otherwise train on all documents
            and save the last stage.
        settings: options of the distillation loss and of its training by name.
        seed: seed of all randomness.
        resume: resume an interrupted run.
        overwrite: replace an existing output.
        on_bad: policy for unreadable records.
        file_filter: the files that are read in folders.
        fields: field names of the sources.
        tracker: experiment tracker; ``auto`` is TensorBoard if it is installed.
        shared: folder of documents shared by several runs; None: the run's own.
        keep_workspace: keep documents, tokens and checkpoints of the finished run.
        device: where to compute: auto, cpu, or the name of an accelerator.
    """

    sources: tuple[str, ...]
    output: Path
    teacher: str
    described: ModelOptions = ModelOptions()  # noqa: RUF009 - frozen
    stages: tuple[str, ...] = STAGES
    teacher_tokens: int | None = None
    minutes: float | None = None
    words: int = 0
    dimensions: int | None = None
    weighting: Weighting = "idf"
    window: int = 128
    queries: int = 4
    steps: int = 300
    contrast_steps: int = 100
    anchor: float = 1.0
    bfloat16: bool = False
    select: bool = False
    settings: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    on_bad: OnBad = "auto"
    file_filter: FileFilter = field(default_factory=FileFilter)
    fields: Fields = field(default_factory=Fields)
    tracker: str = "none"
    shared: Path | None = None
    keep_workspace: bool = False
    device: str = "auto"

    def check(self) -> None:
        """Validate the arguments.

        Raises:
            UsageError: a value is too small or unknown, the teacher cannot teach, or the output is taken.
        """
        check_tracker(self.tracker)
        devices.check(self.device)
        self._check_values()
        if self.settings:
            sorted_settings(self.settings)  # imports torch
        _check_teacher(self.teacher)
        sources = [*self.sources, self.teacher]
        check_workspace(self.output, sources, resume=self.resume, overwrite=self.overwrite)

    def command(self, teacher_tokens: int | None = None) -> str:
        """The exact command of the run, for its model card.

        Args:
            teacher_tokens: tokens that its minutes came to; None: as in the request.
        """
        if self.minutes is not None and teacher_tokens is not None:
            return dataclasses.replace(self, minutes=None, teacher_tokens=teacher_tokens).command()
        words = ["pretrieve", "distill", *self.sources, "--teacher", self.teacher, "-o", str(self.output)]
        for name, value in dataclasses.asdict(self.described).items():
            if value is not None and name in _SAID:
                words += [f"--{name.replace('_', '-')}", str(value)]
        usual = DistillRequest(sources=("",), output=Path(), teacher="")
        for name in _SHOWN:
            if (value := getattr(self, name)) != getattr(usual, name):
                words += [f"--{name.replace('_', '-')}", ",".join(value) if name == "stages" else f"{value}"]
        words += ["--bfloat16"] if self.bfloat16 else []
        words += ["--select"] if self.select else []
        for key, value in self.settings.items():
            words += ["--set", f"{key}={setting_text(value)}"]
        return command_line([*words, "--seed", str(self.seed), *field_words(self.fields)])

    def _check_values(self) -> None:
        """Validate numbers and names.

        Raises:
            UsageError: one is invalid.
        """
        for name, least in _AT_LEAST.items():
            if (value := getattr(self, name)) is not None and value < least:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: {least} is the minimum.")
        if not self.sources:
            raise UsageError("there are no documents: give sources.")
        if self.minutes is not None and self.teacher_tokens is not None:
            raise UsageError("give --minutes or --teacher-tokens, not both.")
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"--minutes {self.minutes:g}: must be above 0.")
        if not self.anchor >= 0:
            raise UsageError(f"--anchor {self.anchor:g}: must be 0 or above.")
        for stage in self.stages:
            if stage not in STAGES:
                raise UsageError(f"--stages: unknown stage {stage!r}.{suggest(stage, STAGES)}")
        if not {"tokens", "distil"} & set(self.stages):
            raise UsageError(
                "--stages: nothing of the teacher is used: add tokens or distil, or use `pretrieve train`."
            )


_SAID = ("pooling", "similarity", "query_prompt", "document_prompt", "max_length", "like")
_SHOWN = ("stages", "teacher_tokens", "minutes", "words", "dimensions", "weighting", "window", "queries", "steps",
          "contrast_steps", "anchor", "on_bad")  # fmt: skip


def sorted_settings(settings: Mapping[str, object]) -> tuple[Options, TrainingOptions]:
    """Divide ``--set`` values into those of the distillation loss and those of its training.

    Raises:
        UsageError: one is unknown, or does not fit.
    """
    from pretrieve.finetuning.distillation import Options
    from pretrieve.training.options import TrainingOptions

    found = sort_settings(settings, {"loss": Options, "training": TrainingOptions})
    if "steps" in found["training"]:
        raise UsageError("--set steps: give --steps.")
    return options_of(Options, found["loss"]), options_of(TrainingOptions, _OURS | found["training"])


def _check_teacher(name: str) -> None:
    """Refuse a folder that is no teacher before documents are read.

    Raises:
        UsageError: it is no folder, or a static model or one of several vectors.
        ModelError: it is sparse, multi-vector, or a cross-encoder.
        CorruptError: its configuration is damaged.
    """
    from pretrieve.models.bag import Bag
    from pretrieve.models.model_kind import refuse_other_kinds

    folder = Path(name)
    if not folder.exists():
        return  # a hub name or nothing; opening it tells
    if not folder.is_dir():
        raise UsageError(f"{name} is not a folder; give the folder of a model.")
    if Bag.readable(folder):
        raise UsageError(f"{name} is a static model already: a teacher is a transformer.")
    check_model_files(folder)
    if (folder / "views.json").is_file():
        raise UsageError(f"{name} gives several vectors for a text: a teacher gives one.")
    refuse_other_kinds(folder, name, own_code=True)  # opening it tells of code
