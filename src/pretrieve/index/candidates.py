"""Fusion on candidates: the best documents of each ranker, by the weighted sum of their standardised scores.

Candidates of a query are the best ``CANDIDATES`` of every ranker; each gets the exact score of every ranker, less the
ranker's mean over the collection, divided by its deviation. Means and deviations are known without scoring all
documents (``Ranker.moments``), so that a ranker may be approximate, pruned or remote.

Where more hits are wanted than ``CANDIDATES``, those among the best 2,000 of every ranker follow those among the best
1,000, and so on by doubling: the first hits do not depend on how many are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pretrieve.core.numbers import each_once
from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.rankers import ROUGH, Best, Order, Queries, Ranker, candidates, is_rough, rough_scores

CANDIDATES = 1000  # best documents of each ranker that are fused, at least


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The candidates of a block of Q queries, with their scores by each of several rankers.

    Attributes:
        rankers: the rankers.
        queries: the queries.
        numbers: Q arrays of the candidates' numbers.
        scores: of each ranker Q arrays, to rounding where the ranker is a ``RoughRanker``.
        means: (rankers, Q) of the scores of all documents.
        deviations: (rankers, Q) of the same.
        order: decides between equal scores.
        tiers: Q arrays: how often ``CANDIDATES`` was doubled until the candidate was among the best.
    """

    rankers: Sequence[Ranker]
    queries: Queries
    numbers: Sequence[IntArray]
    scores: Sequence[Sequence[FloatArray]]
    means: FloatArray
    deviations: FloatArray
    order: Order
    tiers: Sequence[IntArray]

    def best(self, weights: Sequence[float], k: int) -> Iterator[Best]:
        """Find the k best candidates of each query by the weighted sum of the standardised scores.

        Args:
            weights: of each ranker.
            k: documents of a query.

        Yields:
            For each query the numbers, best first, and their sums, float32.
        """
        scales = np.zeros_like(self.deviations)  # scores that are all equal count nothing
        np.divide(np.array(weights)[:, None], self.deviations, out=scales, where=self.deviations > 1e-9)
        rough = [is_rough(ranker) for ranker in self.rankers]
        places = [self._finalists(query, scales[:, query], rough, k) for query in range(len(self.queries))]
        finalists = [numbers[kept] for numbers, kept in zip(self.numbers, places, strict=True)]
        scores = [self._exact(ranker, finalists, places) for ranker in range(len(self.rankers))]
        for query, numbers in enumerate(finalists):
            sums = self._sum(query, scales[:, query], [values[query] for values in scores])
            chosen = self._ordered(numbers, sums, self.tiers[query][places[query]], k)
            yield numbers[chosen], sums[chosen]

    def _ordered(self, numbers: IntArray, sums: FloatArray, tiers: IntArray, k: int) -> IntArray:
        """Places of the k best, tier by tier."""
        found = np.zeros(0, np.int64)
        for tier in each_once(tiers).tolist():
            own = np.flatnonzero(tiers == tier)
            found = np.concatenate([found, own[self.order.best(numbers[own], sums[own], k - len(found))]])
        return found

    def _finalists(self, query: int, scales: FloatArray, rough: Sequence[bool], k: int) -> IntArray:
        """Places of the candidates that may be among the k best once their scores are exact."""
        scores = [values[query] for values in self.scores]
        if k >= len(scores[0]) or self.tiers[query].any():
            return np.arange(len(scores[0]))
        highest = [float(np.abs(values).max(initial=0)) if is_rough else 0.0
                   for values, is_rough in zip(scores, rough, strict=True)]  # fmt: skip
        sums = self._sum(query, scales, scores)
        threshold = np.partition(sums, len(sums) - k)[len(sums) - k]
        return np.flatnonzero(sums >= threshold - 2 * ROUGH * float(scales @ np.array(highest)))

    def _exact(self, number: int, finalists: Sequence[IntArray], places: Sequence[IntArray]) -> list[FloatArray]:
        ranker = self.rankers[number]
        if not is_rough(ranker):
            return [values[kept] for values, kept in zip(self.scores[number], places, strict=True)]
        return self.rankers[number].score_documents(self.queries, finalists)

    def _sum(self, query: int, scales: FloatArray, scores: Sequence[FloatArray]) -> FloatArray:
        total = np.zeros(len(scores[0]), np.float64)
        for mean, scale, values in zip(self.means[:, query], scales, scores, strict=True):
            total += (values.astype(np.float64) - mean) * scale
        return total.astype(np.float32)


def find_candidates(
    rankers: Sequence[Ranker], queries: Queries, n: int, order: Order, *, block: int, allowed: BoolArray | None = None
) -> Iterator[Candidates]:
    """Find the candidates of queries, in blocks.

    Args:
        rankers: the rankers.
        queries: Q texts.
        n: documents of each ranker; ``CANDIDATES`` where that is more.
        order: decides between equal scores.
        block: queries of a block.
        allowed: (R,) documents that may be returned; all without it.
    """
    moments = [ranker.moments(queries) for ranker in rankers]
    means, deviations = (np.array([found[axis] for found in moments], np.float64) for axis in (0, 1))
    start = 0
    for some in queries.blocks(block):
        here = slice(start, start + len(some))
        numbers, tiers = _tiered([_of_rankers(rankers, some, size, allowed) for size in _sizes(n)])
        yield Candidates(
            rankers=rankers,
            queries=some,
            numbers=numbers,
            scores=[rough_scores(ranker, some, numbers) for ranker in rankers],
            means=means[:, here],
            deviations=deviations[:, here],
            order=order,
            tiers=tiers,
        )
        start += len(some)


def _sizes(n: int) -> list[int]:
    sizes = [CANDIDATES]
    while sizes[-1] < n:
        sizes.append(2 * sizes[-1])
    return sizes


def _of_rankers(rankers: Sequence[Ranker], queries: Queries, n: int, allowed: BoolArray | None) -> list[IntArray]:
    """For each query the documents that are among the n best of any ranker, ascending."""
    found = [candidates(ranker, queries, n, allowed) for ranker in rankers]
    return [each_once(np.concatenate(of_query)) for of_query in zip(*found, strict=True)]


def _tiered(found: Sequence[Sequence[IntArray]]) -> tuple[list[IntArray], list[IntArray]]:
    """The candidates of each query, and the first of several growing sets that holds each."""
    numbers: list[IntArray] = []
    tiers: list[IntArray] = []
    for sets in zip(*found, strict=True):
        numbers.append(sets[-1])
        outside = [np.isin(sets[-1], one, assume_unique=True, invert=True) for one in sets[:-1]]
        tier = np.zeros(len(sets[-1]), np.int64)
        for one in outside:
            tier += one
        tiers.append(tier)
    return numbers, tiers
