"""Arguments of ``compare``, and the paths of its parts."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import UsageError, suggest
from pretrieve.models import devices
from pretrieve.pipeline.finetune.request import FinetuneRequest, values_of
from pretrieve.pipeline.pretrain.request import Tokenization
from pretrieve.pipeline.run.sources import source_words
from pretrieve.pipeline.run.workspace import parts_in
from pretrieve.text.corpus import Fields, FileFilter, OnBad

NONE = "none"  # the base as it is
BM25 = "BM25"
ALL = "all"
SAID = "comparison.json"  # what decides each score
_WIDER = ("output", "methods", "labels", "seeds")  # fields that may grow in an existing comparison
_READING = ("on_bad", "file_filter", "fields")  # how documents are read
# The method that another one starts from instead of the base; each of the two gets half of the budget.
FORERUNNERS = {"cocondenser": "condenser", "realm": "orqa-ict"}


@dataclass(frozen=True, kw_only=True)
class CompareRequest:
    """The arguments of a comparison.

    Attributes:
        sources: training documents of every method.
        methods: presets; ``none`` is the untrained base.
        benchmark: BEIR folder to evaluate on.
        output: folder for models, scores and report.
        base: encoder that every method starts from.
        tokens: training budget of every method, in tokens.
        steps: training budget of every method, in steps, in place of ``tokens``.
        split: split to evaluate on.
        finetune: split to take labels from; empty: no fine-tuning.
        labels: numbers of labelled queries to fine-tune with; 0 for all of them.
        negatives: strategy for hard negatives in fine-tuning.
        seeds: number of seeds, from 0.
        settings: pre-training settings by name; ``method.name`` sets one method's.
        tuning: settings of fine-tuning.
        metric: metric to report.
        device: where to compute: auto, cpu, or the name of an accelerator.
        on_bad: policy for unreadable records.
        file_filter: the files that are read in folders.
        fields: names of the fields.
    """

    sources: tuple[str, ...]
    methods: tuple[str, ...]
    benchmark: Path
    output: Path
    base: str = "new:layers=2,hidden=128,dropout=0"
    tokens: int = 1_000_000
    steps: int | None = None
    split: str = "test"
    finetune: str = "train"
    labels: tuple[int, ...] = (100, 1000, 0)
    negatives: str = "bm25"
    seeds: int = 3
    settings: Mapping[str, str] = field(default_factory=dict)
    tuning: Mapping[str, str] = field(default_factory=dict)
    metric: str = "nDCG@10"
    device: str = "auto"
    on_bad: OnBad = "auto"
    file_filter: FileFilter = field(default_factory=FileFilter)
    fields: Fields = dataclasses.field(default_factory=Fields)

    def check(self) -> None:
        """Validate the arguments.

        Raises:
            UsageError: an unknown method, setting or metric, no budget, or a folder that is no benchmark.
        """
        from pretrieve.evaluation.benchmark import parse_metrics
        from pretrieve.methods import names

        devices.check(self.device)
        if not self.methods:
            raise UsageError("there is no method to compare.")
        for method in self.methods:
            if method != NONE and method not in names():
                raise UsageError(f"unknown method {method!r}.{suggest(method, [NONE, *names()])}")
        known = {name for method in self.order for name in options_of(method)}
        for key in self.settings:
            method, _, name = key.rpartition(".")
            if name == "steps":
                raise UsageError(f"--set {key}: every method gets the same: give --tokens or --steps.")
            if name not in (known if not method else options_of(method) if method in self.order else ()):
                raise UsageError(f"--set {key}: no method that is compared has such an option.{suggest(name, known)}")
        self._check_numbers()
        parse_metrics([self.metric])
        self._check_tuning()
        self._check_splits()
        if parts_in(self.output) and not (self.output / SAID).is_file():
            raise UsageError(f"{self.output} exists and holds no comparison: choose another --output.")

    def _check_numbers(self) -> None:
        numbers = (self.tokens, self.seeds, 1 if self.steps is None else self.steps, *self.labels)
        if not all(isinstance(number, int) for number in numbers):
            raise UsageError("tokens, steps, seeds and labels are whole numbers; 0 labels are all of them.")
        if min(numbers[:3]) < 1 or any(number < 0 or number == 1 for number in self.labels):
            raise UsageError("tokens, steps and seeds are at least 1, and labels 2, or 0 for all of them.")
        for name, given in (("methods", self.methods), ("labels", self.labels)):
            if len(set(given)) < len(given):
                raise UsageError(f"--{name}: one of them is given twice.")

    def _check_tuning(self) -> None:
        wanted = FinetuneRequest(
            model=self.base, labels=self.benchmark, output=self.place("tuned", "x"), settings=self.tuning
        )
        try:
            wanted.check()
            values_of(wanted, self.negatives, width=None if self.base == "static" else 768, queries=1000)
        except UsageError as error:
            raise UsageError(str(error).replace("--set", "--tune")) from None

    def _check_splits(self) -> None:
        """Check that both splits exist and differ."""
        if self.finetune == self.split:
            raise UsageError(f"--finetune {self.finetune}: evaluation uses these labels; give another split.")
        names = {path.name.partition(".tsv")[0] for path in (self.benchmark / "qrels").glob("*.tsv*")}
        if not names:
            raise UsageError(f"{self.benchmark} is no BEIR folder with qrels/{self.split}.tsv.")
        for split in (self.split, self.finetune if self.labels else ""):
            if split and split not in names:
                there = f"{self.benchmark} has no split {split!r}, but {', '.join(sorted(names))}"
                raise UsageError(
                    f"{there}." if split == self.split else f'{there}: without labels, give --finetune "".'
                )

    def facts(self) -> dict[str, Any]:
        """What decides each score, as plain values; methods and their own settings, labels and seeds may be added."""
        apart = (*_WIDER, *_READING, "device")
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name not in apart}
        if words := source_words(self):  # older comparisons read as is usual
            values["reading"] = words
        values["settings"] = {key: str(value) for key, value in self.settings.items() if "." not in key}
        values["tuning"] = {key: str(value) for key, value in self.tuning.items()}
        values["sources"] = [files.digest(Path(source), without=self.output) or source for source in self.sources]
        values["benchmark"] = [files.digest(path) for path in self._evaluated_files()]
        values["base"] = files.digest(Path(self.base)) or self.base
        return values

    def _evaluated_files(self) -> list[Path]:
        """The files of the benchmark that are read."""
        patterns = ("corpus.jsonl*", "queries.jsonl*", *(f"qrels/{name}.tsv*" for name in (self.split, self.finetune)))
        return [path for pattern in patterns for path in sorted(self.benchmark.glob(pattern))]

    @property
    def budget(self) -> str:
        """The budget of every method, as text."""
        return f"{self.tokens:,} tokens" if self.steps is None else f"{self.steps:,} steps"

    @property
    def shared(self) -> Path:
        """Folder of the documents and tokens that all runs read."""
        return self.output / "shared"

    @property
    def order(self) -> list[str]:
        """Methods in the order that they are trained in: forerunners first."""
        found: list[str] = []
        for method in self.methods:
            for name in (FORERUNNERS.get(method), method):
                if name is not None and name not in found:
                    found.append(name)
        return found

    def own(self, method: str) -> dict[str, str]:
        """Settings of one method: those of all that it has an option for, and its own."""
        known = options_of(method)
        common = {key: value for key, value in self.settings.items() if "." not in key and key in known}
        mine = {key.partition(".")[2]: value for key, value in self.settings.items() if key.startswith(f"{method}.")}
        return common | mine

    def place(self, kind: str, *parts: object) -> Path:
        """Folder or file of a part: ``runs``, ``tuned`` or ``scores``."""
        return self.output / kind / "-".join(map(str, parts))

    def begin(self) -> None:
        """Record the arguments, or refuse the folder of another comparison.

        Raises:
            UsageError: the folder is of another comparison, or has a method with other settings.
        """
        values = self.output / SAID
        mine = files.to_json(self.facts())
        if values.is_file():
            self._check_said(orjson.loads(values.read_bytes()), orjson.loads(mine))
        path = self.output / "settings.json"
        before = orjson.loads(path.read_bytes()) if path.is_file() else {}
        now = {method: {key: str(value) for key, value in self.own(method).items()} for method in self.order}
        for method in now.keys() & before.keys():
            if now[method] != before[method] and self._trained(method):
                raise UsageError(f"{self.output} has {method} with other settings: give the same, or another --output.")
        files.write_file(values, mine)
        files.write_file(path, files.to_json(before | now))

    def _check_said(self, before: dict[str, Any], now: dict[str, Any]) -> None:
        other = ", ".join(name for name in now if before.get(name) != now[name])
        if before != now:
            raise UsageError(
                f"{self.output} holds another comparison ({other}: not as before): give another --output, or the same "
                "arguments and data."
            )

    def _trained(self, method: str) -> bool:
        """Whether the method has a run, for itself or as a forerunner."""
        names = (path.name.rpartition("-")[0] for path in (self.output / "runs").glob(f"{method}-*"))
        return any(name == method or name.startswith(f"{method}-for-") for name in names)


@cache
def options_of(method: str) -> frozenset[str]:
    """Names of the settings of a method's run; of encoder and vocabulary for ``none``."""
    from pretrieve.methods import find
    from pretrieve.models.build import EncoderOptions
    from pretrieve.training.options import TrainingOptions

    parts: list[Any] = [EncoderOptions, Tokenization]
    if method != NONE:
        parts += [find(method)[0].Options, TrainingOptions]
    return frozenset(item.name for part in parts for item in fields(part))
