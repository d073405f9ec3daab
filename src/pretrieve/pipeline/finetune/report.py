"""The report of a fine-tuning run, saved as ``report.json`` beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import UsageError

MODEL, REPORT = "model", "report.json"


@dataclass(frozen=True, kw_only=True)
class FinetuneReport:
    """The result of a run, as saved in ``report.json``.

    Attributes:
        values: effective values of the run.
        queries: number of queries trained on, and held out.
        documents: number in the collection.
        negatives: number of hard negatives known before training.
        evaluation: nDCG@10 on the held-out queries of BM25, the start and the model, with tests; None without any.
        labels: what reading the labels found (``LabelReport``); "trained_with_negatives" is the number of training
            queries with negatives, where these are known before training. Empty in reports of earlier versions.
        device: the device that trained, and those after it where the run was resumed on another.
    """

    values: Mapping[str, Any]
    queries: Mapping[str, int]
    documents: int
    negatives: int
    evaluation: Mapping[str, Any] | None
    labels: Mapping[str, Any] = field(default_factory=dict)
    device: str = field(default_factory=str)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "values": dict(self.values),
            "queries": dict(self.queries),
            "documents": self.documents,
            "negatives": self.negatives,
            "evaluation": self.evaluation,
            "labels": dict(self.labels),
            "device": self.device,
        }


def open_report(output: Path) -> FinetuneReport:
    """Read the report of a finished run.

    Raises:
        UsageError: there is none.
        CorruptError: it is damaged.
    """
    files.read_manifest(output, MODEL)
    facts = orjson.loads((output / REPORT).read_bytes()) if (output / REPORT).is_file() else {}
    names = {item.name for item in fields(FinetuneReport)}
    needed = {item.name for item in fields(FinetuneReport) if item.default_factory is MISSING}
    if not needed <= facts.keys() <= names:
        raise UsageError(f"{output} is no model of `pretrieve finetune`: choose another place.")
    return FinetuneReport(**facts)
