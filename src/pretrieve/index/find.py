"""One search with all that can be asked for: filters, the syntax of queries, groups.

The ranking is that of ``Index.rank`` among the documents that are allowed. Phrases are checked in the text of the
documents, and groups formed, from the best document on, deeper and deeper until enough are found.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pretrieve.core.types import BoolArray, Document, FloatArray, IntArray
from pretrieve.index.asked import Mode
from pretrieve.index.columns import Columns
from pretrieve.index.filters import Filter, field_name
from pretrieve.index.matching import Matching
from pretrieve.index.pseudo import Records
from pretrieve.index.query import Query, parse

GROUPED = 1_000  # best documents among which further ones of a group are counted
_READ = 10_000  # documents that a phrase is looked for in
_DEEPER = 4  # times as many documents are ranked where too few fit


class Searchable(Protocol):
    """What an index gives to a search."""

    @property
    def documents(self) -> Records:
        """The documents."""
        ...

    @property
    def columns(self) -> Sequence[Columns]:
        """The fields of the documents, for each part."""
        ...

    def matching(self, query: Query) -> Matching:
        """The documents with the words and phrases of a query."""
        ...

    def rank(
        self, queries: Sequence[str], k: int, mode: Mode = ..., *, allowed: BoolArray | None = ...
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """The best documents for queries, among those allowed."""
        ...


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
    """

    numbers: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    more: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def asked_for(
    index: Searchable, text: str, k: int, mode: Mode, *, where: str | Filter | None, group_by: str | None, syntax: bool
) -> Asked:
    """What is asked for, checked.

    Args:
        index: the index.
        text: the query.
        k: number of hits.
        mode: ranking.
        where: a filter.
        group_by: name of a field.
        syntax: whether the signs of queries count.

    Raises:
        UsageError: filter or query cannot be read, or no document has a field.
    """
    names = list(dict.fromkeys(name for columns in index.columns for name in columns.names)) if syntax else []
    query = parse(text, names) if syntax else Query(text)
    given = Filter.parse(where) if isinstance(where, str) else where
    if group_by is not None:
        group_by = field_name(group_by, index.columns, "--group-by")
    return Asked(
        query=query,
        k=k,
        mode=mode,
        filter=Filter.every([one for one in (given, query.filter) if one is not None]),
        group_by=group_by,
    )


def find(index: Searchable, asked: Asked) -> Found:
    """Find the best documents.

    Args:
        index: the index.
        asked: what is asked for.
    """
    matching = None if asked.query.is_plain else index.matching(asked.query)
    masks = [asked.filter.mask(index.columns) if asked.filter else None, matching.allowed() if matching else None]
    given = [mask for mask in masks if mask is not None]
    allowed = np.logical_and.reduce(given) if given else None
    if allowed is not None and not allowed.any():
        return Found()
    fits = matching.fits if matching is not None and matching.reads else None
    group = None if asked.group_by is None else _groups(index.columns, asked.group_by)
    return _walk(index, asked, allowed, fits, group)


def _walk(
    index: Searchable,
    asked: Asked,
    allowed: BoolArray | None,
    fits: Callable[[Document], bool] | None,
    group: Callable[[int], Hashable] | None,
) -> Found:
    """The first documents of the ranking that fit, one of each group; ranked deeper where they are too few."""
    checked: dict[int, bool] = {}
    depth = max(asked.k, GROUPED) if group else asked.k * _DEEPER if fits else asked.k
    while True:
        ((numbers, scores),) = index.rank([asked.query.text], depth, asked.mode, allowed=allowed)
        found, places = Found(), dict[Hashable, int]()
        for number, score in zip(numbers.tolist(), scores.tolist(), strict=True):
            if fits is not None:
                if number not in checked:
                    checked[number] = fits(index.documents[number])
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
