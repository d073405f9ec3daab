"""The scores of systems with intervals and tests, from the JSON of an evaluation, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretrieve.reporting.page import Section, Table

LEVEL = 0.05
_SENTENCES = 8  # tests that the verdict tells
Facts = Mapping[str, Any]


def scores_section(facts: Facts, title: str = "Scores") -> Section:
    """Tables of systems and tests.

    Args:
        facts: JSON of an evaluation.
        title: heading.
    """
    metrics = _metrics(facts)
    rows = [[row["system"], row["mode"], *(_value(row, metric) for metric in metrics)] for row in facts["rows"]]
    tables = [Table(title="Mean over queries (95 % bootstrap interval)", head=["system", "mode", *metrics], rows=rows)]
    tests = [[test["a"], test["b"], test["metric"], f"{test['difference']:+.4f}", probability(test["p"]),
              probability(test["p_holm"])] for test in facts["tests"]]  # fmt: skip
    if tests:
        head = ["a", "b", "metric", "a - b", "p", "p (Holm)"]
        tables.append(Table(title="Paired permutation tests over queries", head=head, rows=tests))
    notes = [
        f"{facts['collection']} ({facts['split']}), {facts['queries']:,} queries.",
        *facts.get("lexical", {}).values(),
    ]
    notes += facts.get("warnings", [])
    return Section(title=title, notes=notes, tables=tables)


def probability(p: float) -> str:
    """A p-value as text."""
    return f"{p:.4f}" if p >= 0.0001 else "< .0001"


def against(facts: Facts, a: str, b: str) -> str:
    """A sentence on the test of one row against another, by the first metric; empty without such a test.

    Args:
        facts: JSON of an evaluation.
        a: row, as tests name it.
        b: the other row.
    """
    test = _test(facts, a, b)
    if test is None:
        return ""
    size = f"{test['metric']} {test['difference']:+.4f}, p = {probability(test['p_holm'])} after Holm's correction"
    return f"{a} is {_found(test)} {b} ({size})."


def helped(facts: Facts, a: str, b: str) -> bool | None:
    """Whether row ``a`` is above ``b`` (False: below it) by more than chance; None where neither is shown."""
    test = _test(facts, a, b)
    if test is None or test["p_holm"] >= LEVEL or not test["difference"]:
        return None
    return bool(test["difference"] > 0)


def certainty(queries: int) -> str:
    """How sure the tests of one evaluation are, in a sentence."""
    few = " With so few queries only large differences can be shown." if queries < 50 else ""
    return (
        f"How sure: paired permutation tests over {queries:,} queries, corrected by Holm for the number of tests; "
        f"p < {LEVEL:g} counts as shown. They speak of these queries and of one training run: another seed may "
        f"differ.{few}"
    )


def evaluation_verdict(facts: Facts) -> list[str]:
    """The verdict of an evaluation: the best system, and whether it is better than BM25.

    Args:
        facts: JSON of an evaluation.
    """
    metric, rows = _metrics(facts)[0], facts["rows"]
    best = max(rows, key=lambda row: float(row["metrics"][metric]))
    models = {row["system"] for row in rows if row["mode"] != "lexical"}
    names = " and ".join(sorted(models)) if len(models) < 4 else f"{len(models)} models"
    were = "was" if len(models) == 1 else "were"
    place = f"evaluated beside BM25 on {facts['collection']} ({facts['split']})"
    first = f"{names} {were} {place}." if models else f"BM25 alone was {place.replace('beside BM25 ', '')}."
    lines = [first, f"{name_of(best)} has the highest {metric}: {_value(best, metric)}."]
    bm25 = next((name_of(row) for row in rows if row["mode"] == "lexical"), "")
    others = [name_of(row) for row in rows if row["mode"] == best["mode"]]
    pairs = [(name_of(row), bm25) for row in rows]
    pairs += [(name_of(best), name) for name in others] + [(name, name_of(best)) for name in others]
    sentences = [line for pair in dict.fromkeys(pairs) if (line := against(facts, *pair))]
    if len(sentences) > _SENTENCES:
        sentences = [
            *sentences[:_SENTENCES],
            f"The table below has {len(sentences) - _SENTENCES} more tests of this kind.",
        ]
    return [*lines, *sentences, certainty(facts["queries"])]


def name_of(row: Facts) -> str:
    """What tests call a row."""
    return f"{row['system']} ({row['mode']})"


def _found(test: Facts) -> str:
    if test["p_holm"] >= LEVEL or not test["difference"]:
        return "not shown to differ from"
    return "better than" if test["difference"] > 0 else "worse than"


def _test(facts: Facts, a: str, b: str) -> Facts | None:
    metric = _metrics(facts)[0]
    tests: Sequence[Facts] = facts["tests"]
    return next((test for test in tests if (test["a"], test["b"], test["metric"]) == (a, b, metric)), None)


def _metrics(facts: Facts) -> list[str]:
    """The metrics; first the one that was asked for first, which the order of the tests keeps."""
    known = list(facts["rows"][0]["metrics"])
    first = facts["tests"][0]["metric"] if facts["tests"] else known[0]
    return [first, *(metric for metric in known if metric != first)]


def _value(row: Facts, metric: str) -> str:
    low, high = row["ci95"][metric]
    return f"{row['metrics'][metric]:.4f} ({low:.3f} to {high:.3f})"
