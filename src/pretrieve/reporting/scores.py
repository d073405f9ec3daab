"""The scores of systems with intervals and tests, from the JSON of an evaluation, and what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretrieve.core.model_files import START
from pretrieve.reporting.page import Intervals, Section, Table

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
    tables += [_tests([test for test in facts["tests"] if test["metric"] == metric], metric, folded=bool(place))
               for place, metric in enumerate(metrics)]  # fmt: skip
    found = [(name_of(row), *_interval(row, metrics[0])) for row in facts["rows"]]
    charts = [Intervals(title=f"{metrics[0]} and its 95 % interval", x=metrics[0], rows=found)]
    notes = [
        f"{facts['collection']} ({facts['split']}), {facts['queries']:,} queries.",
        *facts.get("lexical", {}).values(),
    ]
    notes += facts.get("warnings", [])
    return Section(title=title, notes=notes, charts=charts, tables=[table for table in tables if table.rows])


def _tests(tests: Sequence[Facts], metric: str, *, folded: bool) -> Table:
    rows = [[test["a"], test["b"], f"{test['difference']:+.4f}", probability(test["p"]), probability(test["p_holm"]),
             _side(test)] for test in tests]  # fmt: skip
    head = ["a", "b", "a - b", "p", "p (Holm)", f"a, at p < {LEVEL:g}"]
    return Table(title=f"{metric}: paired permutation tests over queries", head=head, rows=rows, folded=folded)


def _side(test: Facts) -> str:
    return {"better than": "better", "worse than": "worse"}.get(_found(test), "not shown")


def _interval(row: Facts, metric: str) -> tuple[float, float, float]:
    low, high = row["ci95"][metric]
    return low, row["metrics"][metric], high


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
    bm25 = next((name_of(row) for row in rows if row["mode"] == "lexical"), "")
    lines = [headline(facts), f"What was done: {first}"]
    lines.append(f"{name_of(best)} has the highest {metric}: {_value(best, metric)}.")
    others = [name_of(row) for row in rows if row["mode"] == best["mode"]]
    pairs = [(name_of(row), bm25) for row in rows]
    pairs += [(name_of(best), name) for name in others if name != name_of(best)]
    sentences = [line for pair in dict.fromkeys(pairs) if (line := against(facts, *pair))]
    if len(sentences) > _SENTENCES:
        sentences = [
            *sentences[:_SENTENCES],
            f"The table below has {len(sentences) - _SENTENCES} more tests of this kind.",
        ]
    return [*lines, *([" ".join(sentences)] if sentences else []), certainty(facts["queries"])]


def headline(facts: Facts) -> str:
    """The verdict in a sentence: which rows are shown to be better than BM25.

    Args:
        facts: JSON of an evaluation.
    """
    bm25 = next((name_of(row) for row in facts["rows"] if row["mode"] == "lexical"), "")
    place = f"on {facts['collection']} ({facts['queries']:,} queries)"
    others = [name_of(row) for row in facts["rows"] if row["mode"] != "lexical"]
    if not others:
        return f"BM25 was measured, and nothing beside it, {place}."
    if not any(_test(facts, name, bm25) for name in others):
        return f"Nothing was tested against BM25 {place}."
    sides = {name: helped(facts, name, bm25) for name in others}
    better = [name for name, side in sides.items() if side]
    worse = [name for name, side in sides.items() if side is False]
    if better:
        return f"Better than BM25 {place}: {', '.join(better)}."
    if len(worse) == len(others):
        return f"BM25 is better than every model {place}."
    return f"No model is shown to be better than BM25 {place}."


def against_start(facts: Facts) -> list[str]:
    """What an evaluation says of trained models beside their own starts, one sentence a mode; the first one decides.

    Args:
        facts: JSON of an evaluation.
    """
    lines = []
    for row in facts["rows"]:
        start = "random start" if row["system"] == "trained" else f"{row['system']}/{START}"
        a, b = name_of(row), f"{start} ({row['mode']})"
        sentence = against(facts, a, b)
        if sentence:
            words = {True: "Training helped", False: "Training made it worse", None: "Training is not shown to help"}
            place = f"{facts['queries']:,} queries of {facts['collection']}"
            lines.append(f"{words[helped(facts, a, b)]}: on {place} {sentence}")
    return lines


def name_of(row: Facts) -> str:
    """What tests call a row."""
    return f"{row['system']} ({row['mode']})"


def _found(test: Facts) -> str:
    if test["p_holm"] >= LEVEL or not test["difference"]:
        return "not shown to differ from"
    return "better than" if test["difference"] > 0 else "worse than"


def _test(facts: Facts, a: str, b: str) -> Facts | None:
    """The test of one row against another by the first metric, whichever way round it is kept."""
    metric = _metrics(facts)[0]
    tests: Sequence[Facts] = [test for test in facts["tests"] if test["metric"] == metric]
    found = next((test for test in tests if (test["a"], test["b"]) == (a, b)), None)
    other = next((test for test in tests if (test["a"], test["b"]) == (b, a)), None)
    if found is None and other is not None:
        return {**other, "a": a, "b": b, "difference": -other["difference"]}
    return found


def first_metric(facts: Facts) -> str:
    """The metric that an evaluation was asked for first."""
    return _metrics(facts)[0]


def _metrics(facts: Facts) -> list[str]:
    """The metrics; first the one that was asked for first, which the order of the tests keeps."""
    known = list(facts["rows"][0]["metrics"])
    first = facts["tests"][0]["metric"] if facts["tests"] else known[0]
    return [first, *(metric for metric in known if metric != first)]


def _value(row: Facts, metric: str) -> str:
    low, high = row["ci95"][metric]
    return f"{row['metrics'][metric]:.4f} ({low:.3f} to {high:.3f})"
