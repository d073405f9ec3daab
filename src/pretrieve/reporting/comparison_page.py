"""The report of a comparison: table, wins and losses, one pair query by query, and the data behind it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core.errors import CorruptError
from pretrieve.pipeline.compare.request import SAID
from pretrieve.reporting.comparison_scores import System, read_systems
from pretrieve.reporting.duel import Side, duel_section, wins_section
from pretrieve.reporting.page import Intervals, Page, Section, Table
from pretrieve.reporting.provenance import made_by
from pretrieve.reporting.query_names import Benchmark, read_benchmark
from pretrieve.reporting.scores import LEVEL, probability
from pretrieve.text.trec_runs import read_trec_run

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
    queries = None if benchmark is None else read_benchmark(benchmark, facts)
    trained = [one for one in systems if one.mode != "lexical" and one.method != report["base"]]
    sections = [_table(report, systems)]
    rivals = {(one.stage, one.mode): one for one in systems if one.method == report["base"]}
    lexical = next((one for one in systems if one.mode == "lexical"), None)
    pairs = [(one, rival) for one in trained if (rival := rivals.get((one.stage, one.mode), lexical)) is not None]
    if pairs:
        won = [(f"{one.method}, {one.stage}, {one.mode}", _side(one), _side(rival)) for one, rival in pairs]
        sections += [wins_section(won), _pair(folder, report, *_chosen(pairs), queries)]
    sections += [_costs(report), _not_kept(), _made(folder, facts)]
    verdict = _verdict(report, trained, len(systems[0].values))
    return Page(kind="comparison", title=report["title"], verdict=verdict, sections=sections)


def _verdict(report: Facts, trained: Sequence[System], queries: int) -> list[str]:
    base, methods = report["base"], list(dict.fromkeys(one.method for one in trained))
    if not methods:
        return ["Nothing was trained in this comparison: it has the base and BM25 alone."]
    lines = [_headline(trained, base), (
        f"What was done: {', '.join(methods)} trained without labels under the same conditions, and were compared "
        f"with `{base}`, the untrained base, on {queries:,} queries ({report['title']})."
    )]  # fmt: skip
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


def _headline(trained: Sequence[System], base: str) -> str:
    """Which methods helped, in a sentence."""
    tested = [one for one in trained if one.cell["p_holm"] is not None]
    if not tested:
        return f"Whether training helped was not tested: `{base}` was not evaluated."
    shown = [one for one in tested if one.cell["p_holm"] < LEVEL and one.cell["side"]]
    better = [_named(one) for one in shown if one.cell["side"] > 0]
    worse = [_named(one) for one in shown if one.cell["side"] < 0]
    sides = ((f"Shown to be better than the untrained `{base}`", better), ("Shown to be worse", worse))
    parts = [f"{words}: {'; '.join(names)}" for words, names in sides if names]
    return f"{'. '.join(parts)}." if parts else f"No method is shown to differ from the untrained `{base}`."


def _named(one: System) -> str:
    return f"{one.method} ({one.mode if one.mode == 'lexical' else f'{one.stage}, {one.mode}'})"


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
    found = [(_named(one), one.cell["ci95"][0], one.mean, one.cell["ci95"][1]) for one in systems]
    charts = [Intervals(title=f"{report['metric']} and its 95 % interval", x=report["metric"], rows=found)]
    return Section(title="Scores", notes=[note], charts=charts, tables=[Table(title=title, head=head, rows=rows)])


def _side(one: System) -> Side:
    return Side(name=one.method, values=one.values)


def _chosen(pairs: Sequence[tuple[System, System]]) -> tuple[System, System]:
    """The trained system with the highest mean before any fine-tuning, and what it is compared with."""
    before = [pair for pair in pairs if pair[0].stage == "as it is"] or pairs
    return max(before, key=lambda pair: pair[0].mean)


def _pair(folder: Path, report: Facts, a: System, b: System, benchmark: Benchmark | None) -> Section:
    names = [_named(one) for one in (a, b)]
    notes = [f"A is {names[0]}, the trained system with the highest mean before fine-tuning: chosen by these "
             f"queries, so A's gain is flattered. B is {names[1]}."]  # fmt: skip
    if benchmark is None:
        notes.append(
            "A comparison keeps no texts: queries are numbered in the order of the qrels; --benchmark names them, and "
            "shows the ranked lists where they are kept."
        )
        sides = [Side(name=name, values=one.values) for name, one in zip(names, (a, b), strict=True)]
        return duel_section(report["metric"], sides[0], sides[1], None, notes)
    ids = {query.id for query in benchmark.queries}
    hits = [_hits(folder, one, ids, benchmark.titles) for one in (a, b)]
    if not all(hits):
        notes.append("The ranked lists of the queries are not kept.")
    elif max(len(one.cell["seeds"]) for one in (a, b)) > 1:
        notes.append("Values are means over seeds; lists are those of the first seed.")
    sides = [
        Side(name=name, values=one.values, hits=found) for name, one, found in zip(names, (a, b), hits, strict=True)
    ]
    return duel_section(report["metric"], sides[0], sides[1], benchmark, notes)


def _hits(folder: Path, one: System, queries: set[str], documents: Collection[str]) -> Mapping[str, Sequence[str]]:
    """The ranked lists of a system's first seed; none where they are not kept."""
    path = folder / one.ranking
    return read_trec_run(path, queries, documents=documents).hits if one.ranking and path.is_file() else {}


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
