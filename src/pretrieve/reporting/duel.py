"""Two systems query by query: a scatter, the queries that one wins and loses most, and both lists of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.reporting.page import Scatter, Section, Shares, Table
from pretrieve.reporting.query_names import Benchmark, Query, short

TIE = 1e-9
_BEST = 10  # queries shown at each end
_POINTS = 2_000  # of a scatter
_HITS = 10  # of a list
_RELEVANT = "✓ "


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of two systems.

    Attributes:
        name: what it is called.
        values: (Q,) of every query.
        hits: ids of documents by query, best first; empty where they are not kept.
    """

    name: str
    values: FloatArray
    hits: Mapping[str, Sequence[str]] = field(default_factory=dict)


def wins_section(pairs: Sequence[tuple[str, Side, Side]]) -> Section:
    """Queries won, tied and lost.

    Args:
        pairs: name of a system, it, and what it is compared with.
    """
    rows = []
    for name, one, rival in pairs:
        gap = one.values - rival.values
        won, lost = int((gap > TIE).sum()), int((gap < -TIE).sum())
        rows.append((name, won, len(gap) - won - lost, lost))
    names = " or ".join(dict.fromkeys(rival.name for _, _, rival in pairs))
    chart = Shares(title=f"Queries won, tied and lost against {names}", rows=rows)
    table = Table(title="The same in numbers", head=["system", "won", "tied", "lost"],
                  rows=[[name, *map(str, counts)] for name, *counts in rows], folded=True)  # fmt: skip
    return Section(title="Wins, ties and losses", charts=[chart], tables=[table])


def duel_section(metric: str, a: Side, b: Side, benchmark: Benchmark | None, notes: Sequence[str]) -> Section:
    """Two systems query by query.

    Args:
        metric: that the values are of.
        a: the one.
        b: the other.
        benchmark: texts of queries and titles of documents; None: queries are numbered, and there are no lists.
        notes: what has to be said first.
    """
    said = [*notes]
    charts = _scatter(metric, a, b, said)
    gap = a.values - b.values
    order = np.argsort(-gap, kind="stable").tolist()
    best = [place for place in order[:_BEST] if gap[place] > TIE]
    worst = [place for place in order[::-1][:_BEST] if gap[place] < -TIE]
    tables = []
    for title, places in (("Queries that A wins most", best), ("Queries that A loses most", worst)):
        if places:
            tables.append(_queries(title, places, a, b, benchmark))
            tables += _lists(places, a, b, benchmark)
    if not tables:
        said.append("A and B have the same value on every query.")
    elif benchmark is not None and a.hits and b.hits:
        said.append(f"Below each table are both lists of its queries, up to {_HITS} hits; ✓ marks what is relevant.")
    return Section(title="Query by query", notes=said, charts=charts, tables=tables)


def _scatter(metric: str, a: Side, b: Side, notes: list[str]) -> list[Scatter]:
    points = list(zip(b.values.tolist(), a.values.tolist(), strict=True))
    if not all(0 <= value <= 1 for point in points for value in point):
        notes.append(f"{metric} is not between 0 and 1: no picture.")
        return []
    if len(points) > _POINTS:
        every = -(-len(points) // _POINTS)
        notes.append(f"The picture has every {every}th of {len(points):,} queries.")
        points = points[::every]
    return [Scatter(title=f"{metric} of every query", x=f"B: {b.name}", y=f"A: {a.name}", points=points)]


def _queries(title: str, places: Sequence[int], a: Side, b: Side, benchmark: Benchmark | None) -> Table:
    rows = []
    for place in places:
        values = [f"{one.values[place]:.3f}" for one in (a, b)]
        gap = f"{a.values[place] - b.values[place]:+.3f}"
        if benchmark is None:
            rows.append([f"number {place + 1}", *values, gap])
        else:
            one = benchmark.queries[place]
            rows.append([one.id, short(one.text), benchmark.named(one), *values, gap])
    named = ["query"] if benchmark is None else ["query", "text", "relevant"]
    return Table(title=title, head=[*named, "A", "B", "A - B"], rows=rows)


def _lists(places: Sequence[int], a: Side, b: Side, benchmark: Benchmark | None) -> list[Table]:
    """Both lists of some queries, side by side."""
    if benchmark is None or not a.hits or not b.hits:
        return []
    tables = []
    for place in places:
        query = benchmark.queries[place]
        both = [list(one.hits.get(query.id, ()))[:_HITS] for one in (a, b)]
        rows = []
        for rank in range(max(map(len, both))):
            cells = [hits[rank] if rank < len(hits) else "" for hits in both]
            rows.append([str(rank + 1), *(_cell(hit, query, benchmark) for hit in cells)])
        title = f"{query.id}: {short(query.text)}"
        tables.append(Table(title=title, head=["rank", f"A: {a.name}", f"B: {b.name}"], rows=rows, folded=True))
    return tables


def _cell(hit: str, query: Query, benchmark: Benchmark) -> str:
    return f"{_RELEVANT if hit in query.relevant else ''}{benchmark.title(hit)}" if hit else ""
