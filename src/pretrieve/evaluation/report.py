"""Readable results: tables for the terminal, and Markdown for model cards and records."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pretrieve.core.shown import shown
from pretrieve.evaluation.choice import Choice
from pretrieve.evaluation.fused_probe import WEIGHTS
from pretrieve.evaluation.probe import ProbeResult
from pretrieve.evaluation.result import Result, result_cells, setting_lines, test_cells
from pretrieve.evaluation.tables import markdown, table

if TYPE_CHECKING:
    from rich.table import Table


def result_tables(result: Result) -> list[Table]:
    """Tables of systems, and of the tests of the first metric (JSON has all); the best value of a metric is bold."""
    head, lines = result_cells(result)
    folder = shared_folder([row.system for row in result.rows])
    title = f"{result.collection} ({result.split}), {len(result.queries):,} queries, 95 % intervals"
    title += f"; models in {folder}" if folder else ""
    cells = [[shown(name.removeprefix(folder), markup=True), *rest] for name, *rest in lines]
    tables = [table(title, head, cells, styled=True)]
    settings = [shown(line, markup=True) for line in setting_lines(result)]
    tables[0].caption, tables[0].caption_justify = "\n".join(settings), "left"
    if result.tests:
        first = result.tests[0].metric
        head, lines = test_cells(result)
        title = f"Paired permutation tests of {first}, corrected by Holm"
        cells = [[a.removeprefix(folder), b.removeprefix(folder), *rest] for a, b, *rest in lines if rest[0] == first]
        tables.append(table(title, head, cells))
    return tables


def shared_folder(systems: Sequence[str]) -> str:
    """The common parent folder of all local models, with its slash; empty for fewer than two.

    In a narrow table it would hide the end of their names.
    """
    folders = list(dict.fromkeys(name for name in systems if Path(name).is_dir()))
    if len(folders) < 2 or len({Path(name).is_absolute() for name in folders}) > 1:
        return ""
    shared = os.path.commonpath([str(Path(name).parent) for name in folders])
    return f"{shared}/" if shared and all(name.startswith(f"{shared}/") for name in folders) else ""


def probe_table(result: ProbeResult) -> Table:
    """Table of a probe: nDCG@10 of each system by kind of query."""
    return table(f"Label-free probe, nDCG@10 among {result.pool:,} documents", *_probe_cells(result))


def probe_markdown(result: ProbeResult) -> str:
    """The table of a probe as Markdown."""
    return markdown(*_probe_cells(result)) + "\n"


def choice_markdown(choice: Choice) -> str:
    """The table of a fused probe as Markdown: BM25, and what each system adds to it at the weights compared."""
    scores, rows = choice.scores, [WEIGHTS.index(weight) for weight in choice.at]
    head = ["system", *(f"{kind} ({len(values)})" for kind, values in scores.bm25.items())]
    lines = [["BM25", *(f"{values.mean():.3f}" for values in scores.bm25.values())]]
    for system in scores.fused:
        cells = [[f"{scores.gain(system, kind)[row]:+.3f}" for row in rows] for kind in scores.bm25]
        lines.append([f"{system} (saved)" if system == choice.system else system, *(", ".join(cell) for cell in cells)])
    return markdown(head, lines) + "\n"


def _probe_cells(result: ProbeResult) -> tuple[list[str], list[list[str]]]:
    kinds = list(next(iter(result.values.values())))
    head = ["system", *(f"{kind} ({len(next(iter(result.values.values()))[kind])})" for kind in kinds)]
    lines = [[system, *(f"{result.mean(system, kind):.4f}" for kind in kinds)] for system in result.values]
    return head, lines
