"""Arguments of ``finetune``, and the values that follow from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretrieve.core.config import Value, options_of, setting_text
from pretrieve.core.errors import UsageError
from pretrieve.core.shown import command_line
from pretrieve.finetuning import recipes
from pretrieve.finetuning.ance import Refresh
from pretrieve.finetuning.contrastive import Options
from pretrieve.finetuning.labelled import Draw
from pretrieve.models import devices
from pretrieve.models.lora import AdapterOptions
from pretrieve.models.text_encoder import ModelOptions
from pretrieve.pipeline.finetune import negatives as strategies
from pretrieve.pipeline.run.settings import sort_settings
from pretrieve.pipeline.run.workspace import check_workspace
from pretrieve.text.corpus import OnBad
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trackers import check_tracker

_PARTS: Mapping[str, Any] = {
    "loss": Options,
    "draw": Draw,
    "refresh": Refresh,
    "training": TrainingOptions,
    "encoder": AdapterOptions,
}


@dataclass(frozen=True, kw_only=True)
class FinetuneRequest:
    """The arguments of a fine-tuning run.

    Attributes:
        model: folder or hub name of the starting model.
        labels: BEIR folder, or file of labels (``pipeline/finetune/read_labels.py``).
        output: folder for the model.
        split: split of a BEIR folder.
        documents: further sources of documents, for a file of labels.
        negatives: name of a strategy (``pipeline/finetune/negatives/``). None: given where a file has some, or a folder
            for most queries, else bm25.
        on_bad: policy for bad records of labels and documents.
        negatives_file: file written by ``pretrieve mine``; implies given.
        recipe: name of published values; None: by the kind of model.
        limit: maximum number of labelled queries; None: all.
        epochs: passes over the queries; None: the recipe's.
        steps: number of steps, in place of ``epochs``.
        described: usage of a model whose files do not specify it.
        settings: values of loss, draws, refreshing, training and adapters, by name.
        seed: seed of all randomness.
        resume: resume from the last checkpoint.
        overwrite: replace an existing output.
        tracker: experiment tracker; ``auto`` is TensorBoard if it is installed.
        shared: folder of tokens shared by several runs; None: the run's own.
        keep_workspace: keep documents, tokens and checkpoints of the finished run.
        device: where to compute: auto, cpu, or the name of an accelerator.
    """

    model: str
    labels: Path
    output: Path
    split: str = "train"
    documents: tuple[str, ...] = ()
    negatives: str | None = None
    negatives_file: Path | None = None
    on_bad: OnBad = "auto"
    recipe: str | None = None
    limit: int | None = None
    epochs: int | None = None
    steps: int | None = None
    described: ModelOptions = field(default_factory=ModelOptions)
    settings: Mapping[str, object] = field(default_factory=dict)
    seed: int = 0
    resume: bool = False
    overwrite: bool = False
    tracker: str = "none"
    shared: Path | None = None
    keep_workspace: bool = False
    device: str = "auto"

    def check(self) -> None:
        """Validate the arguments.

        Raises:
            UsageError: two budgets or two kinds of negatives, an unknown recipe, strategy or setting, or an output that
                is taken.
            ExtensionError: a user's file of a strategy is wrong.
            MissingExtraError: adapters are set, and peft is not installed.
        """
        check_tracker(self.tracker)
        devices.check(self.device)
        if self.negatives_file is not None and self.negatives not in (None, "given"):
            raise UsageError(f"give --negatives-file or --negatives {self.negatives}, not both.")
        if self.negatives is not None:
            strategies.find(self.negatives)
        if self.limit is not None and self.limit < 2:
            raise UsageError(f"--limit {self.limit}: the minimum is two labelled queries.")
        if self.epochs is not None and self.steps is not None:
            raise UsageError("give --epochs or --steps, not both.")
        if self.recipe is not None:
            recipes.find(self.recipe)
        for name in ("epochs", "steps"):
            if (number := getattr(self, name)) is not None and number < 1:
                raise UsageError(f"--{name} {number}: the minimum is 1.")
        for part, values in sort_settings(self.settings, _PARTS).items():
            options = options_of(_PARTS[part], values)  # their bounds, before any label is read
            if isinstance(options, AdapterOptions):
                options.check(pretrained=True, base=self.model)
        sources: list[str | Path] = [self.model, self.labels, *self.documents, self.negatives_file or self.labels]
        check_workspace(self.output, sources, resume=self.resume, overwrite=self.overwrite)

    def command(self) -> str:
        """The exact command of this run, for its model card."""
        words = ["pretrieve", "finetune", self.model, str(self.labels), "-o", str(self.output)]
        words += ["--negatives", self.negatives] if self.negatives else []
        words += ["--split", self.split] if self.labels.is_dir() else []
        for name in ("recipe", "limit", "epochs", "steps", "negatives_file"):
            if (value := getattr(self, name)) is not None:
                words += [f"--{name.replace('_', '-')}", str(value)]
        words += ["--on-bad", self.on_bad] if self.on_bad != "auto" else []
        for source in self.documents:
            words += ["--documents", source]
        for name in ("pooling", "similarity", "query_prompt", "document_prompt", "max_length", "like"):
            if (said := getattr(self.described, name)) is not None:
                words += [f"--{name.replace('_', '-')}", str(said)]
        for key, setting in self.settings.items():
            words += ["--set", f"{key}={setting_text(setting)}"]
        return command_line([*words, "--seed", str(self.seed)])


@dataclass(frozen=True, kw_only=True)
class Values:
    """Values after the recipe and the user's settings."""

    recipe: str
    negatives: str
    epochs: int
    loss: Options
    draw: Draw
    refresh: Refresh
    training: TrainingOptions
    encoder: AdapterOptions

    def to_json(self) -> dict[str, Any]:
        """As plain values, by what they configure."""
        parts = {name: dataclasses.asdict(getattr(self, name)) for name in _PARTS} | {"training": self.training.facts()}
        return {"recipe": self.recipe, "negatives": self.negatives, "epochs": self.epochs, **parts}


