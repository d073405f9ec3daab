"""Facets: how often the best documents of a search have each value of a field, and the filter that keeps those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pretrieve.core.types import IntArray
from pretrieve.index.columns import OWN, Columns
from pretrieve.index.find import Asked, field_counts, find
from pretrieve.index.index import Index

DEPTH = 1_000  # best documents whose values are counted
_FIELDS = 8
_VALUES = 8
_LONGEST = 200  # characters of a value


@dataclass(frozen=True, kw_only=True)
class Value:
    """A value of a field.

    Attributes:
        text: as it is compared, without case.
        count: how many of the documents have it.
        filter: what keeps those, as part of a filter.
    """

    text: str
    count: int
    filter: str


@dataclass(frozen=True, kw_only=True)
class Facet:
    """A field.

    Attributes:
        name: of the field.
        values: the most frequent ones.
        more: how many different values are left out.
    """

    name: str
    values: Sequence[Value]
    more: int


@dataclass(frozen=True, kw_only=True)
class Facets:
    """The facets of a search.

    Attributes:
        documents: how many documents were counted.
        facets: by field.
        left_out: names of fields that are not shown: each value is rare, or there are too many fields.
    """

    documents: int
    facets: Sequence[Facet]
    left_out: Sequence[str]


def count(index: Index, asked: Asked) -> Facets:
    """Count the values of fields in the best documents of a search.

    Args:
        index: the index.
        asked: what is asked for; its depth and its groups do not matter.
    """
    names = [name for name in field_counts(index) if name not in OWN]
    if not names:
        return Facets(documents=0, facets=(), left_out=())
    found = np.array(find(index, replace(asked, k=DEPTH, group_by=None)).numbers, np.int64)
    facets, left_out = list[Facet](), list[str]()
    for name in names:
        counts = _values(index.columns, name, found)
        if not counts:
            continue
        if len(facets) == _FIELDS or (len(counts) > _VALUES and max(counts.values()) == 1):
            left_out.append(name)
            continue
        facets.append(_facet(name, counts))
    return Facets(documents=len(found), facets=facets, left_out=left_out)


def _facet(name: str, counts: Counter[bytes]) -> Facet:
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    texts = [(value.decode("utf-8", "replace"), number) for value, number in ordered]
    kept = [(text, number) for text, number in texts if 0 < len(text) <= _LONGEST][:_VALUES]
    values = [Value(text=text, count=number, filter=f"{quoted(name)}={quoted(text)}") for text, number in kept]
    return Facet(name=name, values=values, more=len(texts) - len(kept))


def _values(parts: Sequence[Columns], name: str, numbers: IntArray) -> Counter[bytes]:
    """How many of some documents have each value."""
    found: Counter[bytes] = Counter()
    first = 0
    for columns in parts:
        column, last = columns[name], first + columns.size
        if column is not None:
            own = numbers[(numbers >= first) & (numbers < last)] - first
            entries, counts = np.unique(column.of(own), return_counts=True)
            for entry, number in zip(entries.tolist(), counts.tolist(), strict=True):
                found[column.text(entry)] += number
        first = last
    return found


def quoted(text: str) -> str:
    """A name or a value as a filter has it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def toggled(given: str, part: str) -> str:
    """A filter with a part added at its end, or taken away where it stands at the start or the end.

    Args:
        given: the filter; empty: none.
        part: a comparison.
    """
    if given == part:
        return ""
    if given.endswith(f" and {part}"):
        return given.removesuffix(f" and {part}")
    if given.startswith(f"{part} and "):
        return given.removeprefix(f"{part} and ")
    if not given.strip():
        return part
    return f"{given} and {part}" if _only_and(given) else f"({given}) and {part}"


def has(given: str, part: str) -> bool:
    """Whether ``toggled`` takes a part away."""
    return len(toggled(given, part)) < len(given)


def _only_and(given: str) -> bool:
    """Whether a filter binds at least as closely as ``and``: no ``or`` is in it, not even in quotes."""
    return " or " not in f" {given.lower()} ".replace("\n", " ").replace("\t", " ").replace(")", " ").replace("(", " ")
