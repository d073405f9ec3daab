"""Scores of documents by BM25, of whole ones or by their best passage: all of them, some, or the best."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray, Rows
from pretrieve.index.bm25 import BM25, Statistics, places
from pretrieve.index.maxscore import Allowed, Asked, Pool, Scanner, masks
from pretrieve.index.postings import Postings
from pretrieve.index.ties import Ties

_MANY = 8  # queries for which all weights are computed at once
_WHOLE = 1 << 23  # postings of a part up to which that is done
_PIECE = 1 << 18  # postings whose moments are computed at once
_REMEMBERED = 1 << 16  # terms whose sums are kept
_ONE = 2.0**32  # moments are summed as integers, so that they do not depend on the order


class Scorer:
    """BM25 over the units of documents: themselves, or their passages, of which the best counts.

    Args:
        parts: postings of the units.
        alive: for each part (R of the part,) which documents are not deleted; None for all.
        options: k1 and b.
        starts: for each part (R of the part,) first unit of each document, int32; None where documents are the units.
        ties: what decides between equal scores.
    """

    def __init__(
        self,
        parts: Sequence[Postings],
        alive: Sequence[BoolArray | None],
        options: BM25,
        starts: Sequence[IntArray] | None,
        ties: Ties,
    ) -> None:
        self.alive, self.starts, self._ties = alive, starts, ties
        sizes = [len(part) for part in (parts if starts is None else starts)]
        self.firsts: list[int] = np.cumsum([0, *sizes]).tolist()
        units = alive if starts is None else [*map(_spread, alive, starts, map(len, parts))]
        self.statistics = Statistics(parts, units, options)
        self._known_sums: dict[str, tuple[int, int]] = {}

    @property
    def size(self) -> int:
        """All documents, R; deleted ones count."""
        return self.firsts[-1]

    @cached_property
    def living(self) -> int:
        """Documents that are not deleted."""
        gone = (0 if which is None else len(which) - int(np.count_nonzero(which)) for which in self.alive)
        return self.size - sum(gone)

    def scores(self, queries: Sequence[Sequence[str]]) -> FloatArray:
        """Scores of all documents for queries, (Q, R) float32; 0 without a shared term, and for deleted documents."""
        found = np.zeros((len(queries), self.size), np.float32)
        many = len(queries) >= _MANY
        for row, query in zip(found, queries, strict=True):
            asked = Asked.of(query, self.statistics)
            for number, (first, stop) in enumerate(itertools.pairwise(self.firsts)):
                self._add_all(number, asked, row[first:stop], many=many)
        return found

    def _add_all(self, number: int, asked: Asked, row: FloatArray, *, many: bool) -> None:
        units = row if self.starts is None else np.zeros(len(self.statistics.parts[number]), np.float32)
        lists = [self._weights(number, term, idf, many=many) for term, idf in zip(asked.terms, asked.idf, strict=True)]
        for at in asked.order:
            documents, weights = lists[at]
            np.add.at(units, documents, weights)
        if self.starts is not None and len(row):
            np.maximum.reduceat(units, self.starts[number], out=row)
        if (alive := self.alive[number]) is not None:
            row[~alive] = 0

    def _weights(self, number: int, term: str, idf: np.float32, *, many: bool) -> tuple[IntArray, FloatArray]:
        part = self.statistics.parts[number]
        if not many or len(part.listed) > _WHOLE:
            return self.statistics.weights(number, term, idf)
        documents, _ = part.list(term)
        if not len(documents):
            return documents, np.zeros(0, np.float32)
        start = int(part.starts[part.vocabulary.numbers([term])[0]])
        return documents, (idf * self._saturated[number][start : start + len(documents)]).astype(np.float32)

    @cached_property
    def _saturated(self) -> list[FloatArray]:
        """What every posting of the small parts is worth, float64."""
        return [
            self.statistics.saturate(part.counts, part.lengths[part.documents])
            if len(part.listed) <= _WHOLE
            else np.zeros(0)
            for part in self.statistics.parts
        ]

    def score_documents(self, queries: Sequence[Sequence[str]], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """Exact scores of some documents for each query, float32.

        Args:
            queries: terms of each.
            numbers: (n,) documents of each, in any order.
        """
        return [self._score(query, found) for query, found in zip(queries, numbers, strict=True)]

    def _score(self, query: Sequence[str], numbers: IntArray) -> FloatArray:
        asked = Asked.of(query, self.statistics)
        order = np.argsort(numbers, kind="stable")
        ascending = np.asarray(numbers, np.int64)[order]
        found = np.zeros(len(numbers), np.float32)
        edges = np.searchsorted(ascending, self.firsts).tolist()
        for part, (start, stop) in enumerate(itertools.pairwise(edges)):
            own = (ascending[start:stop] - self.firsts[part]).astype(np.int32)
            units, groups = self._units(part, own)
            values = self._exact(part, asked, units)
            found[order[start:stop]] = values if groups is None or not len(own) else np.maximum.reduceat(values, groups)
        return found

    def _units(self, number: int, documents: IntArray) -> tuple[IntArray, IntArray | None]:
        """Units of documents of a part, int32, and where each document's begin among them."""
        if self.starts is None:
            return documents, None
        return units_of(self.starts[number], len(self.statistics.parts[number]), documents)

    def _exact(self, number: int, asked: Asked, units: IntArray) -> FloatArray:
        """Scores of ascending units (int32) of a part."""
        part, lists = self.statistics.parts[number], list[tuple[IntArray, FloatArray]]()
        for term, idf in zip(asked.terms, asked.idf, strict=True):
            documents, counts = part.list(term)
            at, there = places(documents, units)
            which = np.flatnonzero(there)
            saturated = self.statistics.saturate(counts[at[which]], part.lengths[units[which]])
            lists.append((which, (idf * saturated).astype(np.float32)))
        found = np.zeros(len(units), np.float32)
        for one in asked.order:
            own, weights = lists[one]
            found[own] += weights
        return found

    def top(
        self, queries: Sequence[Sequence[str]], n: int, allowed: BoolArray | None
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """The n best living documents that share a term with each query: numbers and scores, best first.

        Args:
            queries: terms of each.
            n: how many; fewer come where fewer share a term.
            allowed: (R,) documents that may be found; None for all.
        """
        scanner = Scanner(self.statistics)
        may = [
            Allowed(masks(self.alive[part], None if allowed is None else allowed[first:stop]), self._starts_of(part))
            for part, (first, stop) in enumerate(itertools.pairwise(self.firsts))
        ]
        for query in queries:
            asked = Asked.of(query, self.statistics)
            pool = Pool(n, asked.slack, grouped=self.starts is not None)
            for part, which in enumerate(may):
                scanner.scan(part, asked, which, pool, (self.firsts[part], self.statistics.firsts[part]))
            numbers, scores = self._settle(asked, pool)
            best = self._ties.best(numbers, scores, n, self.firsts)
            yield numbers[best], scores[best]

    def _starts_of(self, part: int) -> IntArray | None:
        return None if self.starts is None else self.starts[part]

    def _settle(self, asked: Asked, pool: Pool) -> tuple[IntArray, FloatArray]:
        """Exact scores of the documents of a pool."""
        edges = np.searchsorted(pool.units, self.statistics.firsts).tolist()
        scores = [
            self._exact(part, asked, (pool.units[start:stop] - self.statistics.firsts[part]).astype(np.int32))
            for part, (start, stop) in enumerate(itertools.pairwise(edges))
        ]
        values = np.concatenate([*scores, np.zeros(0, np.float32)])
        if self.starts is None or not len(values):
            return pool.documents, values
        new = np.flatnonzero(np.concatenate([[True], pool.documents[1:] != pool.documents[:-1]]))
        return pool.documents[new], np.maximum.reduceat(values, new)

    def score_pairs(self, queries: Sequence[Sequence[str]], rows: Rows, terms: Sequence[str]) -> FloatArray:
        """Score row i for query i with the collection's statistics, as if it were one of its units.

        Args:
            queries: terms of each.
            rows: as many rows of term ids.
            terms: terms by id.

        Returns:
            (Q,) float32.
        """
        wanted = dict.fromkeys(itertools.chain.from_iterable(queries))
        known = {term: at for at, term in enumerate(term for term in wanted if self.statistics.frequency(term))}
        numbers = np.array([known.get(term, -1) for term in terms], np.int64)[rows.tokens]  # others count for length
        weights, lengths = self.statistics.idf([*known]), rows.lengths
        scores, stop = np.zeros(len(queries), np.float32), 0
        for query, same in itertools.groupby(queries):
            start, stop = stop, stop + len([*same])
            key = np.array([known[term] for term in query if term in known], np.int64)
            own = numbers[rows.offsets[start] : rows.offsets[stop]]
            row = np.repeat(np.arange(stop - start), lengths[start:stop])
            counts = [np.bincount(row[own == term], minlength=stop - start) for term in key]
            if counts:
                worth = self.statistics.saturate(np.stack(counts, 1), lengths[start:stop, None])
                scores[start:stop] = (weights[key] * worth).sum(1)
        return scores

    def score_texts(
        self, query: Sequence[str], count: Callable[[Sequence[str]], tuple[IntArray, IntArray]]
    ) -> FloatArray:
        """Score texts for one query, as ``score_pairs`` does.

        Args:
            query: its terms.
            count: from T terms to how often each of R texts has them, (R, T), and the numbers of all their terms (R,).

        Returns:
            (R,) float32.
        """
        known = {
            term: at for at, term in enumerate(term for term in dict.fromkeys(query) if self.statistics.frequency(term))
        }
        counts, lengths = count([*known])
        key = np.array([known[term] for term in query if term in known], np.int64)
        if not len(key):
            return np.zeros(len(counts), np.float32)
        worth = self.statistics.saturate(np.ascontiguousarray(counts[:, key]), lengths[:, None])
        return np.asarray((self.statistics.idf([*known])[key] * worth).sum(1), np.float32)

    def moments(self, queries: Sequence[Sequence[str]]) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation (Q,) of the scores of all living documents, terms taken as independent."""
        found = np.array([self._moments_of(query) for query in queries]).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def _moments_of(self, query: Sequence[str]) -> tuple[float, float]:
        asked, size = Asked.of(query, self.statistics), max(1, self.living)
        mean = variance = 0.0
        for term, idf, repeats in zip(asked.terms, asked.idf.tolist(), asked.repeats.tolist(), strict=True):
            first, second = (total / _ONE / size for total in self._sums(term))
            mean += repeats * idf * first
            variance += (repeats * idf) ** 2 * (second - first**2)
        return mean, float(np.sqrt(max(0.0, variance)))

    def _sums(self, term: str) -> tuple[int, int]:
        """Sum, and sum of squares, of what a term's counts are worth in the living documents, in units of 2^-32."""
        found = self._known_sums.get(term)
        if found is None:
            if len(self._known_sums) >= _REMEMBERED:
                self._known_sums.clear()
            sums = [self._part_sums(part, term) for part in range(len(self.firsts) - 1)]
            found = self._known_sums[term] = sum(first for first, _ in sums), sum(second for _, second in sums)
        return found

    def _part_sums(self, number: int, term: str) -> tuple[int, int]:
        part, alive = self.statistics.parts[number], self.statistics.alive[number]
        documents, counts = part.list(term)
        edges = np.arange(0, len(documents), _PIECE)
        if self.starts is not None:  # passages of a document stay together
            owners = np.searchsorted(self.starts[number], documents[edges], "right") - 1
            edges = np.unique(np.searchsorted(documents, self.starts[number][owners]))
        first = second = 0
        for start, stop in itertools.pairwise([*edges.tolist(), len(documents)]):
            found, often = documents[start:stop], counts[start:stop]
            if alive is not None:
                living = alive[found]
                found, often = found[living], often[living]
            worth = self._best_worth(number, found, self.statistics.saturate(often, part.lengths[found]))
            first += int(np.rint(worth * _ONE).astype(np.int64).sum())
            second += int(np.rint(worth * worth * _ONE).astype(np.int64).sum())
        return first, second

    def _best_worth(self, number: int, units: IntArray, worth: FloatArray) -> FloatArray:
        """The greatest value of each document, of values of its units."""
        if self.starts is None or not len(units):
            return worth
        owners = np.searchsorted(self.starts[number], units, "right")
        return np.maximum.reduceat(worth, np.flatnonzero(np.concatenate([[True], owners[1:] != owners[:-1]])))


def units_of(starts: IntArray, size: int, documents: IntArray) -> tuple[IntArray, IntArray]:
    """Units of some documents, int32, and where each document's begin among them.

    Args:
        starts: (R,) first unit of each document.
        size: number of all units.
        documents: some of the documents.
    """
    first = starts[documents].astype(np.int64)
    last = starts[np.minimum(documents + 1, len(starts) - 1)]
    sizes = np.where(documents + 1 < len(starts), last, size) - first
    before = np.cumsum(sizes) - sizes
    return (np.repeat(first - before, sizes) + np.arange(int(sizes.sum()))).astype(np.int32), before


def _spread(alive: BoolArray | None, starts: IntArray, units: int) -> BoolArray | None:
    """Which units are of living documents."""
    return None if alive is None else np.repeat(alive, np.diff(np.append(starts, units)))