def values_of(
    request: FinetuneRequest, negatives: str, *, width: int | None, queries: int, untied: bool = False
) -> Values:
    """Combine recipe and settings.

    Args:
        request: arguments of the run.
        negatives: name of the effective strategy.
        width: width of the transformer's hidden states; None for a static encoder.
        queries: number of labelled queries to train on.
        untied: whether the base model has one encoder for queries and one for documents.

    Raises:
        UsageError: a setting is unknown, or does not fit.
    """
    name = request.recipe or ("static" if width is None else "transformer")
    recipe, mine = recipes.find(name), sort_settings(request.settings, _PARTS)
    adapters = options_of(AdapterOptions, mine["encoder"])
    adapters.check(pretrained=width is not None, base=request.model)
    strategy = strategies.find(negatives)
    if mine["refresh"] and not hasattr(strategy, "objective"):
        raise UsageError(f"--set {next(iter(mine['refresh']))}: it is for --negatives ance; these are {negatives}.")
    loss = options_of(Options, {**_plain(recipe.loss), **mine["loss"]})
    if untied and mine["loss"].get("encoders") == "tied":
        raise UsageError("--set encoders=tied: the start has one encoder for queries and one for documents.")
    usual = _plain(recipe.training)
    if recipe.width and width:
        usual["learning_rate"] = float(f"{recipe.training['learning_rate'].value * (recipe.width / width) ** 2:.2g}")
    training = options_of(TrainingOptions, {**usual, **mine["training"]})
    batch_size = min(training.batch_size, max(2, queries))
    epochs = request.epochs or recipe.epochs
    steps = request.steps or (training.steps if "steps" in mine["training"] else round(epochs * queries / batch_size))
    training = dataclasses.replace(training, batch_size=batch_size, steps=max(1, steps))
    number = getattr(strategy, "NUMBER", None)
    draw = _plain(recipe.draw) | ({} if number is None else {"negatives": number}) | mine["draw"]
    return Values(
        recipe=name,
        negatives=negatives,
        epochs=epochs,
        loss=dataclasses.replace(loss, encoders="untied") if untied else loss,
        draw=options_of(Draw, draw),
        refresh=options_of(Refresh, mine["refresh"]).over(training.steps),
        training=training,
        encoder=adapters,
    )


def _plain(part: Mapping[str, Value]) -> dict[str, object]:
    return {key: value.value for key, value in part.items()}
