"""The best of several parts; where scores are equal, ids decide, of which few are read."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pretrieve.core.types import FloatArray, IntArray
from pretrieve.index.ranking import top_k


@dataclass(frozen=True, kw_only=True)
class Ties:
    """What decides between documents with equal scores.

    Attributes:
        ranks: for each part (R of the part,) the order of its ids; without them numbers decide within a part.
        ids: from documents' numbers over all parts to their ids, called for equal scores in different parts; without
            it numbers decide.
    """

    ranks: Sequence[IntArray] | None = None
    ids: Callable[[IntArray], Sequence[str]] | None = None

    def best(self, numbers: IntArray, scores: FloatArray, n: int, firsts: Sequence[int]) -> IntArray:
        """Places of the n best documents among some, by (score descending, id ascending).

        Args:
            numbers: ascending numbers of the documents.
            scores: their scores.
            n: how many.
            firsts: (parts + 1,) first number of each part.
        """
        edges = np.searchsorted(numbers, np.asarray(firsts, numbers.dtype)).tolist()
        found: list[IntArray] = []
        for part, (start, stop) in enumerate(itertools.pairwise(edges)):
            own = numbers[start:stop] - firsts[part]
            ranks = own if self.ranks is None else np.asarray(self.ranks[part][own])
            found.append(np.asarray(start + top_k(scores[start:stop], ranks, n)))
        if len(found) == 1:
            return found[0]
        places = np.concatenate([*found, np.zeros(0, np.int64)])
        order = np.argsort(-scores[places], kind="stable")
        return self._by_id(places[order], numbers, scores, n)[:n]

    def _by_id(self, places: IntArray, numbers: IntArray, scores: FloatArray, n: int) -> IntArray:
        """Order places of equal scores by id; only where the n best may depend on it."""
        if self.ids is None or not len(places):
            return places
        sorted_scores = scores[places]
        starts = np.flatnonzero(np.concatenate([[True], sorted_scores[1:] != sorted_scores[:-1]]))
        for start, stop in itertools.pairwise([*starts[starts < n].tolist(), _end(starts, n, len(places))]):
            if stop - start > 1:
                ids = self.ids(numbers[places[start:stop]])
                order = sorted(range(len(ids)), key=ids.__getitem__)
                places[start:stop] = places[start:stop][order]
        return places


def _end(starts: IntArray, n: int, size: int) -> int:
    """Where the group ends that holds the n-th place."""
    later = starts[starts >= n]
    return int(later[0]) if len(later) else size
