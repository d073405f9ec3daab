"""What a person asks of ``distill``: checked before anything slow begins."""

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
from pretrieve.models.text_encoder import ModelOptions
from pretrieve.pipeline.run.settings import sort_settings
from pretrieve.pipeline.run.sources import OnBad, field_words
from pretrieve.pipeline.run.workspace import check_workspace
from pretrieve.text.corpus import Fields
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
        teacher: folder or hub name of a transformer that encodes texts.
        described: what is said about the teacher, where it does not say it itself.
        stages: what is done: token vectors from the teacher (random ones without it), distillation, contrast.
        teacher_tokens: that the teacher reads of the documents beside its vocabulary; ``TEACHER_TOKENS`` without it.
        minutes: that the teacher reads for, instead; the vocabulary is part of them.
        words: frequent words of the documents that the teacher's tokenizer splits and that get a vector of their own.
        dimensions: of the student; those of the teacher without it, 256 at most.
        weighting: of token vectors at the start.
        window: tokens of the longest document that the teacher reads.
        queries: texts out of each document that the teacher reads beside it.
        steps: of the distillation.
        contrast_steps: of the contrast.
        anchor: weight of the distillation loss beside the contrast.
        bfloat16: the teacher runs in half precision: three times as fast where the processor has instructions for it.
        select: hold documents out, and save the stage that helps BM25 most on them; without it, all are learnt from and
            the last stage is saved.
        settings: options of the distillation loss and of its training by name.
        seed: all randomness comes from it.
        resume: go on with a run that was stopped.
        overwrite: replace what is at ``output``.
        on_bad: what to do with records that cannot be read.
        fields: which fields of the sources hold what.
        tracker: where curves go; ``auto`` is TensorBoard where it is installed.
        shared: folder of documents that several runs read; None for the run's own.
        keep_workspace: leave documents, tokens and checkpoints beside the output when the run is done.
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
    on_bad: OnBad = "fail"
    fields: Fields = field(default_factory=Fields)
    tracker: str = "none"
    shared: Path | None = None
    keep_workspace: bool = False

    def check(self) -> None:
        """Say at once what cannot work.

        Raises:
            UsageError: a value is too small or unknown, the teacher cannot teach, or the output is taken.
        """
        check_tracker(self.tracker)
        self._check_values()
        if self.settings:
            sorted_settings(self.settings)  # imports torch
        _check_teacher(self.teacher)
        sources = [*self.sources, self.teacher]
        check_workspace(self.output, sources, resume=self.resume, overwrite=self.overwrite)

    def command(self, teacher_tokens: int | None = None) -> str:
        """The exact command of the run, for its model card.

        Args:
            teacher_tokens: what its minutes came to; as it was asked for without it.
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
        """Refuse numbers and names that do not fit.

        Raises:
            UsageError: one does not.
        """
        for name, least in _AT_LEAST.items():
            if (value := getattr(self, name)) is not None and value < least:
                raise UsageError(f"--{name.replace('_', '-')} {getattr(self, name)}: {least} is the least.")
        if not self.sources:
            raise UsageError("there are no documents: give sources.")
        if self.minutes is not None and self.teacher_tokens is not None:
            raise UsageError("give --minutes or --teacher-tokens, not both.")
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"--minutes {self.minutes:g}: it is above 0.")
        if not self.anchor >= 0:
            raise UsageError(f"--anchor {self.anchor:g}: it is not below 0.")
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
        UsageError: it is no folder, or a static, sparse or multi-vector model.
        CorruptError: its configuration is damaged.
    """
    import orjson

    from pretrieve.models.bag import Bag

    folder = Path(name)
    if not folder.exists():
        return  # a name of the hub, or nothing: opening it says which
    if not folder.is_dir():
        raise UsageError(f"{name} is not a folder; a model is one.")
    if Bag.readable(folder):
        raise UsageError(f"{name} is a static model already: a teacher is a transformer.")
    check_model_files(folder)
    path = folder / "config_sentence_transformers.json"
    modules = folder / "modules.json"
    kind = orjson.loads(path.read_bytes()).get("model_type") if path.is_file() else None
    names = modules.read_text(encoding="utf-8") if modules.is_file() else ""
    if (folder / "views.json").is_file() or kind == "MultiVectorEncoder" or "MultiVector" in names:
        raise UsageError(f"{name} gives several vectors for a text: a teacher gives one.")
    if kind == "SparseEncoder" or "SpladePooling" in names or "sparse_encoder" in names:
        raise UsageError(f"{name} is a sparse model: a teacher gives one dense vector for a text.")
