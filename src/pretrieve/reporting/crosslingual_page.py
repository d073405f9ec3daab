"""The report of an evaluation across languages: the JSON of ``pretrieve evaluate`` on a folder of languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrieve.core.errors import DataError
from pretrieve.evaluation.crosslingual_result import ACROSS, POOLED, WITHIN, key
from pretrieve.reporting.page import Page, Section, Table
from pretrieve.reporting.provenance import made_by
from pretrieve.reporting.scores import certainty, headline, name_of, probability, scores_section

Facts = Mapping[str, Any]
_PARTS = {
    ACROSS: "queries and documents in different languages",
    WITHIN: "queries and documents in one language",
    POOLED: "the documents of all languages together",
}


def is_crosslingual(facts: object) -> bool:
    """Whether JSON claims to be an evaluation across languages."""
    return isinstance(facts, dict) and "pair_tests" in facts


def crosslingual_page(path: Path, facts: Facts) -> Page:
    """The report of an evaluation across languages.

    Args:
        path: of its JSON, for messages.
        facts: its JSON.

    Raises:
        DataError: something in it is missing or of another form.
    """
    try:
        return _page(facts)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise DataError(
            f"{path}: an evaluation across languages that is damaged ({type(error).__name__}: {error!s:.80}): give "
            "what `pretrieve evaluate --output-json` writes."
        ) from None


def _page(facts: Facts) -> Page:
    parts = {part: _part(facts, part) for part in _PARTS}
    sections = [scores_section(one, f"Scores: {_PARTS[part]}") for part, one in parts.items()]
    sections += [_matrices(facts), *_pair_tests(facts), _made(facts)]
    return Page(
        kind="crosslingual",
        title=f"Evaluation across languages on {facts['collection']} ({facts['split']})",
        verdict=_verdict(facts, parts),
        sections=sections,
    )


def _part(facts: Facts, part: str) -> dict[str, Any]:
    """A part of the pairs as the JSON of an evaluation of one language."""
    rows = [{"system": row["system"], "mode": row["mode"], **row["parts"][key(part)]} for row in facts["rows"]]
    return {
        "collection": f"{facts['collection']}, {_PARTS[part]}",
        "split": facts["split"],
        "queries": facts["queries"],
        "rows": rows,
        "tests": facts["tests"].get(key(part), []),
        "warnings": facts.get("warnings", []) if part == ACROSS else [],
    }


def _verdict(facts: Facts, parts: Mapping[str, Facts]) -> list[str]:
    codes = facts["languages"]
    models = sorted({row["system"] for row in facts["rows"] if row["mode"] != "lexical"})
    who = f"{' and '.join(models)} and BM25" if models else "BM25 alone"
    done = (
        f"What was done: {who} {'were' if models else 'was'} evaluated on {facts['queries']:,} questions in "
        f"{', '.join(codes)}: {len(codes)} pairs of one language, {len(codes) * (len(codes) - 1)} of two, and the "
        "documents of all languages in one pool."
    )
    first, *rest = [headline(one) for one in parts.values()]
    shares = [f"{name_of(row)} {_own(row):.0%}" for row in facts["rows"]]
    bias = (
        f"Of the first ten documents of the pool, these are in the query's language ({1 / len(codes):.0%} without a "
        f"bias): {', '.join(shares)}."
    )
    return [first, done, *rest, bias, certainty(facts["queries"])]


def _own(row: Facts) -> float:
    shares = row["own_language_in_first_ten"]
    return float(sum(shares) / len(shares))


def _matrices(facts: Facts) -> Section:
    codes = facts["languages"]
    tables = []
    for row in facts["rows"]:
        for place, (metric, matrix) in enumerate(_first(facts, row["matrices"])):
            title = f"{name_of(row)}: {metric}; queries down, documents across"
            lines = [[code, *(f"{value:.3f}" for value in values)] for code, values in zip(codes, matrix, strict=True)]
            tables.append(Table(title=title, head=["", *codes], rows=lines, folded=bool(place)))
    return Section(title="Every pair of languages", tables=tables)


def _first(facts: Facts, matrices: Facts) -> list[tuple[str, Sequence[Sequence[float]]]]:
    """Matrices by metric, that which was tested first."""
    tests = [test for part in facts["tests"].values() for test in part]
    first = tests[0]["metric"] if tests else next(iter(matrices))
    return sorted(matrices.items(), key=lambda one: one[0] != first)


def _pair_tests(facts: Facts) -> list[Section]:
    codes, tables = facts["languages"], []
    for test in facts["pair_tests"]:
        lines = []
        for code, gaps, chances in zip(codes, test["differences"], test["p_holm"], strict=True):
            lines.append([code, *(f"{gap:+.3f} (p {probability(p)})" for gap, p in zip(gaps, chances, strict=True))])
        title = f"{test['a']} - {test['b']}: {test['metric']}; queries down, documents across"
        tables.append(Table(title=title, head=["", *codes], rows=lines, folded=True))
    if not tables:
        return []
    note = "Paired permutation tests of models in the same mode, corrected by Holm over the pairs of languages."
    return [Section(title="Models against each other, pair by pair", notes=[note], tables=tables)]


def _made(facts: Facts) -> Section:
    notes = {name: said for name, said in facts.get("notes", {}).items() if isinstance(said, Mapping)}
    prints = {name: said["fingerprint"] for name, said in notes.items() if "fingerprint" in said}
    values = {name: {k: v for k, v in said.items() if k != "fingerprint"} for name, said in notes.items()}
    return made_by("", recipe={**values, "data": facts.get("data", {})}, environment={}, fingerprints=prints)
