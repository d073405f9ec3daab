"""A comparison for papers and other programs: LaTeX, CSV, and values by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrieve.evaluation.fair import Cell, FairTable, Stage, side_of, word_of
from pretrieve.evaluation.paper import PACKAGES, booktabs, columns_file, csv_text, escaped
from pretrieve.evaluation.significance import bootstrap_interval

_MODES = ("dense", "hybrid")
_MARKS = {1: r"$^{*}$", -1: r"$^{\dagger}$", 0: ""}
_SIDES = {1: "above", -1: "below", 0: ""}


def fair_latex(table: FairTable) -> str:
    """The table of a comparison for LaTeX with booktabs, dense above hybrid; the best of a column is bold."""
    words = next((cell for (_, _, mode), cell in table.cells.items() if mode == "lexical"), None)
    parts = []
    for mode in _MODES:
        stages = [_column(table, mode, stage, words) for stage in table.stages]
        names = (["BM25"] if words is not None else []) + table.methods
        parts.append([[escaped(name), mode, *cells] for name, *cells in zip(names, *stages, strict=True)])
    head = ["Method", "Mode", *(word_of(stage) for stage in table.stages)]
    return booktabs([PACKAGES], _caption(table), head, parts)


def fair_csv(table: FairTable) -> str:
    """The table of a comparison as CSV, a line for each method, number of labels and mode, in full precision."""
    head = ["method", "labels", "mode", table.metric, f"{table.metric} low", f"{table.metric} high", "seeds",
            "sd of seeds", "p (Holm)", f"against {table.base}", "steps", "tokens", "seconds"]  # fmt: skip
    lines = []
    for (method, stage, mode), cell in table.cells.items():
        several = len(cell.seeds) > 1
        costs = [column.get(method, "") for column in (table.steps, table.tokens, table.seconds)]
        lines.append([
            method, "" if mode == "lexical" else word_of(stage), mode, cell.mean, *bootstrap_interval(cell.values),
            len(cell.seeds), float(cell.seeds.std(ddof=1)) if several else "", "" if cell.p is None else cell.p,
            _SIDES[side_of(cell)], *costs,
        ])  # fmt: skip
    return csv_text(head, lines)


def fair_per_query(scores: Sequence[Mapping[str, Any]], queries: Sequence[str], metric: str, path: Path) -> bytes:
    """The values of each score of a comparison for each query, as CSV or as Parquet, as the path's suffix says.

    Args:
        scores: method, seed, labels, mode, and ``values`` by query.
        queries: their ids, in the order of the values.
        metric: name of the values.
        path: of the file.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    each = [score for score in scores for _ in queries]
    return columns_file(
        {
            "query": [query for _ in scores for query in queries],
            "method": [score["method"] for score in each],
            "labels": ["" if score["mode"] == "lexical" else word_of(score["labels"]) for score in each],
            "mode": [score["mode"] for score in each],
            "seed": [score["seed"] for score in each],
            metric: [float(value) for score in scores for value in score["values"]],
        },
        path,
    )


def _column(table: FairTable, mode: str, stage: Stage, words: Cell | None) -> list[str]:
    """BM25 and the methods at one stage."""
    cells = [*([words] if words else []), *(table.cells.get((method, stage, mode)) for method in table.methods)]
    best = max((cell.mean for cell in cells if cell is not None), default=0.0)
    return ["" if cell is None else _cell(cell, bold=cell.mean == best) for cell in cells]


def _cell(cell: Cell, *, bold: bool) -> str:
    low, high = bootstrap_interval(cell.values)
    mean = rf"\textbf{{{cell.mean:.3f}}}" if bold else f"{cell.mean:.3f}"
    spread = rf" $\pm$ {cell.seeds.std(ddof=1):.3f}" if len(cell.seeds) > 1 else ""
    return f"{mean}{_MARKS[side_of(cell)]}{spread} ({low:.3f} to {high:.3f})"


def _caption(table: FairTable) -> str:
    several = any(len(cell.seeds) > 1 for cell in table.cells.values())
    means = r"means over queries and seeds, $\pm$ the standard deviation of the seeds" if several else "means"
    seeds = "and with every seed on that side" if several else "for this one seed"
    return (
        f"{escaped(table.title)}: {escaped(table.metric)}, {means}, with 95\\,\\% bootstrap intervals over queries. "
        f"$^{{*}}$ above and $^{{\\dagger}}$ below {escaped(table.base)} at the same number of labels: $p < 0.05$ by "
        f"paired permutation tests over queries after Holm's correction over methods, {seeds}. Hybrid: vectors and "
        "BM25 have equal weights."
    )
