"""One fair table: every method before and after fine-tuning, with intervals and tests against the untouched base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.evaluation.report import markdown
from pretrieve.evaluation.significance import bootstrap_interval, holm, paired_permutation

Stage = int | None  # labelled queries of fine-tuning, 0 for all; None before any
_WORDS = {None: "as it is", 0: "all labels"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method at one stage, in one mode.

    Attributes:
        values: (Q,) mean over seeds of each query's value.
        seeds: (seeds,) mean over queries of each seed.
        p: of the paired permutation test against the untouched base at the same stage and mode, corrected by Holm over
            the methods; None for the base itself.
    """

    values: FloatArray
    seeds: FloatArray
    p: float | None = None

    @property
    def mean(self) -> float:
        """Over queries and seeds."""
        return float(self.values.mean())

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        low, high = bootstrap_interval(self.values)
        return {
            "mean": self.mean,
            "ci95": [low, high],
            "seeds": self.seeds.tolist(),
            "p_holm": self.p,
        }


@dataclass(frozen=True, kw_only=True)
class FairTable:
    """All cells, by (method, stage, mode).

    Attributes:
        title: what was judged.
        metric: by which.
        base: name of the untouched base's row.
        cells: the cells.
        seconds: of training, by method, mean over seeds.
    """

    title: str
    metric: str
    base: str
    cells: Mapping[tuple[str, Stage, str], Cell]
    seconds: Mapping[str, float]

    @property
    def methods(self) -> list[str]:
        """In the order that they came in."""
        return list(dict.fromkeys(method for method, _, mode in self.cells if mode != "lexical"))

    @property
    def stages(self) -> list[Stage]:
        """As it is, then few labels to all of them."""
        found = {stage for _, stage, mode in self.cells if mode != "lexical"}
        return sorted(found, key=lambda stage: -1 if stage is None else stage or 1 << 60)

    @property
    def timed(self) -> bool:
        """Whether it is known how long the methods were trained."""
        return any(self.seconds.values())

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        cells = [
            {"method": method, "labels": _word(stage), "mode": mode, **cell.facts()}
            for (method, stage, mode), cell in self.cells.items()
        ]
        return {
            "title": self.title,
            "metric": self.metric,
            "base": self.base,
            "cells": cells,
            "seconds": {**self.seconds},
        }

    def markdown(self) -> str:
        """The table by mode, a row a method; ``*`` marks p < .05 against the base after Holm's correction."""
        parts = [f"# {self.title}\n"]
        words = next((cell for (_, _, mode), cell in self.cells.items() if mode == "lexical"), None)
        for mode in ("dense", "hybrid"):
            head = ["method", *(_word(stage) for stage in self.stages), *(["training, s"] if self.timed else [])]
            lines = [self._line(method, mode) for method in self.methods]
            if words is not None:
                lines.insert(0, ["BM25", *[_shown(words)] * len(self.stages), *([""] if self.timed else [])])
            parts.append(f"## {mode}, {self.metric}\n\n{markdown(head, lines)}\n")
        parts.append(
            f"Means over queries and seeds, 95 % bootstrap intervals over queries; * p < .05 against `{self.base}` at "
            "the same number of labels, paired permutation test on the seeds' means, Holm-corrected over methods.\n"
        )
        return "\n".join(parts)

    def _line(self, method: str, mode: str) -> list[str]:
        cells = [self.cells.get((method, stage, mode)) for stage in self.stages]
        seconds = [f"{self.seconds.get(method, 0):.0f}"] if self.timed else []
        return [method, *(_shown(cell) if cell else "" for cell in cells), *seconds]


def fair_table(scores: Sequence[Mapping[str, Any]], *, title: str, metric: str, base: str) -> FairTable:
    """Put the scores of all systems together.

    Args:
        scores: method, seed, labels, mode, and ``values`` by query, the same queries in the same order.
        title: what was judged.
        metric: by which.
        base: name of the untouched base.
    """
    groups: dict[tuple[str, Stage, str], list[Mapping[str, Any]]] = {}
    for score in scores:
        groups.setdefault((score["method"], score["labels"], score["mode"]), []).append(score)
    cells = {}
    for key, found in groups.items():
        values = np.array([score["values"] for score in found], np.float64)
        cells[key] = Cell(values=values.mean(axis=0), seeds=values.mean(axis=1))
    return FairTable(
        title=title, metric=metric, base=base, cells=_tested(cells, base), seconds=_seconds(scores)
    )  # fmt: skip


def _tested(cells: dict[tuple[str, Stage, str], Cell], base: str) -> dict[tuple[str, Stage, str], Cell]:
    """Test every method against the base at the same stage and mode; one family of tests for each of these."""
    found = dict(cells)
    for stage, mode in {(stage, mode) for _, stage, mode in cells}:
        own = cells.get((base, stage, mode))
        rivals = [key for key in cells if key[1:] == (stage, mode) and key[0] != base]
        if own is None or not rivals:
            continue
        p_values = holm([paired_permutation(cells[key].values, own.values) for key in rivals])
        for key, p in zip(rivals, p_values, strict=True):
            found[key] = Cell(values=cells[key].values, seeds=cells[key].seeds, p=p)
    return found


def _seconds(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for score in scores:
        if score["labels"] is None and score["mode"] == "dense":
            times.setdefault(score["method"], []).append(score.get("trained", 0.0))
    return {method: float(np.mean(values)) for method, values in times.items()}


def _word(stage: Stage) -> str:
    return _WORDS.get(stage) or f"{stage:,} labels"


def _shown(cell: Cell) -> str:
    low, high = bootstrap_interval(cell.values)
    spread = f" ±{cell.seeds.std(ddof=1):.3f}" if len(cell.seeds) > 1 else ""
    star = "*" if cell.p is not None and cell.p < 0.05 else ""
    return f"{cell.mean:.3f}{star}{spread} ({low:.3f} to {high:.3f})"
