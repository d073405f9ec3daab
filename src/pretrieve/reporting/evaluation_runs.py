"""Two runs of an evaluation, query by query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrieve.core.errors import DataError, UsageError
from pretrieve.evaluation.benchmark import evaluate_rankings, parse_metrics
from pretrieve.reporting.duel import Side, duel_section, wins_section
from pretrieve.reporting.page import Section
from pretrieve.reporting.query_names import benchmark_of
from pretrieve.reporting.scores import first_metric, name_of
from pretrieve.text.beir import Collection, load_collection
from pretrieve.text.trec_runs import read_trec_run

_SAME = 5e-5  # of a mean and a row's: ties and cut lists may differ a little


def run_sections(facts: Mapping[str, Any], runs: Sequence[Path], folder: Path) -> list[Section]:
    """Wins, scatter, queries and lists of two runs.

    Args:
        facts: JSON of the evaluation.
        runs: A and B, as ``evaluate --run`` writes them.
        folder: BEIR folder that was evaluated on.

    Raises:
        UsageError: there are not two runs.
        DataError: the folder is not the evaluation's, or a line of a run cannot be read.
    """
    if len(runs) != 2:
        raise UsageError(f"--run: {len(runs)} given; two are shown beside each other, A and B.")
    for path in runs:
        if not path.is_file():
            raise UsageError(f"--run {path}: no such file.")
    collection = load_collection(folder, facts["split"])
    if len(collection.queries) != facts["queries"]:
        raise DataError(f"--benchmark {folder}: {len(collection.queries):,} queries; the evaluation has "
                        f"{facts['queries']:,}: give the folder that was evaluated on.")  # fmt: skip
    metric = first_metric(facts)
    a, b = (_side(path, collection, metric) for path in runs)
    notes = [f"A is {runs[0]}{_row(a, metric, facts)}. B is {runs[1]}{_row(b, metric, facts)}."]
    return [wins_section([(a.name, a, b)]), duel_section(metric, a, b, benchmark_of(collection), notes)]


def _side(path: Path, collection: Collection, metric: str) -> Side:
    documents = [document.id for document in collection.documents]
    hits = read_trec_run(path, collection.queries, documents=documents).hits
    values = evaluate_rankings(iter(hits.items()), collection, parse_metrics((metric,)))[metric]
    return Side(name=path.name, values=values, hits=hits)


def _row(side: Side, metric: str, facts: Mapping[str, Any]) -> str:
    """The row of the evaluation that has the mean of a run."""
    mean = float(side.values.mean())
    rows = [name_of(row) for row in facts["rows"] if abs(row["metrics"][metric] - mean) < _SAME]
    if rows:
        return f" (the {metric} of {' or '.join(rows)})"
    return f" ({metric} {mean:.4f}, which no row of the evaluation has)"
