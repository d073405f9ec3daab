"""One search with all that can be asked for: filters, the syntax of queries, groups.

The ranking is that of ``Index.rank`` among the documents that are allowed. Phrases are checked in the text of the
documents, and groups formed, from the best document on, deeper and deeper until enough are found.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.types import BoolArray, Document
from pretrieve.index.asked import Mode, check_mode, check_query, check_top_k
from pretrieve.index.columns import Columns
from pretrieve.index.filters import Filter, field_name
from pretrieve.index.hits import Hits
from pretrieve.index.index import Index
from pretrieve.index.matching import Matching
from pretrieve.index.query import Query, parse
from pretrieve.index.rankers import Queries
from pretrieve.index.relevance import NOTHING

GROUPED = 1_000  # best documents among which further ones of a group are counted
_READ = 10_000  # documents that a phrase is looked for in
OPTIONS = ("filter", "group_by", "syntax")
_DEEPER = 4  # times as many documents are ranked where too few fit


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for.

    Attributes:
        query: text, as it is searched for.
        k: number of hits.
        mode: ranking.
        filter: which documents.
        group_by: field of which each value is one hit, the best document with it.
    """

    query: Query
    k: int = 10
    mode: Mode = "hybrid"
    filter: Filter | None = None
    group_by: str | None = None


