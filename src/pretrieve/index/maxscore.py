"""The best documents of BM25, exactly, without scoring all of them (MaxScore: Turtle and Flood, IPM 1995).

Documents are looked at in windows. A term adds at most its bound; the terms with the smallest bounds (the frequent
ones, with the longest lists) cannot lift a document above the n-th best score by themselves once that is higher than
the sum of their bounds: from then on they are looked up for the documents that the other terms leave in the running.

What is compared here are sums of float32 in any order, which differ a little from the scores: all within ``slack`` of
the n-th best stay, and are scored exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.bm25 import Statistics, places

WINDOW = 1 << 16  # documents that are looked at together: what they need stays in the processor's cache
LARGE = 1 << 20  # the same, where few of them have any of the terms
_LEAST = float(np.finfo(np.float32).tiny)  # a score of a document that shares a term
_POSTINGS = 1 << 15  # postings of a window up to which it is enlarged


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


class _List(NamedTuple):
    """Postings of a term in a part, or in a window that begins with the document ``base``."""

    documents: IntArray
    counts: IntArray
    weight: np.float32  # idf, times how often the query has the term
    bound: float  # of what it adds to a score
    base: int = 0

    def cut(self, base: int, first: int, last: int) -> _List:
        return self._replace(documents=self.documents[first:last], counts=self.counts[first:last], base=base)


class Scanner:
    """Looks for the best of a part; its arrays, of the size of a window, are used again and again.

    Args:
        statistics: the collection.
    """

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics
        options = statistics.options
        self._short = np.float32(
            options.k1 * options.b / (statistics.mean_length or 1.0)
        )  # for each term of a document
        self._fixed = np.float32(options.k1 * (1 - options.b))
        size = min(LARGE, max(map(len, statistics.parts), default=0))
        self._sums = np.zeros(size, np.float32)  # zero between windows
        self._weights, self._counts, self._norms = (np.empty(size, np.float32) for _ in range(3))
        self._places = np.empty(size, np.intp)

    def scan(self, number: int, asked: Asked, allowed: Allowed, pool: Pool, firsts: tuple[int, int]) -> None:
        """Add to a pool what may be among the best of all parts.

        Args:
            number: of the part.
            asked: the query.
            allowed: documents of the part that may be found.
            pool: the best of the parts before.
            firsts: numbers of the part's first document, and of its first unit.
        """
        part, lists = self._statistics.parts[number], self._lists(number, asked)
        bounds = np.cumsum([found.bound for found in lists])  # by the lists up to each
        edges = _windows(len(part), sum(len(found.documents) for found in lists))
        cuts = [np.searchsorted(found.documents, edges).tolist() for found in lists]
        for window, (base, stop) in enumerate(itertools.pairwise(edges.tolist())):
            known = int(np.searchsorted(bounds, pool.floor))  # lists that lift no document above the floor
            if known == len(lists):
                return
            inside = [found.cut(base, *cut[window : window + 2]) for found, cut in zip(lists, cuts, strict=True)]
            units, values = self._window(inside, known, bounds, pool.floor, part.lengths[base:stop])
            if not len(units):
                continue
            units = units + base
            documents = allowed.documents(units)
            may = allowed(documents)
            if may is not None:
                documents, units, values = documents[may], units[may], values[may]
            pool.add(documents + firsts[0], units + firsts[1], values)

    def _lists(self, number: int, asked: Asked) -> list[_List]:
        """The lists of the terms, those with small bounds first."""
        part, lists = self._statistics.parts[number], []
        short, fixed = float(self._short), float(self._fixed)
        for term, idf, repeats in zip(asked.terms, asked.idf, asked.repeats, strict=True):
            for at in part.vocabulary.numbers([term]):
                documents, counts = part.list(term)
                saturated = 1 / (1 + fixed / float(part.largest[at]) + short * float(part.shortest[at]))
                weight = np.float32(idf * repeats)
                lists.append(_List(documents, counts, weight, float(weight) * saturated * (1 + asked.slack)))
        return sorted(lists, key=lambda one: one.bound)

    def _window(
        self, lists: Sequence[_List], known: int, bounds: FloatArray, floor: float, lengths: IntArray
    ) -> tuple[IntArray, FloatArray]:
        """Documents of a window that may reach the floor, and their sums.

        Args:
            lists: the terms' postings in the window.
            known: lists that lift no document above the floor.
            bounds: (lists,) sums of bounds.
            floor: scores below it are of no use.
            lengths: of the window's documents.
        """
        rest = float(bounds[known - 1]) if known else 0.0
        sparse = sum(len(found.documents) for found in lists[known:]) * 8 < len(lengths)
        norms = None if sparse else self._normed(lengths, self._norms[: len(lengths)])
        touched = [self._add(found, lengths, norms, copied=sparse) for found in lists[known:]]
        need = max(floor - rest, _LEAST)
        if sparse:
            near, values = self._take(touched, need)
        else:
            sums = self._sums[: len(lengths)]
            near = np.flatnonzero(sums >= need)
            values = sums[near]
            sums.fill(0)
        for number in reversed(range(known)):
            values += self._look_up(lists[number], near, lengths)
            rest = float(bounds[number - 1]) if number else 0.0
            kept = values >= floor - rest
            near, values = near[kept], values[kept]
        return near, values

    def _take(self, touched: Sequence[IntArray], need: float) -> tuple[IntArray, FloatArray]:
        """Documents among some whose sums reach what they need, ascending; all these sums become zero."""
        near: list[IntArray] = [np.zeros(0, np.intp)]
        values: list[FloatArray] = [np.zeros(0, np.float32)]
        for documents in touched:
            sums = self._sums.take(documents)
            kept = sums >= need
            near.append(documents[kept])
            values.append(sums[kept])
            self._sums[documents] = 0  # so that no later list brings the document again
        found = np.concatenate(near)
        order = np.argsort(found)
        return found[order], np.concatenate(values)[order]

    def _normed(self, lengths: IntArray, norms: FloatArray) -> FloatArray:
        """What saturates counts, for documents of some lengths."""
        norms[:] = lengths
        norms *= self._short
        norms += self._fixed
        return norms

    def _add(self, found: _List, lengths: IntArray, norms: FloatArray | None, *, copied: bool) -> IntArray:
        """Add the weights of a list to the sums of a window; returns its documents."""
        size = len(found.documents)
        places, weights, counts = self._places[:size], self._weights[:size], self._counts[:size]
        np.subtract(found.documents, np.int32(found.base), out=places)
        counts[:] = found.counts
        if norms is None:
            self._normed(lengths.take(places, mode="clip"), weights)
        else:
            norms.take(places, out=weights, mode="clip")
        weights += counts
        np.divide(counts, weights, out=weights)
        weights *= found.weight
        np.add.at(self._sums, places, weights)
        return places.copy() if copied else places

    def _look_up(self, found: _List, near: IntArray, lengths: IntArray) -> FloatArray:
        """Weights of a list for some documents of a window."""
        at, there = places(found.documents, (near + found.base).astype(np.int32))
        which = np.flatnonzero(there)
        counts = found.counts[at[which]].astype(np.float32)
        weights = np.zeros(len(near), np.float32)
        norms = self._normed(lengths[near[which]], np.empty(len(which), np.float32))
        weights[which] = found.weight * (counts / (counts + norms))
        return weights


def _windows(size: int, postings: int) -> IntArray:
    """Where windows begin, and the end, int32: large ones where there are few postings in each."""
    window = WINDOW
    while window < LARGE and postings * window < size * _POSTINGS:
        window *= 2
    return np.append(np.arange(0, size, window), size).astype(np.int32)


def masks(*given: Any) -> list[BoolArray]:
    """The masks that are there."""
    return [mask for mask in given if mask is not None]
