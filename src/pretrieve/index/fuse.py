"""Fusion: a weighted sum of standardised scores, with weights chosen without labels.

Both rankers (BM25, the model's vectors) score all documents; scores are standardised for each query, which
does not depend on their scales. Equal weights can more than halve the better score where the other is poor, so the
weight of the vectors is chosen on pseudo-queries. These favour a model trained on similar queries: its best weight is
halved, and bounded where BM25 finds anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from pretrieve.core.types import FloatArray, IntArray
from pretrieve.index.pseudo import PseudoQueries

WEIGHTS = (0.0625, 0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
OWN_WEIGHT = 0.5  # maximum for a static model trained on these documents; also without pseudo-queries
_BLIND = 0.05  # nDCG@10 below which pseudo-queries are ignored
# For any other model, unless pseudo-queries contradict it. Standardised BM25 has higher peaks than cosines, so equal
# weights favour BM25: they took a model from .525 to .454 on short texts where BM25 has .340 (docs/log.md).
FOREIGN_WEIGHT = 2.0
FOREIGN_SHORT_WEIGHT = 4.0  # the same, where documents are too short for pseudo-queries


class Ranker(Protocol):
    """A ranker to fuse: scores of all documents for queries."""

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Score every document for every query: (Q, R)."""
        ...

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> FloatArray:
        """Score text i for query i: (Q,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Weight of the vectors beside that of BM25, which is 1, and the reason.

    Attributes:
        dense: weight of the vectors, >= 0.
        reason: reason for the weight, as text.
        passages: weight of BM25's best passage, >= 0.
        third: weight of a third ranker, a static model beside a retrieval model, >= 0.
        seen: mean nDCG@10 on pseudo-queries of each tried weight, by ``str(weight)``.
        queries: number of pseudo-queries.
    """

    dense: float = OWN_WEIGHT
    reason: str = "the default: there were no pseudo-queries to choose it with"
    passages: float = 0.0
    third: float = 0.0
    seen: Mapping[str, float] = field(default_factory=dict)
    queries: int = 0

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @property
    def words(self) -> str:
        """The rankers with their weights: ``"BM25 1, vectors 0.4, best passage 0.3"``."""
        others = {"best passage": self.passages, "static model": self.third}
        return f"BM25 1, vectors {self.dense:g}" + "".join(
            f", {name} {weight:g}" for name, weight in others.items() if weight
        )


def standardise(scores: FloatArray) -> FloatArray:
    """Bring each query's scores (Q, R) to mean 0 and deviation 1; scores that are all equal become 0."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(centred * centred, axis=1, keepdims=True))
    return np.asarray(np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-9))


def fuse(lexical: FloatArray, dense: FloatArray, weight: float) -> FloatArray:
    """Fuse the scores of two rankers, (Q, R) each: ``lexical + weight * dense``, standardised."""
    return standardise(lexical) + np.float32(weight) * standardise(dense)


def choose(lexical: Ranker, dense: Ranker, sets: Sequence[PseudoQueries], *, own: bool, block: int = 64) -> Fusion:
    """Choose the weight of the vectors that is best on pseudo-queries.

    A model trained on these documents takes half the best weight, and at most ``OWN_WEIGHT`` unless vectors
    alone score more than twice as high as BM25 alone. Any other model takes the weight nearest ``FOREIGN_WEIGHT`` (in
    ratio) whose mean nDCG@10 is within one standard error of the best.

    Args:
        lexical: BM25.
        dense: the vectors.
        sets: pseudo-queries; each set counts the same.
        own: whether the model was, or may have been, trained on these documents.
        block: queries scored at once.
    """
    return weigh(sets, [_gains(lexical, dense, queries, block) for queries in sets], own=own)


def weigh(sets: Sequence[PseudoQueries], gains: Sequence[FloatArray], *, own: bool) -> Fusion:
    """Choose the weight of the vectors by what each weight gives; see ``choose``.

    Args:
        sets: pseudo-queries; each set counts the same.
        gains: of each set (Q, weights) nDCG@10.
        own: whether the model was, or may have been, trained on these documents.
    """
    if not sets:
        return Fusion(dense=OWN_WEIGHT if own else FOREIGN_WEIGHT)
    means = np.mean([gain.mean(axis=0) for gain in gains], axis=0)
    best = int(np.argmax(means))
    if means[best] < _BLIND:
        default = OWN_WEIGHT if own else FOREIGN_SHORT_WEIGHT
        return Fusion(dense=default, reason="the default: the documents' own queries cannot be answered by anything")
    if own:
        weight = WEIGHTS[best] / 2
        weight = weight if means[-1] > 2 * means[0] else min(OWN_WEIGHT, weight)
    else:
        good = means >= means[best] - _standard_errors(gains, best)
        weight = min(
            (weight for weight, fine in zip(WEIGHTS, good, strict=True) if fine),
            key=lambda weight: abs(np.log2(weight / FOREIGN_WEIGHT)),
        )
    count = sum(map(len, sets))
    return Fusion(
        dense=weight,
        reason=f"chosen on {count} pseudo-queries",
        seen={str(weight): round(float(mean), 4) for weight, mean in zip(WEIGHTS, means, strict=True)},
        queries=count,
    )


def _standard_errors(gains: Sequence[FloatArray], best: int) -> FloatArray:
    """Of the difference of each weight's mean from the best one's, (weights,)."""
    variances = [np.var(gain[:, [best]] - gain, axis=0) / len(gain) for gain in gains]
    return np.asarray(np.sqrt(np.sum(variances, axis=0)) / len(gains))


def pseudo_scores(ranker: Ranker, queries: PseudoQueries, part: slice) -> FloatArray:
    """Scores (Q, R) of a part of the queries; each query's own document is scored without the query."""
    scores = ranker.scores(queries.queries[part])
    pairs = ranker.score_pairs(queries.queries[part], queries.remainders[part])
    scores[np.arange(len(scores)), queries.documents[part]] = pairs
    return scores


def gain_of_first(scores: FloatArray, documents: IntArray) -> FloatArray:
    """nDCG@10 (Q,) where one document is relevant: 1 / log2(1 + rank) to rank 10; a tie counts as lost."""
    own = scores[np.arange(len(scores)), documents][:, None]
    return gain_at((scores >= own).sum(axis=1))


def gain_at(ranks: IntArray) -> FloatArray:
    """nDCG@10 where the one relevant document has these ranks."""
    return np.where(ranks <= 10, 1 / np.log2(1 + np.maximum(ranks, 1)), 0.0)


def _gains(lexical: Ranker, dense: Ranker, queries: PseudoQueries, block: int) -> FloatArray:
    gains = np.zeros((len(queries), len(WEIGHTS)))
    for start in range(0, len(queries), block):
        part = slice(start, start + block)
        lexical_scores = standardise(pseudo_scores(lexical, queries, part))
        dense_scores = standardise(pseudo_scores(dense, queries, part))
        for column, weight in enumerate(WEIGHTS):
            gains[part, column] = gain_of_first(
                lexical_scores + np.float32(weight) * dense_scores, queries.documents[part]
            )
    return gains
