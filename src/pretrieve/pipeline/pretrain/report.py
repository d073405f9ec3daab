"""The report of a run, as saved in ``report.json`` beside the model."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import UsageError

MODEL, REPORT = "model", "report.json"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The result of a run, as saved in ``report.json``.

    Attributes:
        recipe: recipe of the run.
        documents: number of documents read, trained on, and held out.
        saved: name of the saved variant or method, or ``"start"``.
        reason: reason of the choice, in a sentence.
        probe: scores of BM25, start and trained models in the label-free probe; None where nothing was held out.
        fusion: fusion weight of the vectors, and the scores of other weights; None where it was not chosen.
        reading: what became of the files and records of the sources, in counts.
        signal: loss and statistics of the method on held-out documents, before and after; None where not measured.
    """

    recipe: dict[str, Any]
    documents: dict[str, int]
    saved: str
    reason: str
    probe: dict[str, Any] | None
    fusion: dict[str, Any] | None
    signal: dict[str, Any] | None = None
    reading: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "recipe": self.recipe,
            "documents": self.documents,
            "reading": self.reading,
            "saved": self.saved,
            "reason": self.reason,
            "probe": self.probe,
            "fusion": self.fusion,
            "signal": self.signal,
        }


def open_report(folder: Path) -> Report:
    """Read the report of a finished run.

    Raises:
        UsageError: there is no finished model.
        CorruptError: it is damaged.
    """
    files.read_manifest(folder, MODEL)
    facts = orjson.loads((folder / REPORT).read_bytes()) if (folder / REPORT).is_file() else {}
    if not {"recipe", "saved"} <= facts.keys() <= {item.name for item in fields(Report)}:
        raise UsageError(f"{folder} is no model of `pretrieve train`: choose another place.")
    return Report(**facts)
