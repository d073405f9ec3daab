"""The result of a cross-lingual evaluation: means over pairs of languages, tests, and a matrix per system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.evaluation.result import Row, Test, note_lines
from pretrieve.evaluation.significance import bootstrap_interval
from pretrieve.evaluation.tables import markdown, table
from pretrieve.index.index import Mode

if TYPE_CHECKING:
    from rich.table import Table

WITHIN, ACROSS, POOLED = "same language", "other languages", "all languages pooled"
_SHOWN = 2  # metrics in the cells of a matrix: the first two


@dataclass(frozen=True, kw_only=True)
class PairRow:
    """One system in one mode.

    Attributes:
        system: its name.
        mode: its search mode.
        values: by metric, (L, L, Q): queries in the first language, documents in the second, in the order of codes.
        pooled: by metric, (L, Q): queries in each language, over the documents of all.
        own_share: (L,) part of the first ten of the pool that are in the query's language; 1 / L without a bias.
    """

    system: str
    mode: Mode
    values: Mapping[str, FloatArray]
    pooled: Mapping[str, FloatArray]
    own_share: FloatArray

    def matrix(self, metric: str) -> FloatArray:
        """Means over queries, (L, L)."""
        return np.asarray(self.values[metric].mean(axis=2))

    def by_query(self, metric: str, part: str) -> FloatArray:
        """Mean over the pairs of a part (``WITHIN``, ``ACROSS`` or ``POOLED``) for every query, (Q,).

        The same question in several languages is one sample, not many: intervals and tests are over questions.
        """
        if part == POOLED:
            return np.asarray(self.pooled[metric].mean(axis=0))
        values = self.values[metric]
        diagonal = np.eye(len(values), dtype=bool)
        return np.asarray(values[diagonal if part == WITHIN else ~diagonal].mean(axis=0))

    def part(self, part: str) -> Row:
        """The means of a part as a row of a result."""
        return Row(
            system=self.system,
            mode=self.mode,
            values={metric: self.by_query(metric, part) for metric in self.values},
        )


@dataclass(frozen=True, kw_only=True)
class PairTest:
    """Paired tests of row ``a`` against row ``b`` in each pair of languages, (L, L), by the first metric.

    ``differences`` are means of a - b; ``p_holm`` is corrected over the pairs.
    """

    a: str
    b: str
    metric: str
    differences: FloatArray
    p_holm: FloatArray


@dataclass(frozen=True, kw_only=True)
class CrossLingualResult:
    """The result of ``evaluate_pairs``.

    Attributes:
        collection: its name.
        split: split of the qrels.
        languages: their codes, in the order of all matrices.
        queries: number of questions.
        rows: systems.
        tests: by part (same language, other languages, pooled): as in ``benchmark.Result``.
        pair_tests: models against each other in the same mode, in each pair of languages.
        notes: further information, such as the chosen fusion weights.
        data: what is counted in the data of each language (``data_facts``).
        warnings: what a reader of the figures has to know, one line each.
        ids: of the questions, in the order of all values.
    """

    collection: str
    split: str
    languages: tuple[str, ...]
    queries: int
    rows: Sequence[PairRow]
    tests: Mapping[str, Sequence[Test]]
    pair_tests: Sequence[PairTest]
    notes: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    ids: Sequence[str] = ()

    def markdown(self) -> str:
        """The matrices and the tables of tests, with the warnings."""
        parts = [f"**{title}**\n\n{markdown(head, lines)}" for title, head, lines in _parts(self)]
        return "\n\n".join([*parts, *note_lines(self.warnings)]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """As JSON: matrices, means with 95 % intervals, tests."""
        return {
            "collection": self.collection,
            "split": self.split,
            "languages": list(self.languages),
            "queries": self.queries,
            "rows": [_row_json(row) for row in self.rows],
            "tests": {
                key(part): [
                    {name: getattr(test, name) for name in ("a", "b", "metric", "difference", "p", "p_holm")}
                    for test in tests
                ]
                for part, tests in self.tests.items()
            },
            "pair_tests": [
                {
                    "a": test.a,
                    "b": test.b,
                    "metric": test.metric,
                    "differences": test.differences.tolist(),
                    "p_holm": test.p_holm.tolist(),
                }
                for test in self.pair_tests
            ],
            "notes": dict(self.notes),
            "data": {code: dict(facts) for code, facts in self.data.items()},
            "warnings": list(self.warnings),
        }


def pair_tables(result: CrossLingualResult) -> list[Table]:
    """Tables of the means over pairs, of their tests by the first metric, and one matrix for each system."""
    return [table(title, head, lines) for title, head, lines in _parts(result)]


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


def _row_json(row: PairRow) -> dict[str, Any]:
    parts = {}
    for part in (WITHIN, ACROSS, POOLED):
        values = {metric: row.by_query(metric, part) for metric in row.values}
        parts[key(part)] = {
            "metrics": {metric: float(one.mean()) for metric, one in values.items()},
            "ci95": {metric: list(bootstrap_interval(one)) for metric, one in values.items()},
        }
    return {
        "system": row.system,
        "mode": row.mode,
        "parts": parts,
        "matrices": {metric: row.matrix(metric).tolist() for metric in row.values},
        "own_language_in_first_ten": row.own_share.tolist(),
    }


def key(part: str) -> str:
    """Name of a part in JSON: ``same_language``, ``other_languages`` or ``all_languages_pooled``."""
    return part.replace(" ", "_")
