"""Cross-lingual results for people: means over pairs of languages, and a matrix for each system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pretrieve.evaluation.benchmark import Test
from pretrieve.evaluation.crosslingual import ACROSS, POOLED, WITHIN, CrossLingualResult, PairRow
from pretrieve.evaluation.report import markdown, table
from pretrieve.evaluation.significance import bootstrap_interval

if TYPE_CHECKING:
    from rich.table import Table

_SHOWN = 2  # metrics in the cells of a matrix: the first two


def pair_tables(result: CrossLingualResult) -> list[Table]:
    """Tables of the means over pairs, of their tests by the first metric, and one matrix for each system."""
    return [table(title, head, lines) for title, head, lines in _parts(result)]


def pair_markdown(result: CrossLingualResult) -> str:
    """The same tables as Markdown, each under its title."""
    return "\n\n".join(f"**{title}**\n\n{markdown(head, lines)}" for title, head, lines in _parts(result)) + "\n"


_Part = tuple[str, list[str], list[list[str]]]


def _parts(result: CrossLingualResult) -> list[_Part]:
    tests = [_tests(result)] if any(result.tests.values()) else []
    return [_means(result), *tests, *(_matrix(result, row) for row in result.rows)]


def _means(result: CrossLingualResult) -> _Part:
    size = len(result.languages)
    title = (
        f"{result.collection} ({result.split}): {result.queries:,} questions in {', '.join(result.languages)}; mean of "
        f"the {size} pairs of one language, of the {size * (size - 1)} of two, and of all documents in one pool; "
        "95 % intervals over questions"
    )
    metrics = list(result.rows[0].values)[:_SHOWN]
    head = ["system", "mode", *(f"{metric}, {part}" for part in (WITHIN, ACROSS, POOLED) for metric in metrics)]
    head += ["own language in first ten"]
    lines = []
    for row in result.rows:
        cells = [row.system, row.mode]
        for part in (WITHIN, ACROSS, POOLED):
            for values in (row.by_query(metric, part) for metric in metrics):
                low, high = bootstrap_interval(values)
                cells.append(f"{values.mean():.4f} ({low:.3f} to {high:.3f})")
        lines.append([*cells, f"{row.own_share.mean():.2f}"])
    return title, head, lines


def _tests(result: CrossLingualResult) -> _Part:
    metric = next(iter(result.rows[0].values))
    lines = []
    for part, tests in result.tests.items():
        for test in tests:
            if test.metric == metric:
                figures = [f"{test.difference:+.4f}", f"{test.p:.4f}", f"{test.p_holm:.4f}"]
                lines.append([test.a, test.b, part, *figures, _better(result, test, part)])
    head = ["a", "b", "part", "a - b", "p", "p (Holm)", "pairs better, worse (Holm)"]
    return f"Paired permutation tests of {metric}, corrected by Holm", head, lines


def _better(result: CrossLingualResult, test: Test, part: str) -> str:
    """In how many pairs of a part a is better, and worse, than b at 5 %; nothing where pairs were not tested."""
    found = [pair for pair in result.pair_tests if (pair.a, pair.b) == (test.a, test.b)]
    if not found or part == POOLED:
        return ""
    diagonal = np.eye(len(result.languages), dtype=bool)
    sure = (found[0].p_holm < 0.05) & (diagonal if part == WITHIN else ~diagonal)
    return f"{(sure & (found[0].differences > 0)).sum()}, {(sure & (found[0].differences < 0)).sum()}"


def _matrix(result: CrossLingualResult, row: PairRow) -> _Part:
    metrics = list(row.values)[:_SHOWN]
    matrices = [row.matrix(metric) for metric in metrics]
    lines = [
        [code, *(" / ".join(f"{matrix[q, d]:.3f}" for matrix in matrices) for d in range(len(result.languages)))]
        for q, code in enumerate(result.languages)
    ]
    title = f"{row.system} ({row.mode}): {' / '.join(metrics)}; queries down, documents across"
    return title, ["", *result.languages], lines
