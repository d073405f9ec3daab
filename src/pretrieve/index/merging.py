"""Merges postings of consecutive documents by ranges of terms: each list is the lists of all sources end to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pretrieve.core.arrays import MappedArray, array_header
from pretrieve.core.files import Folder
from pretrieve.core.types import FloatArray, IntArray
from pretrieve.index.terms import SortedTerms

_POSTING = 64  # bytes that a posting takes while it is merged


class Sorted(Protocol):
    """What is merged: see ``postings.Postings``."""

    @property
    def vocabulary(self) -> SortedTerms:
        """The terms, T."""
        ...

    @property
    def starts(self) -> IntArray:
        """(T+1,) where each term's postings begin."""
        ...

    @property
    def listed(self) -> MappedArray:
        """Document of each posting."""
        ...

    @property
    def counted(self) -> MappedArray:
        """How often the document has the term."""
        ...

    @property
    def lengths(self) -> IntArray:
        """(R,) terms of each document."""
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """Postings to merge, some of their documents left out.

    Attributes:
        postings: the postings.
        lengths: (R',) of the documents that stay.
        places: (R,) new number of each document among those that stay, -1 where it goes; None where all stay.
        frequencies: (T,) documents of each term that stay.
        largest: largest count of a document that stays.
    """

    postings: Sorted
    lengths: IntArray
    places: IntArray | None
    frequencies: IntArray
    largest: int

    @staticmethod
    def of(postings: Sorted, kept: IntArray | None, memory: int) -> Source:
        """Look at the postings of the documents that stay.

        Args:
            postings: the postings.
            kept: ascending documents that stay; None for all.
            memory: bytes to work in.
        """
        lengths = np.asarray(postings.lengths)
        places = None
        if kept is not None:
            places = np.full(len(lengths), -1, np.int32)
            places[kept] = np.arange(len(kept), dtype=np.int32)
            lengths = lengths[kept]
        largest, frequencies = 0, np.diff(postings.starts)
        for first, last in pieces(0, len(postings.listed), memory):
            counts = postings.counted[first:last]
            if places is not None:
                gone = np.flatnonzero(places[postings.listed[first:last]] < 0)
                counts = np.delete(counts, gone)
                terms = np.searchsorted(postings.starts, gone + first, "right") - 1
                np.subtract.at(frequencies, terms, 1)
            largest = max(largest, int(counts.max(initial=0)))
        return Source(postings=postings, lengths=lengths, places=places, frequencies=frequencies, largest=largest)

    def between(self, first: int, last: int) -> tuple[IntArray, IntArray]:
        """Documents and counts of the postings ``first`` to ``last``, exclusive, that stay."""
        documents, counts = self.postings.listed[first:last], self.postings.counted[first:last]
        if self.places is None:
            return documents, counts
        moved = self.places[documents]
        stay = moved >= 0
        return moved[stay], counts[stay]


def merge(folder: Folder, prefix: str, sources: Sequence[Source], memory: int) -> None:
    """Write the postings of sources, in the order of their documents, as one.

    Args:
        folder: the artefact.
        prefix: of the arrays' names.
        sources: what is merged.
        memory: bytes to merge in.

    Raises:
        StorageError: writing to disk failed.
    """
    vocabulary, numbers, sums = _terms(sources)
    starts = np.concatenate([[0], np.cumsum(sums)]).astype(np.int64)
    lengths = np.concatenate([source.lengths for source in sources])
    largest, shortest = np.zeros(len(vocabulary), np.int32), np.full(len(vocabulary), np.inf)
    vocabulary.write(folder, prefix)
    folder.array(f"{prefix}/starts", starts)
    folder.array(f"{prefix}/lengths", lengths)
    folder.array(f"{prefix}/total", np.array([lengths.sum(dtype=np.int64)]))
    kind = np.dtype(np.min_scalar_type(max((source.largest for source in sources), default=0)))
    with folder.open(f"{prefix}/documents") as documents, folder.open(f"{prefix}/counts") as counts:
        documents.write(array_header(np.dtype(np.int32), (int(starts[-1]),)))
        counts.write(array_header(kind, (int(starts[-1]),)))
        for first, last, found, often in _merged(sources, numbers, starts, kind, memory):
            documents.write(found.data)
            counts.write(often.data)
            at = np.minimum(starts[first:last] - starts[first], len(found) - 1)
            ratios = np.minimum.reduceat(lengths[found] / often, at)
            np.minimum(shortest[first:last], ratios, out=shortest[first:last])
            np.maximum(largest[first:last], np.maximum.reduceat(often, at), out=largest[first:last])
    folder.array(f"{prefix}/largest", largest)
    folder.array(f"{prefix}/shortest", round_down(shortest))


