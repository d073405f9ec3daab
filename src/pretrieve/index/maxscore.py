"""The best documents of BM25, exactly, without scoring all of them (MaxScore: Turtle and Flood, IPM 1995).

Documents are looked at in windows. A term adds at most its bound; the terms with the smallest bounds (the frequent
ones, with the longest lists) cannot lift a document above the n-th best score by themselves once that is higher than
the sum of their bounds: from then on they are looked up for the documents that the other terms leave in the running.

What is compared here are sums of float32 in any order, which differ a little from the scores: all within ``slack`` of
the n-th best stay, and are scored exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.bm25 import Statistics, places

WINDOW = 1 << 16  # documents that are looked at together: what they need stays in the processor's cache


class Asked(NamedTuple):
    """A query.

    Attributes:
        terms: its different terms that documents have.
        order: (terms of the query,) number of each in ``terms``.
        idf: (terms,) float32.
    """

    terms: list[str]
    order: list[int]
    idf: FloatArray

    @staticmethod
    def of(terms: Sequence[str], statistics: Statistics) -> Asked:
        """Look up the terms of a query, in order and with repetitions."""
        known = [term for term in dict.fromkeys(terms) if statistics.frequency(term)]
        number = {term: at for at, term in enumerate(known)}
        return Asked(known, [number[term] for term in terms if term in number], statistics.idf(known))

    @property
    def repeats(self) -> FloatArray:
        """How often the query has each of its terms."""
        return np.bincount(self.order, minlength=len(self.terms)).astype(np.float64)

    @property
    def slack(self) -> float:
        """Relative error of a sum of float32 weights."""
        return 4e-6 + 2.5e-7 * len(self.order)


class Allowed(NamedTuple):
    """Which documents of a part may be found, by up to two masks; ``starts`` where what is scored are passages."""

    masks: list[BoolArray]
    starts: IntArray | None

    def documents(self, units: IntArray) -> IntArray:
        """Documents that passages are of; of documents they themselves."""
        return units if self.starts is None else np.searchsorted(self.starts, units, "right") - 1

    def __call__(self, documents: IntArray) -> BoolArray | None:
        """Which of some documents may be found; None for all."""
        found = None
        for mask in self.masks:
            found = mask[documents] if found is None else found & mask[documents]
        return found


class Pool:
    """The best documents so far, with the passages that may be their best.

    Args:
        n: how many documents are wanted.
        slack: relative error of a score.
        grouped: several units may be of one document.
    """

    def __init__(self, n: int, slack: float, *, grouped: bool) -> None:
        self._n, self._keep, self._grouped = n, 1 - 4 * slack, grouped
        self.documents: IntArray = np.zeros(0, np.int64)
        self.units: IntArray = np.zeros(0, np.int64)
        self._values: FloatArray = np.zeros(0, np.float32)
        self.floor = 0.0  # a unit below it is of no use

    def add(self, documents: IntArray, units: IntArray, values: FloatArray) -> None:
        """Add units, after all that were added before."""
        self.documents = np.concatenate([self.documents, documents])
        self.units = np.concatenate([self.units, units])
        self._values = np.concatenate([self._values, values])
        best = self._values
        if self._grouped and len(best):
            new = np.flatnonzero(np.concatenate([[True], self.documents[1:] != self.documents[:-1]]))
            best = np.maximum.reduceat(best, new)
        if len(best) > self._n:
            self.floor = float(np.partition(best, len(best) - self._n)[len(best) - self._n]) * self._keep
            kept = self._values >= self.floor
            self.documents, self.units, self._values = self.documents[kept], self.units[kept], self._values[kept]


@dataclass
class _List:
    """Postings of a term in a part."""

    documents: IntArray
    counts: IntArray
    weight: np.float32  # idf, times how often the query has the term
    bound: float  # of what it adds to a score
    cuts: list[int]  # where windows begin in it

    def in_window(self, number: int) -> slice:
        return slice(self.cuts[number], self.cuts[number + 1])


class Scanner:
    """Looks for the best of a part; its arrays, of the size of a window, are used again and again.

    Args:
        statistics: the collection.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        size = min(WINDOW, max(map(len, statistics.parts), default=0))
        self._sums, self._norms, self._weights, self._counts = (np.zeros(size, np.float32) for _ in range(4))
        self._places = np.zeros(size, np.intp)

    def scan(self, number: int, asked: Asked, allowed: Allowed, pool: Pool, firsts: tuple[int, int]) -> None:
        """Add to a pool what may be among the best of all parts.

        Args:
            number: of the part.
            asked: the query.
            allowed: documents of the part that may be found.
            pool: the best of the parts before.
            firsts: numbers of the part's first document, and of its first unit.
        """
        part = self._statistics.parts[number]
        edges = np.arange(0, len(part) + WINDOW, WINDOW)
        lists = self._lists(number, asked, edges)
        bounds = np.cumsum([found.bound for found in lists])  # by the lists up to each
        for window in range(len(edges) - 1 if lists else 0):
            base, stop = int(edges[window]), min(int(edges[window + 1]), len(part))
            known = int(np.searchsorted(bounds, pool.floor))  # lists that lift no document above the floor
            if known == len(lists):
                return
            if not any(found.cuts[window] < found.cuts[window + 1] for found in lists[known:]):
                continue
            self._weigh(part.lengths[base:stop])
            units, values = self._window(lists, known, window, base, bounds, pool.floor)
            documents = allowed.documents(units)
            may = allowed(documents)
            if may is not None:
                documents, units, values = documents[may], units[may], values[may]
            if len(units):
                pool.add(documents + firsts[0], units + firsts[1], values)

    def _lists(self, number: int, asked: Asked, edges: IntArray) -> list[_List]:
        """The lists of the terms, those with small bounds first."""
        part, found = self._statistics.parts[number], []
        ends = np.minimum(edges, len(part)).astype(np.int32)
        for term, idf, repeats in zip(asked.terms, asked.idf, asked.repeats, strict=True):
            at = part.vocabulary.numbers([term])
            if not at:
                continue
            documents, counts = part.list(term)
            short, fixed = self._factors
            largest = 1 / (1 + fixed / float(part.largest[at[0]]) + short * float(part.shortest[at[0]]))
            weight = np.float32(idf * repeats)
            cuts = np.searchsorted(documents, ends).tolist()
            found.append(_List(documents, counts, weight, float(weight) * largest * (1 + asked.slack), cuts))
        return sorted(found, key=lambda one: one.bound)

    @property
    def _factors(self) -> tuple[float, float]:
        """What is added to a count for each term of a document, and for the document."""
        options = self._statistics.options
        return options.k1 * options.b / (self._statistics.mean_length or 1.0), options.k1 * (1 - options.b)

    def _weigh(self, lengths: IntArray) -> None:
        """Prepare what saturates counts, for documents of a window."""
        norms = self._norms[: len(lengths)]
        norms[:] = lengths
        short, fixed = self._factors
        norms *= np.float32(short)
        norms += np.float32(fixed)

    def _window(
        self, lists: Sequence[_List], known: int, window: int, base: int, bounds: FloatArray, floor: float
    ) -> tuple[IntArray, FloatArray]:
        """Documents of a window that may reach the floor, and their sums."""
        self._sums.fill(0)
        for found in lists[known:]:
            self._add(found, found.in_window(window), base)
        rest = float(bounds[known - 1]) if known else 0.0
        near = np.flatnonzero(self._sums >= floor - rest if floor > rest else self._sums > 0)
        values = self._sums[near]
        for number in reversed(range(known)):
            found, where = lists[number], lists[number].in_window(window)
            if where.stop - where.start < 8 * len(near):
                self._add(found, where, base)
                values = self._sums[near]
            else:
                values += self._look_up(found, where, near, base)
                self._sums[near] = values
            rest = float(bounds[number - 1]) if number else 0.0
            kept = values >= floor - rest
            near, values = near[kept], values[kept]
        return near + base, values

    def _add(self, found: _List, where: slice, base: int) -> None:
        """Add the weights of a list to the sums of a window."""
        size = where.stop - where.start
        places, weights, counts = self._places[:size], self._weights[:size], self._counts[:size]
        np.subtract(found.documents[where], np.int32(base), out=places)
        counts[:] = found.counts[where]
        self._norms.take(places, out=weights, mode="clip")
        weights += counts
        np.divide(counts, weights, out=weights)
        weights *= found.weight
        np.add.at(self._sums, places, weights)

    def _look_up(self, found: _List, where: slice, near: IntArray, base: int) -> FloatArray:
        """Weights of a list for some documents of a window."""
        at, there = places(found.documents[where], (near + base).astype(np.int32))
        counts = found.counts[where][at].astype(np.float32) if len(there) else np.zeros(0, np.float32)
        return np.where(there, found.weight * (counts / (counts + self._norms[near])), np.float32(0))


def masks(*given: Any) -> list[BoolArray]:
    """The masks that are there."""
    return [mask for mask in given if mask is not None]
