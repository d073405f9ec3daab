"""The result of an evaluation: rows of values by query, tests between rows, as JSON and Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pretrieve.core.types import FloatArray
from pretrieve.evaluation.significance import bootstrap_interval
from pretrieve.evaluation.tables import markdown
from pretrieve.index.index import Mode

RowMode = Mode | Literal["run"]  # "run" is a ranking that was read from a file


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system in one mode: each metric's value for every query, in the order of the collection's queries."""

    system: str
    mode: RowMode
    values: Mapping[str, FloatArray]

    def mean(self, metric: str) -> float:
        """Mean over queries."""
        return float(self.values[metric].mean())

    @property
    def name(self) -> str:
        """What tests call it."""
        return f"{self.system} ({self.mode})"


@dataclass(frozen=True, kw_only=True)
class Test:
    """A paired test of row ``a`` against row ``b``; ``difference`` is the mean of a - b."""

    a: str
    b: str
    metric: str
    difference: float
    p: float
    p_holm: float


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of ``evaluate``.

    Attributes:
        collection: its name.
        split: split of the qrels.
        queries: their ids, in the order of all values.
        rows: systems.
        tests: each row against BM25, systems against each other in the same mode, and runs against every row; Holm's
            correction is over the tests of one metric.
        drop_same_id: whether hits with the id of the query were dropped.
        lexical: readable setting of each row of BM25.
        notes: further information, such as the chosen fusion weights.
        data: what is counted in the data (``data_facts``); empty where nothing was.
        warnings: what a reader of the figures has to know, one line each.
        runs: files that rankings were written to, by the name of their row.
    """

    collection: str
    split: str
    queries: Sequence[str]
    rows: Sequence[Row]
    tests: Sequence[Test]
    drop_same_id: bool = False
    lexical: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    runs: Mapping[str, str] = field(default_factory=dict)

    def markdown(self) -> str:
        """The tables of systems and of tests, with the warnings."""
        parts = [markdown(*result_cells(self, bold="**{}**")), *setting_lines(self), *note_lines(self.warnings)]
        if self.tests:
            parts.append(markdown(*test_cells(self)))
        return "\n\n".join(parts) + "\n"

    def to_json(self) -> dict[str, Any]:
        """As JSON; the numbers of queries, means, 95 % intervals and tests."""
        return {
            "collection": self.collection,
            "split": self.split,
            "queries": len(self.queries),
            "rows": [
                {
                    "system": row.system,
                    "mode": row.mode,
                    "metrics": {metric: row.mean(metric) for metric in row.values},
                    "ci95": {metric: list(bootstrap_interval(values)) for metric, values in row.values.items()},
                }
                for row in self.rows
            ],
            "tests": [
                {
                    "a": test.a,
                    "b": test.b,
                    "metric": test.metric,
                    "difference": test.difference,
                    "p": test.p,
                    "p_holm": test.p_holm,
                }
                for test in self.tests
            ],
            "drop_same_id": self.drop_same_id,
            "lexical": dict(self.lexical),
            "notes": dict(self.notes),
            **({"data": dict(self.data), "warnings": list(self.warnings)} if self.data else {}),
            **({"runs": dict(self.runs)} if self.runs else {}),
        }


def note_lines(warnings: Sequence[str]) -> list[str]:
    """The warnings of a result as lines below its table."""
    return [f"Note: {line}" for line in warnings]


def setting_lines(result: Result) -> list[str]:
    """A line for each row of BM25: its parameters, stop words and stemmer."""
    return [
        line if line.startswith(f"{name}:") else f"{name}{line.removeprefix('BM25')}"
        for name, line in result.lexical.items()
    ]


def result_cells(result: Result, bold: str = "[bold]{}[/bold]") -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table of systems; the best value of a metric stands in ``bold``."""
    metrics = list(result.rows[0].values)
    best = {metric: max(row.mean(metric) for row in result.rows) for metric in metrics}
    lines = []
    for row in result.rows:
        cells = [row.system, row.mode]
        for metric in metrics:
            mean, (low, high) = row.mean(metric), bootstrap_interval(row.values[metric])
            value = bold.format(f"{mean:.4f}") if mean == best[metric] else f"{mean:.4f}"
            cells.append(f"{value} ({low:.3f} to {high:.3f})")
        lines.append(cells)
    return ["system", "mode", *metrics], lines


def test_cells(result: Result) -> tuple[list[str], list[list[str]]]:
    """Head and lines of the table of tests."""
    lines = [
        [test.a, test.b, test.metric, f"{test.difference:+.4f}", f"{test.p:.4f}", f"{test.p_holm:.4f}"]
        for test in result.tests
    ]
    return ["a", "b", "metric", "a - b", "p", "p (Holm)"], lines
