"""Fusion: a weighted sum of standardised scores, with weights chosen without labels.

Every voice (BM25 on words, BM25 on the model's word pieces, the model's vectors) scores all documents; scores are
standardised for each query, which needs no knowledge of their scales. Equal weights can more than halve the better side
where the other is poor, so the weight of the vectors is the one that serves pseudo-queries best, drawn back to the
default as far as their noise allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from pretrieve.core.types import FloatArray, IntArray
from pretrieve.index.pseudo import PseudoQueries

SHARES = (0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0)
DEFAULT_SHARE = 0.35


class Voice(Protocol):
    """What is fused: scores of all documents for queries."""

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Score every document for every query: (Q, R)."""
        ...

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> FloatArray:
        """Score text i for query i: (Q,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """Weights of the voices, and why.

    Attributes:
        dense: share of the vectors, 0 (words only) to 1 (vectors only).
        seen: mean nDCG@10 on pseudo-queries of each share that was tried, by ``str(share)``; empty if none were there.
        queries: number of pseudo-queries.
    """

    dense: float = DEFAULT_SHARE
    seen: Mapping[str, float] = field(default_factory=dict)
    queries: int = 0

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def standardise(scores: FloatArray) -> FloatArray:
    """Bring each query's scores (Q, R) to mean 0 and deviation 1; scores that are all equal become 0."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.mean(centred * centred, axis=1, keepdims=True))
    return np.asarray(np.divide(centred, deviation, out=np.zeros_like(centred), where=deviation > 1e-9))


def fuse(lexical: FloatArray, dense: FloatArray, share: float) -> FloatArray:
    """Fuse the scores of two voices, (Q, R) each: ``(1 - share) * words + share * vectors``, standardised."""
    return (1 - share) * standardise(lexical) + share * standardise(dense)


def choose(lexical: Voice, dense: Voice, sets: Sequence[PseudoQueries], block: int = 64) -> Fusion:
    """Choose the share of the vectors by what serves pseudo-queries best.

    The share nearest the default is taken whose mean nDCG@10 is within one standard error of the best.

    Args:
        lexical: words.
        dense: vectors.
        sets: pseudo-queries; each set counts the same.
        block: queries scored at once.
    """
    if not sets:
        return Fusion()
    gains = [_gains(lexical, dense, queries, block) for queries in sets]  # each (Q, shares)
    means = np.mean([gain.mean(axis=0) for gain in gains], axis=0)
    best = int(np.argmax(means))
    variances = [np.var(gain[:, [best]] - gain, axis=0) / len(gain) for gain in gains]
    errors = np.sqrt(np.sum(variances, axis=0)) / len(gains)
    good = [share for share, mean, error in zip(SHARES, means, errors, strict=True) if mean >= means[best] - error]
    return Fusion(
        dense=min(good, key=lambda share: abs(share - DEFAULT_SHARE)),
        seen={str(share): round(float(mean), 4) for share, mean in zip(SHARES, means, strict=True)},
        queries=sum(map(len, sets)),
    )


def pseudo_scores(voice: Voice, queries: PseudoQueries, part: slice) -> FloatArray:
    """Scores (Q, R) of a part of the queries, the documents that they were taken from being without them."""
    scores = voice.scores(queries.queries[part])
    pairs = voice.score_pairs(queries.queries[part], queries.remainders[part])
    scores[np.arange(len(scores)), queries.documents[part]] = pairs
    return scores


def gain_of_first(scores: FloatArray, documents: IntArray) -> FloatArray:
    """nDCG@10 (Q,) where one document is relevant: 1 / log2(1 + rank) to rank 10; a tie counts as lost."""
    own = scores[np.arange(len(scores)), documents][:, None]
    ranks = (scores >= own).sum(axis=1)
    return np.where(ranks <= 10, 1 / np.log2(1 + np.maximum(ranks, 1)), 0.0)


def _gains(lexical: Voice, dense: Voice, queries: PseudoQueries, block: int) -> FloatArray:
    gains = np.zeros((len(queries), len(SHARES)))
    for start in range(0, len(queries), block):
        part = slice(start, start + block)
        words = standardise(pseudo_scores(lexical, queries, part))
        vectors = standardise(pseudo_scores(dense, queries, part))
        for column, share in enumerate(SHARES):
            gains[part, column] = gain_of_first((1 - share) * words + share * vectors, queries.documents[part])
    return gains
