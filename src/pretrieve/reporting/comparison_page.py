"""The report of a comparison: table, wins and losses, one pair query by query, and the data behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core.errors import CorruptError
from pretrieve.pipeline.compare.request import SAID
from pretrieve.reporting.comparison_scores import System, read_systems
from pretrieve.reporting.page import Page, Scatter, Section, Shares, Table
from pretrieve.reporting.provenance import made_by
from pretrieve.reporting.query_names import Query, read_query_names
from pretrieve.reporting.scores import LEVEL, probability

_BEST = 10  # queries shown at each end
_POINTS = 2_000  # of a scatter
_TIE = 1e-9

Facts = Mapping[str, Any]


def comparison_page(folder: Path, benchmark: Path | None) -> Page:
    """The report of a comparison.

    Args:
        folder: of the comparison.
        benchmark: the BEIR folder it was evaluated on, for the texts of queries.

    Raises:
        CorruptError: a file of the comparison is missing or damaged.
        FingerprintError: the benchmark is another one.
    """
    report, facts = _json(folder / "report.json"), _json(folder / SAID)
    systems = read_systems(folder, report)
    queries = None if benchmark is None else read_query_names(benchmark, facts)
    trained = [one for one in systems if one.mode != "lexical" and one.method != report["base"]]
    sections = [_table(report, systems)]
    rivals = {(one.stage, one.mode): one for one in systems if one.method == report["base"]}
    lexical = next((one for one in systems if one.mode == "lexical"), None)
    pairs = [(one, rival) for one in trained if (rival := rivals.get((one.stage, one.mode), lexical)) is not None]
    if pairs:
        sections += [_wins(pairs), _pair(report, *_chosen(pairs), queries)]
    sections += [_costs(report), _not_kept(), _made(folder, facts)]
    verdict = _verdict(report, trained, len(systems[0].values))
    return Page(kind="comparison", title=report["title"], verdict=verdict, sections=sections)


def _verdict(report: Facts, trained: Sequence[System], queries: int) -> list[str]:
    base, methods = report["base"], list(dict.fromkeys(one.method for one in trained))
    if not methods:
        return ["Nothing was trained in this comparison: it has the base and BM25 alone."]
    lines = [f"Trained without labels under the same conditions: {', '.join(methods)}. Compared with `{base}`, the "
             f"untrained base, on {queries:,} queries ({report['title']})."]  # fmt: skip
    for stage, mode in dict.fromkeys((one.stage, one.mode) for one in trained):
        group = [one for one in trained if (one.stage, one.mode) == (stage, mode)]
        best = max(group, key=lambda one: one.mean)
        parts = [f"{words} {', '.join(names)}" for words, names in _sides(group) if names]
        lines.append(
            f"{stage}, {mode}: {'; '.join(parts)}. Highest: {best.method}, {report['metric']} {best.mean:.3f}."
        )
    seeds = max(len(one.cell["seeds"]) for one in trained)
    several = f"and all {seeds} seeds on that side" if seeds > 1 else "and one seed: another may give another sign"
    return [*lines, (
        f"How sure: above or below means p < {LEVEL:g} in a paired permutation test over queries, corrected by Holm "
        f"over the methods, {several}. Everything else is not shown to differ."
    )]  # fmt: skip


def _sides(group: Sequence[System]) -> list[tuple[str, list[str]]]:
    """Names of the methods above the base, below it, and those of which neither is shown."""
    sides: dict[int, list[str]] = {1: [], -1: [], 0: []}
    untested = []
    for one in group:
        if one.cell["p_holm"] is None:
            untested.append(one.method)
        else:
            sides[one.cell["side"] if one.cell["p_holm"] < LEVEL else 0].append(one.method)
    words = (("training helped", 1), ("training made worse", -1), ("no difference shown for", 0))
    return [*((text, sides[side]) for text, side in words), ("not tested, as the base was not evaluated:", untested)]


def _table(report: Facts, systems: Sequence[System]) -> Section:
    rows = []
    for one in systems:
        low, high = one.cell["ci95"]
        p = one.cell["p_holm"]
        seeds = np.array(one.cell["seeds"])
        spread = f"{seeds.std(ddof=1):.3f}" if len(seeds) > 1 else ""
        stage = "" if one.mode == "lexical" else one.stage
        rows.append([one.method, stage, one.mode, f"{one.mean:.4f} ({low:.3f} to {high:.3f})", spread,
                     "" if p is None else probability(p)])  # fmt: skip
    head = ["method", "labels", "mode", report["metric"], "± over seeds", f"p (Holm) against {report['base']}"]
    title = "Mean over queries and seeds (95 % bootstrap interval over queries)"
    note = "Hybrid: vectors and BM25 have equal weights."
    return Section(title="Scores", notes=[note], tables=[Table(title=title, head=head, rows=rows)])


def _wins(pairs: Sequence[tuple[System, System]]) -> Section:
    rows = []
    for one, rival in pairs:
        gap = one.values - rival.values
        won, lost = int((gap > _TIE).sum()), int((gap < -_TIE).sum())
        rows.append((f"{one.method}, {one.stage}, {one.mode}", won, len(gap) - won - lost, lost))
    names = " or ".join(dict.fromkeys(rival.method for _, rival in pairs))
    chart = Shares(title=f"Queries won, tied and lost against {names}", rows=rows)
    table = Table(title="The same in numbers", head=["system", "won", "tied", "lost"],
                  rows=[[name, *map(str, counts)] for name, *counts in rows])  # fmt: skip
    return Section(title="Wins, ties and losses", charts=[chart], tables=[table])


def _chosen(pairs: Sequence[tuple[System, System]]) -> tuple[System, System]:
    """The trained system with the highest mean before any fine-tuning, and what it is compared with."""
    before = [pair for pair in pairs if pair[0].stage == "as it is"] or pairs
    return max(before, key=lambda pair: pair[0].mean)


def _pair(report: Facts, a: System, b: System, queries: Sequence[Query] | None) -> Section:
    names = [f"{one.method} ({', '.join(part for part in (one.stage, one.mode) if part)})" for one in (a, b)]
    notes = [f"A is {names[0]}, the trained system with the highest mean before fine-tuning: chosen by these "
             f"queries, so A's gain is flattered. B is {names[1]}."]  # fmt: skip
    if queries is None:
        notes.append(
            "A comparison keeps no texts: queries are numbered in the order of the qrels; --benchmark names them."
        )
    notes.append("The ranked lists of the queries are not kept.")
    points = list(zip(b.values.tolist(), a.values.tolist(), strict=True))
    if len(points) > _POINTS:
        every = -(-len(points) // _POINTS)
        notes.append(f"The picture has every {every}th of {len(points):,} queries.")
        points = points[::every]
    charts = [
        Scatter(title=f"{report['metric']} of every query", x=f"B: {names[1]}", y=f"A: {names[0]}", points=points)
    ]
    if not all(0 <= value <= 1 for point in points for value in point):
        charts = []
        notes.append(f"{report['metric']} is not between 0 and 1: no picture.")
    gap = a.values - b.values
    order = np.argsort(-gap, kind="stable").tolist()
    best = [place for place in order[:_BEST] if gap[place] > _TIE]
    worst = [place for place in order[::-1][:_BEST] if gap[place] < -_TIE]
    tables = [_queries(title, places, a, b, queries) for title, places in (
        ("Queries that A wins most", best), ("Queries that A loses most", worst)) if places]  # fmt: skip
    if not tables:
        notes.append("A and B have the same value on every query.")
    return Section(title="Query by query", notes=notes, charts=charts, tables=tables)


def _queries(title: str, places: Sequence[int], a: System, b: System, queries: Sequence[Query] | None) -> Table:
    rows = []
    for place in places:
        values = [f"{one.values[place]:.3f}" for one in (a, b)]
        gap = f"{a.values[place] - b.values[place]:+.3f}"
        if queries is None:
            rows.append([f"number {place + 1}", *values, gap])
        else:
            one = queries[place]
            rows.append([one.id, one.text, one.relevant, *values, gap])
    named = ["query"] if queries is None else ["query", "text", "relevant"]
    return Table(title=title, head=[*named, "A", "B", "A - B"], rows=rows)


def _costs(report: Facts) -> Section:
    methods = list(report["seconds"])
    rows = [
        [name, *(f"{report[kind].get(name, 0):,.0f}" for kind in ("steps", "tokens", "seconds"))] for name in methods
    ]
    table = Table(title="Training, mean over seeds", head=["method", "steps", "tokens", "seconds"], rows=rows)
    return Section(title="Cost", tables=[table])


def _not_kept() -> Section:
    note = "Runs of a comparison keep no curves. `pretrieve report` on a model in runs/ shows its sampler's examples."
    return Section(title="Curves", notes=[note])


def _made(folder: Path, facts: Facts) -> Section:
    prints = {"sources": facts["sources"], "benchmark": facts["benchmark"]}
    recipe = {key: value for key, value in facts.items() if key not in prints}
    path = folder / "settings.json"
    own = {"settings of": _json(path)} if path.is_file() else {}
    return made_by("", recipe={**recipe, **own}, environment=_environment(folder), fingerprints=prints)


def _environment(folder: Path) -> dict[str, Any]:
    """Device and versions of the first run that has a report."""
    for path in sorted((folder / "runs").glob("*/report.json")):
        found = _json(path)
        return {"device": found.get("device", ""), **found.get("recipe", {}).get("versions", {})}
    return {}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise CorruptError(f"{path} is missing: run `pretrieve compare` again.") from None
    except orjson.JSONDecodeError as error:
        raise CorruptError(f"{path} is damaged ({error}): run `pretrieve compare` again.") from None
    if not isinstance(found, dict):
        raise CorruptError(f"{path} is damaged: run `pretrieve compare` again.")
    return found
