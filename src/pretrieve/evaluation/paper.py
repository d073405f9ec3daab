"""The result of an evaluation for papers and other programs: LaTeX, CSV, and values by query.

Rows have letters. Beside a value stand the letters of the rows that it is significantly better than (p < 0.05, Holm).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrieve.core.extras import require
from pretrieve.core.shown import shown
from pretrieve.evaluation.report import shared_folder
from pretrieve.evaluation.result import Result, Row, note_lines, setting_lines
from pretrieve.evaluation.significance import bootstrap_interval

PARQUET = ".parquet"
PACKAGES = "needs \\usepackage{booktabs,textcomp}"
_LEVEL = 0.05
_LATEX = str.maketrans({
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}",  # \\ and \toprule take what stands in brackets after them
})  # fmt: skip
_LIGATURE = re.compile(r"([-,])(?=\1)")  # -- is a dash, ,, a quotation mark


def letters(result: Result) -> dict[str, str]:
    """The letter of each row: a to z, then aa, ab and so on."""
    return {row.name: _letter(place) for place, row in enumerate(result.rows)}


def marks(result: Result, metric: str) -> dict[str, str]:
    """For each row the letters of those that it is significantly better than, in order."""
    letter = letters(result)
    worse: dict[str, set[str]] = {name: set() for name in letter}
    for test in result.tests:
        if test.metric == metric and test.p_holm < _LEVEL:
            better, other = (test.a, test.b) if test.difference > 0 else (test.b, test.a)
            worse[better].add(other)
    return {name: "".join(letter[other] for other in letter if other in worse[name]) for name in letter}


def to_latex(result: Result) -> str:
    """The table of systems for LaTeX with booktabs: means, intervals, letters; the best of a metric is bold."""
    metrics = list(result.rows[0].values)
    folder = shared_folder([row.system for row in result.rows])
    head = ["", "System", "Mode", *map(escaped, metrics)]
    letter = letters(result)
    lines = [
        [letter[row.name], escaped(row.system.removeprefix(folder)), row.mode, *cells]
        for row, cells in zip(result.rows, latex_cells(result), strict=True)
    ]
    comments = [PACKAGES, *([f"models in {folder}"] if folder else [])]
    comments += [*setting_lines(result), *note_lines(result.warnings)]
    return booktabs(comments, _caption(result), head, [lines])


def latex_cells(result: Result) -> list[list[str]]:
    """For each row and metric the mean with its letters and interval, as LaTeX."""
    metrics = list(result.rows[0].values)
    found = {metric: marks(result, metric) for metric in metrics}
    best = {metric: max(row.mean(metric) for row in result.rows) for metric in metrics}
    return [
        [_cell(row, metric, found[metric][row.name], bold=row.mean(metric) == best[metric]) for metric in metrics]
        for row in result.rows
    ]


def booktabs(
    comments: Iterable[str], caption: str, head: Sequence[str], parts: Iterable[Iterable[Sequence[str]]]
) -> str:
    """A table for LaTeX with booktabs; its cells and caption are LaTeX, with a rule between its parts."""
    blocks = [[_line(cells) for cells in part] for part in parts]
    return "\n".join([
        *(f"% {shown(line)}" for line in comments),
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{{'l' * len(head)}}}",
        r"\toprule",
        _line(head),
        *(line for block in blocks for line in (r"\midrule", *block)),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]) + "\n"  # fmt: skip


def escaped(text: str) -> str:
    """Text in which nothing is a command of LaTeX."""
    return _LIGATURE.sub(r"\1{}", shown(text).translate(_LATEX))


def to_csv(result: Result) -> str:
    """The table of systems as CSV: for each metric its mean, the ends of its interval, and letters."""
    metrics = list(result.rows[0].values)
    found = {metric: marks(result, metric) for metric in metrics}
    head = ["row", "system", "mode"]
    head += [f"{metric}{part}" for metric in metrics for part in ("", " low", " high", " better than")]
    lines = []
    for row in result.rows:
        cells: list[Any] = [letters(result)[row.name], shown(row.system), row.mode]
        for metric in metrics:
            cells += [row.mean(metric), *bootstrap_interval(row.values[metric]), found[metric][row.name]]
        lines.append(cells)
    return csv_text(head, lines)


def per_query(result: Result, path: Path) -> bytes:
    """The values of each row for each query, as CSV or as Parquet, as the path's suffix says.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    metrics = list(result.rows[0].values)
    rows, size = result.rows, len(result.queries)
    columns: dict[str, Sequence[Any]] = {
        "query": [query for _ in rows for query in result.queries],
        "system": [shown(row.system) for row in rows for _ in range(size)],
        "mode": [row.mode for row in rows for _ in range(size)],
    }
    columns |= {metric: [float(value) for row in rows for value in row.values[metric]] for metric in metrics}
    return columns_file(columns, path)


def columns_file(columns: Mapping[str, Sequence[Any]], path: Path) -> bytes:
    """Columns of one length as CSV or as Parquet, as the path's suffix says.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    if not is_parquet(path):
        return csv_text([*columns], zip(*columns.values(), strict=True)).encode()
    check_parquet(path)
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), buffer)
    return buffer.getvalue()


def is_parquet(path: Path) -> bool:
    """Whether a path is that of a Parquet file."""
    return path.suffix.lower() == PARQUET


def check_parquet(path: Path) -> None:
    """Check that values by query can be written to a path.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    if is_parquet(path):
        require("parquet", f"--per-query {path}")


def _caption(result: Result) -> str:
    collection = escaped(f"{result.collection} ({result.split})")
    return (
        f"{collection}, {len(result.queries):,} queries: means with 95\\,\\% bootstrap intervals. Superscripts name "
        "the rows that a value is significantly better than (paired permutation tests, $p < 0.05$ after Holm's "
        "correction over the tests of a metric); rows are tested against BM25 and those of the same mode, runs against "
        "all."
    )


def _cell(row: Row, metric: str, worse: str, *, bold: bool) -> str:
    low, high = bootstrap_interval(row.values[metric])
    mean = f"{row.mean(metric):.4f}"
    shown_mean = rf"\textbf{{{mean}}}" if bold else mean
    mark = f"$^{{\\mathrm{{{worse}}}}}$" if worse else ""
    return f"{shown_mean}{mark} ({low:.3f} to {high:.3f})"


def _line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def csv_text(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """A table as CSV."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(lines)
    return buffer.getvalue()


def _letter(place: int) -> str:
    """a, b, ... z, aa, ab, ..."""
    text = ""
    place += 1
    while place:
        place, rest = divmod(place - 1, 26)
        text = chr(ord("a") + rest) + text
    return text