def round_down(values: FloatArray) -> FloatArray:
    """As float32 that are not above the values, >= 0."""
    return np.maximum(np.nextafter(values.astype(np.float32), np.float32(-1)), np.float32(0))


def pieces(first: int, last: int, memory: int) -> Iterator[tuple[int, int]]:
    """Cut a range of postings into pieces that fit into memory."""
    size = max(1, memory // _POSTING)
    for start in range(first, last, size):
        yield start, min(start + size, last)


def _terms(sources: Sequence[Source]) -> tuple[SortedTerms, list[IntArray], IntArray]:
    """The terms that documents still have; each source's terms in it, -1 for those that are gone; and frequencies."""
    vocabulary, numbers = SortedTerms.union([source.postings.vocabulary for source in sources])
    sums = np.zeros(len(vocabulary), np.int64)
    for source, found in zip(sources, numbers, strict=True):
        sums[found] += source.frequencies
    if (stay := sums > 0).all():
        return vocabulary, numbers, sums
    moved = np.where(stay, np.cumsum(stay) - 1, np.cumsum(stay))  # a term that is gone has no postings wherever it is
    return vocabulary.take(stay), [moved[found] for found in numbers], sums[stay]


def _merged(
    sources: Sequence[Source], numbers: Sequence[IntArray], starts: IntArray, kind: np.dtype[Any], memory: int
) -> Iterator[tuple[int, int, IntArray, IntArray]]:
    """Ranges of terms (first, last exclusive) with their documents and counts; a long list comes in pieces."""
    befores = np.cumsum([0, *(len(source.lengths) for source in sources)])
    size, first = max(1, memory // _POSTING), 0
    while first < len(starts) - 1:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + size, "right")) - 1)
        edges = [np.searchsorted(found, (first, last)) for found in numbers]
        if last == first + 1:
            for source, edge, before in zip(sources, edges, befores.tolist(), strict=False):
                at = (int(source.postings.starts[edge[0]]), int(source.postings.starts[edge[1]]))
                for piece in pieces(*at, memory):
                    found, often = source.between(*piece)
                    if len(found):
                        yield first, last, (found + np.int32(before)).astype(np.int32), often.astype(kind)
        else:
            yield first, last, *_gather(sources, numbers, edges, starts[first : last + 1], first, kind)
        first = last


def _gather(
    sources: Sequence[Source],
    numbers: Sequence[IntArray],
    edges: Sequence[IntArray],
    starts: IntArray,
    first: int,
    kind: np.dtype[Any],
) -> tuple[IntArray, IntArray]:
    """The lists of a range of terms that begins with ``first``, whose lists start at ``starts``."""
    documents, counts = np.empty(int(starts[-1] - starts[0]), np.int32), np.empty(int(starts[-1] - starts[0]), kind)
    free = starts[:-1] - starts[0]  # where the next document of each term goes
    before = 0
    for source, found, (low, high) in zip(sources, numbers, edges, strict=True):
        own, sizes = found[low:high] - first, source.frequencies[low:high]
        mine, often = source.between(int(source.postings.starts[low]), int(source.postings.starts[high]))
        places = np.repeat(free[own] - (np.cumsum(sizes) - sizes), sizes) + np.arange(len(mine))
        documents[places] = mine + np.int32(before)
        counts[places] = often
        np.add.at(free, own, sizes)
        before += len(source.lengths)
    return documents, counts
