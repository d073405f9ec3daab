"""The scores of a comparison by query, as its folder keeps them, beside the table that it reported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core.errors import CorruptError
from pretrieve.core.types import FloatArray

_SAME = 1e-9
Key = tuple[str, str, str]  # method, stage and mode


@dataclass(frozen=True, kw_only=True)
class System:
    """One method at one stage, in one mode.

    Attributes:
        method: its name.
        stage: labels of fine-tuning, as the report names them.
        mode: dense, hybrid or lexical.
        cell: mean, interval and test, as reported.
        values: (Q,) mean over seeds of each query's value.
        ranking: run of the first seed, below the comparison's folder; empty where it is not kept.
    """

    method: str
    stage: str
    mode: str
    cell: dict[str, Any]
    values: FloatArray
    ranking: str = ""

    @property
    def mean(self) -> float:
        """As reported."""
        return float(self.cell["mean"])


def read_systems(folder: Path, report: dict[str, Any]) -> list[System]:
    """Find the values of every cell of a comparison's report.

    Args:
        folder: of the comparison.
        report: its ``report.json``.

    Raises:
        CorruptError: scores are missing, damaged, or not those of the report.
    """
    scores, rankings = _scores(folder)
    systems = []
    for cell in report["cells"]:
        key = (cell["method"], cell["labels"], cell["mode"])
        by_seed = scores.get(key, {})
        kept = [by_seed[seed] for seed in range(len(cell["seeds"])) if seed in by_seed]
        if len(kept) < len(cell["seeds"]) or len({len(values) for values in kept}) != 1:
            raise CorruptError(f"{folder}/scores has not all of {key}: run `pretrieve compare` again.")
        values = np.array(kept, np.float64).mean(axis=0)
        if abs(values.mean() - cell["mean"]) > _SAME:
            raise CorruptError(f"{folder}/scores and report.json differ ({key}): run `pretrieve compare` again.")
        ranking = rankings.get(key, "")
        systems.append(System(method=key[0], stage=key[1], mode=key[2], cell=cell, values=values, ranking=ranking))
    return systems


def _scores(folder: Path) -> tuple[dict[Key, dict[int, list[float]]], dict[Key, str]]:
    """Values by method, stage and mode, and then by seed; and the rankings of the first seed."""
    found: dict[Key, dict[int, list[float]]] = {}
    rankings: dict[Key, str] = {}
    for path in sorted((folder / "scores").glob("*.json")):
        try:
            for score in orjson.loads(path.read_bytes()):
                key = (score["method"], _stage(score["labels"]), score["mode"])
                found.setdefault(key, {})[score["seed"]] = score["values"]
                if not score["seed"] and score.get("ranking"):
                    rankings[key] = str(score["ranking"])
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise CorruptError(f"{path} is damaged ({error}): remove it, and run `pretrieve compare` again.") from None
    return found, rankings


def _stage(labels: int | None) -> str:
    return "as it is" if labels is None else f"{labels:,} labels" if labels else "all labels"
