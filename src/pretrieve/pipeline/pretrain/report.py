"""The report of a run: what was done and found, as kept in ``report.json`` beside the model."""

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
    """What a run did and found, as kept in ``report.json``.

    Attributes:
        recipe: what decided the run.
        documents: number read, trained on, and held out.
        saved: what was saved: the name of a variant or method, or ``"start"``.
        reason: why, in a sentence.
        probe: what the label-free probe saw of BM25, the start and what was trained; None where nothing was held out.
        fusion: weight of the vectors beside words, and what was seen of others; None where it was not chosen.
        signal: loss and statistics of the method on held-out documents, before and after; None where not measured.
    """

    recipe: dict[str, Any]
    documents: dict[str, int]
    saved: str
    reason: str
    probe: dict[str, Any] | None
    fusion: dict[str, Any] | None
    signal: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "recipe": self.recipe,
            "documents": self.documents,
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
