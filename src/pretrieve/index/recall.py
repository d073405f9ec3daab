"""What storing or searching vectors with less precision costs: recall@10 and scores against exact search in float32.

A hit counts where its exact score is among the best ten's: of documents that are equal, any will do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import FloatArray
from pretrieve.index.compressed import Vectors, blocks
from pretrieve.index.scoring import best_scores

DEPTH = 10  # hits that are compared
QUERIES = 512  # held-out queries at most
_NOISE = 0.5
EQUAL = 1e-6  # of the highest score: what counts as equal


@dataclass
class Top:
    """The ten best of Q queries among documents that come in batches, with a second score of each.

    Attributes:
        scores: (Q, 10) of the best.
        others: (Q, 10) the second scores of the same documents.
    """

    scores: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    others: FloatArray = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def add(self, scores: FloatArray, others: FloatArray) -> None:
        """Take up documents: (Q, B) scores."""
        if len(self.scores):
            scores, others = np.hstack([self.scores, scores]), np.hstack([self.others, others])
        if scores.shape[1] > DEPTH:
            chosen = np.argpartition(-scores, DEPTH - 1, axis=1)[:, :DEPTH]
            scores, others = (np.take_along_axis(values, chosen, axis=1) for values in (scores, others))
        self.scores, self.others = scores, others

    @property
    def least(self) -> FloatArray:
        """(Q,) the score from which on a document is among the best."""
        return np.asarray(self.scores.min(axis=1) - EQUAL * np.abs(self.scores).max(axis=1))


@dataclass
class Loss:
    """What a smaller dtype costs, measured while vectors are written.

    Attributes:
        queries: (Q, D).
    """

    queries: FloatArray
    _exact: Top = field(default_factory=Top)
    _stored: Top = field(default_factory=Top)

    def add(self, vectors: FloatArray, stored: FloatArray) -> None:
        """Take up documents: their vectors, and what is read of them once they are stored."""
        scores, others = best_scores(self.queries, vectors), best_scores(self.queries, stored)
        self._exact.add(scores, others)
        self._stored.add(others, scores)

    def facts(self) -> dict[str, Any]:
        """Recall@10, mean absolute difference of the scores of the best ten, and the number of queries."""
        recall = (self._stored.others >= self._exact.least[:, None]).mean()
        difference = np.abs(self._exact.scores - self._exact.others).mean()
        return {"recall": float(recall), "difference": float(difference), "queries": len(self.queries)}


def exact_border(queries: FloatArray, vectors: Vectors) -> FloatArray:
    """(Q,) the score from which on a document is among the best ten of each query, by exact search in blocks."""
    top = Top()
    for _, some in blocks(vectors):
        scores = best_scores(queries, some)
        top.add(scores, scores)
    return top.least


def noisy_queries(vectors: Vectors) -> FloatArray:
    """Vectors (Q, D) of documents with the difference of two others as noise, for when there are no texts."""
    size = min(QUERIES, len(vectors))
    drawn = generator(0, "recall/noise").integers(len(vectors), size=(3, size))
    own, first, second = (np.asarray(vectors[rows]).reshape(size, -1, vectors.shape[-1])[:, 0] for rows in drawn)
    noisy = own + _NOISE * (first - second)
    lengths = [np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (own, noisy)]
    return np.asarray(noisy * (lengths[0] / lengths[1]), np.float32)
