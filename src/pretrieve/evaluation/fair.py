"""The comparison table: every method before and after fine-tuning, with tests against the untrained base."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.evaluation.significance import bootstrap_interval, holm, paired_permutation
from pretrieve.evaluation.tables import markdown

Stage = int | None  # labelled queries of fine-tuning, 0 for all; None before any
_LEVEL = 0.05
_WORDS = {None: "as it is", 0: "all labels"}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method at one stage, in one mode.

    Attributes:
        values: (Q,) mean over seeds of each query's value.
        seeds: (seeds,) mean over queries of each seed.
        p: of the paired permutation test against the untrained base at the same stage and mode, corrected by Holm over
            the methods; None for the base itself. It is over queries: it does not account for seeds.
        side: 1 where every seed is above the base's, -1 where every seed is below it, else 0.
    """

    values: FloatArray
    seeds: FloatArray
    p: float | None = None
    side: int = 0

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
            "side": self.side,
        }


@dataclass(frozen=True, kw_only=True)
class FairTable:
    """All cells, by (method, stage, mode).

    Attributes:
        title: name of the evaluated collection.
        metric: name of the metric.
        base: name of the untrained base's row.
        cells: the cells.
        seconds: seconds of training, by method, mean over seeds.
        steps: steps of training, by method, where known.
        tokens: tokens of training, by method, where known.
    """

    title: str
    metric: str
    base: str
    cells: Mapping[tuple[str, Stage, str], Cell]
    seconds: Mapping[str, float]
    steps: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, float] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """In the order that they came in."""
        return list(dict.fromkeys(method for method, _, mode in self.cells if mode != "lexical"))

    @property
    def stages(self) -> list[Stage]:
        """As it is, then few labels to all of them."""
        found = {stage for _, stage, mode in self.cells if mode != "lexical"}
        return sorted(found, key=lambda stage: -1 if stage is None else stage or 1 << 60)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        cells = [
            {"method": method, "labels": word_of(stage), "mode": mode, **cell.facts()}
            for (method, stage, mode), cell in self.cells.items()
        ]
        return {
            "title": self.title,
            "metric": self.metric,
            "base": self.base,
            "cells": cells,
            "seconds": {**self.seconds},
            "steps": {**self.steps},
            "tokens": {**self.tokens},
        }

    def markdown(self) -> str:
        """The table by mode, a row a method, with marks for what lies above or below the base, and what they mean."""
        parts = [f"# {self.title}\n"]
        words = next((cell for (_, _, mode), cell in self.cells.items() if mode == "lexical"), None)
        costs = self._costs()
        for mode in ("dense", "hybrid"):
            lines = [self._line(method, mode, costs) for method in self.methods]
            if words is not None:
                lines.insert(0, ["BM25", *[_shown(words)] * len(self.stages), *[""] * len(costs)])
            head = ["method", *(word_of(stage) for stage in self.stages), *costs]
            parts.append(f"## {mode}, {self.metric}\n\n{markdown(head, lines)}\n")
        return "\n".join([*parts, self._legend()])

    def _costs(self) -> dict[str, Mapping[str, float]]:
        """Costs of training, by column."""
        columns = {"steps": self.steps, "tokens": self.tokens, "training, s": self.seconds}
        return {head: column for head, column in columns.items() if any(column.values())}

    def _line(self, method: str, mode: str, costs: Mapping[str, Mapping[str, float]]) -> list[str]:
        cells = [self.cells.get((method, stage, mode)) for stage in self.stages]
        took = [f"{column[method]:,.0f}" if column.get(method) else "" for column in costs.values()]
        return [method, *(_shown(cell) if cell else "" for cell in cells), *took]

    def _legend(self) -> str:
        several = any(len(cell.seeds) > 1 for cell in self.cells.values())
        means = "Means over queries" + " and seeds, ± the standard deviation of the seeds" * several
        text = f"{means}, 95 % bootstrap intervals over queries. Hybrid: vectors and BM25 have equal weights.\n"
        if not any(cell.p is not None for cell in self.cells.values()):
            return text
        seeds = "and with every seed on that side" if several else "for this one seed: another may give another sign"
        return (
            f"{text}Marked * above and † below `{self.base}` at the same number of labels: p < .05 by a paired "
            f"permutation test over queries, Holm-corrected over methods, {seeds}.\n"
        )


def fair_table(scores: Sequence[Mapping[str, Any]], *, title: str, metric: str, base: str) -> FairTable:
    """Put the scores of all systems together.

    Args:
        scores: method, seed, labels, mode, and ``values`` by query, the same queries in the same order.
        title: name of the evaluated collection.
        metric: name of the metric.
        base: name of the untrained base.
    """
    groups: dict[tuple[str, Stage, str], list[Mapping[str, Any]]] = {}
    for score in scores:
        groups.setdefault((score["method"], score["labels"], score["mode"]), []).append(score)
    cells = {}
    for key, found in groups.items():
        values = np.array([score["values"] for score in found], np.float64)
        cells[key] = Cell(values=values.mean(axis=0), seeds=values.mean(axis=1))
    return FairTable(
        title=title, metric=metric, base=base, cells=_tested(cells, base), seconds=_cost(scores, "trained"),
        steps=_cost(scores, "steps"), tokens=_cost(scores, "tokens"),
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
            found[key] = replace(cells[key], p=p, side=_side(cells[key].seeds, own.seeds))
    return found


def _side(seeds: FloatArray, base: FloatArray) -> int:
    """1 or -1 where all seeds lie above or below those of the base, pair by pair (the mean, where some are missing)."""
    several = seeds - (base if len(base) == len(seeds) else base.mean())
    return 1 if (several > 0).all() else -1 if (several < 0).all() else 0


def _cost(scores: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for score in scores:
        if score["labels"] is None and score["mode"] == "dense":
            found.setdefault(score["method"], []).append(score.get(name, 0.0))
    return {method: float(np.mean(values)) for method, values in found.items()}


def word_of(stage: Stage) -> str:
    """How tables call a stage."""
    return _WORDS.get(stage) or f"{stage:,} labels"


def _shown(cell: Cell) -> str:
    low, high = bootstrap_interval(cell.values)
    spread = f" ±{cell.seeds.std(ddof=1):.3f}" if len(cell.seeds) > 1 else ""
    mark = {1: "*", -1: "†", 0: ""}[side_of(cell)]
    return f"{cell.mean:.3f}{mark}{spread} ({low:.3f} to {high:.3f})"


def side_of(cell: Cell) -> int:
    """1 where a cell is significantly above the base and all seeds are, -1 where below, else 0."""
    return cell.side if cell.p is not None and cell.p < _LEVEL else 0