@dataclass(slots=True)
class Found:
    """The documents that were found.

    Attributes:
        numbers: of the documents, best first.
        scores: their scores.
        more: for each the number of others of its group among the ``GROUPED`` best.
        notes: what the user should know.
        allowed: the documents that filter and words allow, (R,); None: all. Phrases are looked for in texts, later.
    """

    numbers: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    more: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    allowed: BoolArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The answer to a query.

    Attributes:
        asked: what was asked for, as it is understood.
        hits: best first.
        numbers: of their documents.
        text: the query as a batch, with what rankers computed for it.
        notes: what the user should know.
        allowed: as in ``Found``.
    """

    asked: Asked
    hits: Hits
    numbers: list[int]
    text: Queries
    notes: list[str]
    allowed: BoolArray | None = None

    @property
    def query(self) -> Query:
        """The query as it is understood."""
        return self.asked.query

    @property
    def relevant(self) -> bool:
        """Whether the best hit is more than the nearest of what does not answer."""
        return any(hit.relevance is None or hit.relevance >= NOTHING for hit in self.hits)


def search(
    index: Index,
    query: str,
    k: int = 10,
    mode: Mode = "hybrid",
    *,
    filter: str | Filter | None = None,  # noqa: A002 - the name of the option
    group_by: str | None = None,
    syntax: bool = False,
) -> Result:
    """Search an index.

    Args:
        index: the index.
        query: what to search for.
        k: number of hits.
        mode: hybrid, dense or lexical.
        filter: which documents, such as ``lang=en and date>=2025``; default: all.
        group_by: a field, of which each value is one hit: its best document.
        syntax: read quotes, ``+``, ``-`` and ``field:`` in the query; else it is text.

    Raises:
        UsageError: filter or query cannot be read, no document has a field, or an argument is invalid.
    """
    asked = _asked(index, check_query(query), check_top_k(k), check_mode(mode), filter, group_by, syntax)
    text = Queries([asked.query.text], asked.filter)
    found = find(index, asked, text)
    hits = _hits(index, text, mode, found)
    return Result(asked=asked, hits=hits, numbers=found.numbers, text=text, notes=found.notes, allowed=found.allowed)


def hits_of(index: Index, query: str | Sequence[str], k: int, mode: Mode, **options: Any) -> Hits | list[Hits]:
    """The hits of a query, or of each of several, which are encoded together.

    Args:
        index: the index.
        query: one or several texts.
        k: number of hits.
        mode: hybrid, dense or lexical.
        options: ``filter``, ``group_by`` and ``syntax`` of ``search``.

    Raises:
        UsageError: as ``search``, or another option is given.
    """
    for name in options:
        if name not in OPTIONS:
            raise UsageError(f"search has no argument {name!r}.{suggest(name, OPTIONS)}")
    if isinstance(query, str):
        return search(index, query, k, mode, **options).hits
    if any(options.values()):
        return [search(index, one, k, mode, **options).hits for one in query]
    return index.search_many(query, k, mode)


def _hits(index: Index, text: Queries, mode: Mode, found: Found) -> Hits:
    best = np.array(found.numbers, np.int64), np.array(found.scores, np.float64)
    (hits,) = index.hits(text, [best], mode)
    return Hits(replace(hit, more=more) for hit, more in zip(hits, found.more, strict=True))


def field_counts(index: Index) -> dict[str, int]:
    """Names of the fields, with the number of documents that have each."""
    counts: Counter[str] = Counter()
    for columns in index.columns:
        counts.update(columns.names)
    return dict(counts)


def _asked(
    index: Index, text: str, k: int, mode: Mode, where: str | Filter | None, group_by: str | None, syntax: bool
) -> Asked:
    query = parse(text, field_counts(index)) if syntax else Query(text)
    given = Filter.parse(where) if isinstance(where, str) else where
    filters = [one for one in (given, query.filter) if one is not None]
    if group_by is not None:
        group_by = field_name(group_by, index.columns, "--group-by")
    return Asked(query=query, k=k, mode=mode, filter=Filter.every(filters), group_by=group_by)


def rank_many(
    index: Index,
    queries: Sequence[str],
    k: int,
    mode: Mode,
    *,
    filter: str | Filter | None = None,  # noqa: A002 - the name of the option
    group_by: str | None = None,
) -> Iterator[list[tuple[str, float]]]:
    """Rank documents for many queries, in batches; queries are text.

    Args:
        index: the index.
        queries: Q texts.
        k: documents for each.
        mode: hybrid, dense or lexical.
        filter: which documents; default: all.
        group_by: a field, of which each value is one hit; hits by ``parent`` have the parent's id.

    Yields:
        For each query ids and scores, best first.

    Raises:
        UsageError: the filter cannot be read, or no document has a field.
    """
    asked = _asked(index, "-", k, mode, filter, group_by, syntax=False)
    allowed = None if asked.filter is None else asked.filter.mask(index.columns)
    if allowed is not None and not allowed.any():
        yield from ([] for _ in queries)
        return
    group = None if asked.group_by is None else _groups(index.columns, asked.group_by)
    depth = k if group is None else max(k, GROUPED)
    for numbers, scores in index.rank(queries, depth, mode, allowed=allowed, where=asked.filter):
        found: dict[Hashable, tuple[str, float]] = {}
        for number, score in zip(numbers.tolist(), scores.tolist(), strict=True):
            key = number if group is None else group(number)
            if key not in found:
                document = index.numbered[number]
                name = document.parent if asked.group_by == "parent" and document.parent else document.id
                found[key] = (name, score)
            if len(found) == k:
                break
        yield list(found.values())


def find(index: Index, asked: Asked, text: Queries | None = None) -> Found:
    """Find the best documents.

    Args:
        index: the index.
        asked: what is asked for.
        text: its text alone, as a batch that keeps what is computed for it.
    """
    matching = None if asked.query.is_plain else Matching(asked.query, index.lexical)
    masks = [asked.filter.mask(index.columns) if asked.filter else None, matching.allowed() if matching else None]
    given = [mask for mask in masks if mask is not None]
    allowed: BoolArray | None = np.logical_and.reduce(given) if given else None
    if allowed is not None and not allowed.any():
        return Found(allowed=allowed)
    fits = matching.fits if matching is not None and matching.reads else None
    group = None if asked.group_by is None else _groups(index.columns, asked.group_by)
    return _walk(
        index, asked, Queries([asked.query.text], asked.filter) if text is None else text, allowed, fits, group
    )


def _walk(
    index: Index,
    asked: Asked,
    text: Queries,
    allowed: BoolArray | None,
    fits: Callable[[Document], bool] | None,
    group: Callable[[int], Hashable] | None,
) -> Found:
    """The first documents of the ranking that fit, one of each group; ranked deeper where they are too few."""
    checked: dict[int, bool] = {}
    depth = max(asked.k, GROUPED) if group else asked.k * _DEEPER if fits else asked.k
    while True:
        ((numbers, scores),) = index.rank(text, depth, asked.mode, allowed=allowed, where=asked.filter)
        found, places = Found(allowed=allowed), dict[Hashable, int]()
        for number, score in zip(numbers.tolist(), scores.tolist(), strict=True):
            if fits is not None:
                if number not in checked:
                    checked[number] = fits(index.numbered[number])
                if not checked[number]:
                    continue
            key = number if group is None else group(number)
            if key in places:
                found.more[places[key]] += 1
            elif len(found.numbers) < asked.k:
                places[key] = len(found.numbers)
                found.numbers.append(number)
                found.scores.append(score)
                found.more.append(0)
        if len(found.numbers) >= asked.k or len(numbers) < depth or (depth >= _READ and fits is not None):
            break
        depth *= _DEEPER
    if fits is not None and len(found.numbers) < asked.k and len(numbers) >= depth:
        found.notes.append(f"The phrase was looked for in the {depth:,} best documents that have its words.")
    return found


def _groups(parts: Sequence[Columns], name: str) -> Callable[[int], Hashable]:
    """The group of a document by its number: the values of a field; one without is a group of its own."""
    firsts = np.cumsum([0, *(columns.size for columns in parts)])

    def group(number: int) -> Hashable:
        part = int(np.searchsorted(firsts, number, side="right")) - 1
        return parts[part].values(name, number - int(firsts[part])) or number

    return group
