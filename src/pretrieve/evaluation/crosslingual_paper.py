"""A cross-lingual evaluation for papers and other programs: LaTeX, CSV, and values by query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pretrieve.core.shown import shown
from pretrieve.core.types import FloatArray
from pretrieve.evaluation.crosslingual_result import ACROSS, POOLED, WITHIN, CrossLingualResult, PairRow
from pretrieve.evaluation.paper import PACKAGES, booktabs, columns_file, csv_text, escaped, latex_cells, letters
from pretrieve.evaluation.result import Result, note_lines
from pretrieve.evaluation.significance import bootstrap_interval

_PARTS = (WITHIN, ACROSS, POOLED)
_ALL = "all"


def pairs_latex(result: CrossLingualResult) -> str:
    """Means over the pairs of a language, of two, and over the pool, for LaTeX; the best of each is bold."""
    metrics = list(result.rows[0].values)
    parts = []
    for part in _PARTS:
        found = _part(result, part)
        letter = letters(found)
        parts.append([
            [letter[row.name], escaped(row.system), row.mode, part, *cells]
            for row, cells in zip(found.rows, latex_cells(found), strict=True)
        ])  # fmt: skip
    head = ["", "System", "Mode", "Documents in", *map(escaped, metrics)]
    return booktabs([PACKAGES, *note_lines(result.warnings)], _caption(result), head, parts)


def pairs_csv(result: CrossLingualResult) -> str:
    """Means as CSV: over each part with intervals, then those of each pair of languages, and of the pool."""
    metrics = list(result.rows[0].values)
    head = ["system", "mode", "part", "queries", "documents"]
    head += [f"{metric}{end}" for metric in metrics for end in ("", " low", " high")]
    lines: list[list[Any]] = []
    for row in result.rows:
        for part in _PARTS:
            values = [row.by_query(metric, part) for metric in metrics]
            cells: list[Any] = [number for one in values for number in (float(one.mean()), *bootstrap_interval(one))]
            lines.append([shown(row.system), row.mode, part, "", "", *cells])
        for queries, documents, found in _pairs(result, row):
            part = POOLED if documents == _ALL else WITHIN if queries == documents else ACROSS
            cells = [cell for metric in metrics for cell in (float(found[metric].mean()), "", "")]
            lines.append([shown(row.system), row.mode, part, queries, documents, *cells])
    return csv_text(head, lines)


def pairs_per_query(result: CrossLingualResult, path: Path) -> bytes:
    """The values of each system for each query and pair of languages, as CSV or Parquet, as the path's suffix says.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    metrics = list(result.rows[0].values)
    cells = [(row, *pair) for row in result.rows for pair in _pairs(result, row)]
    size = len(result.ids)

    def each(values: Sequence[str]) -> list[str]:
        return [value for value in values for _ in range(size)]

    columns: dict[str, Sequence[Any]] = {
        "query": [query for _ in cells for query in result.ids],
        "system": each([shown(row.system) for row, *_ in cells]),
        "mode": each([row.mode for row, *_ in cells]),
        "queries": each([queries for _, queries, _, _ in cells]),
        "documents": each([documents for _, _, documents, _ in cells]),
    }
    columns |= {metric: [float(value) for *_, found in cells for value in found[metric]] for metric in metrics}
    return columns_file(columns, path)


def lines_per_query(result: CrossLingualResult) -> int:
    """Number of lines of ``pairs_per_query``."""
    size = len(result.languages)
    return len(result.rows) * len(result.ids) * size * (size + 1)


def _pairs(result: CrossLingualResult, row: PairRow) -> Iterator[tuple[str, str, dict[str, FloatArray]]]:
    """Languages of queries and documents, the pool's last, with (Q,) values by metric."""
    for place, queries in enumerate(result.languages):
        for other, documents in enumerate(result.languages):
            yield queries, documents, {metric: values[place, other] for metric, values in row.values.items()}
        yield queries, _ALL, {metric: values[place] for metric, values in row.pooled.items()}


def _part(result: CrossLingualResult, part: str) -> Result:
    """A part as the result of one collection."""
    return Result(
        collection=result.collection,
        split=result.split,
        queries=result.ids,
        rows=[row.part(part) for row in result.rows],
        tests=result.tests[part],
    )


def _caption(result: CrossLingualResult) -> str:
    languages = ", ".join(map(escaped, result.languages))
    return (
        f"{escaped(f'{result.collection} ({result.split})')}, {result.queries:,} questions in {languages}: means over "
        "pairs of one language, of two, and over the documents of all in one pool, with 95\\,\\% bootstrap intervals "
        "over questions. Superscripts name the rows of the same block that a value is significantly better than "
        "(paired permutation tests, $p < 0.05$ after Holm's correction over the tests of a metric); rows are tested "
        "against BM25 and those of the same mode."
    )
