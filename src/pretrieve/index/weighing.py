"""The weight of the vectors in a large collection: chosen as ``fuse.choose`` does, on candidates.

Queries are ranked as they are searched (``candidates.py``), so that the time does not grow with the number of documents
as that of scoring all of them does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.index.candidates import CANDIDATES, Candidates, find_candidates
from pretrieve.index.fuse import WEIGHTS, Fusion, gain_at, weigh
from pretrieve.index.pseudo import PseudoQueries
from pretrieve.index.rankers import Order, Queries, Ranker


class PairRanker(Ranker, Protocol):
    """A ranker that scores texts which are not indexed, too."""

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> FloatArray:
        """Score text i for query i: (Q,)."""
        ...


def choose_on_candidates(
    lexical: PairRanker, dense: PairRanker, sets: Sequence[PseudoQueries], order: Order, *, own: bool, block: int
) -> Fusion:
    """Choose the weight of the vectors that is best on pseudo-queries, among the candidates of each.

    Args:
        lexical: BM25.
        dense: the vectors.
        sets: pseudo-queries; each set counts the same.
        order: decides between equal scores.
        own: whether the model was, or may have been, trained on these documents.
        block: queries scored at once.
    """
    return weigh(sets, [_gains((lexical, dense), queries, order, block) for queries in sets], own=own)


def _gains(rankers: Sequence[PairRanker], queries: PseudoQueries, order: Order, block: int) -> FloatArray:
    gains = np.zeros((len(queries), len(WEIGHTS)))
    pairs = np.array([ranker.score_pairs(queries.queries, queries.remainders) for ranker in rankers])
    start = 0
    for found in find_candidates(rankers, Queries(queries.queries), CANDIDATES, order, block=block):
        for place in range(len(found.queries)):
            number = start + place
            gains[number] = _gain(found, place, int(queries.documents[number]), pairs[:, number])
        start += len(found.queries)
    return gains


def _gain(found: Candidates, place: int, own: int, pair: FloatArray) -> FloatArray:
    """nDCG@10 (weights,) of a query's own document, which has the score of what is left of it."""
    others = found.numbers[place] != own
    scores = np.array([np.append(values[place][others], one) for values, one in zip(found.scores, pair, strict=True)])
    means, deviations = found.means[:, place, None], found.deviations[:, place, None]
    words, vectors = np.divide(scores - means, deviations, out=np.zeros_like(scores, float), where=deviations > 1e-9)
    sums = words + np.array(WEIGHTS)[:, None] * vectors
    return gain_at((sums >= sums[:, -1:]).sum(axis=1))
