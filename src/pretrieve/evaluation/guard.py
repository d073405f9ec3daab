"""The guard: does any of several candidates add significantly more to BM25 than the published retriever?

The fused probe measures what vectors add to BM25, with queries that favour either side: known items are close to the
training objective and favour candidates; the committee of BM25 and the start favours the start; whole documents as
queries of BM25 favour neither. The start is saved unless the largest gain over it, in standard errors, is
significant as the maximum over the candidates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.evaluation.choice import Above, Choice, above
from pretrieve.evaluation.fused_probe import LEXICAL, SENTENCE, TITLED, TOPICAL, WEIGHTS, FusedScores
from pretrieve.index.fuse import FOREIGN_WEIGHT

LEVEL = 0.05  # one side
_AT = (1.0, 2.0)  # weights at which systems are compared: about that of a retrieval model's vectors


@dataclass(frozen=True, kw_only=True)
class Guarded(Choice):
    """The chosen system: the start or a candidate.

    Attributes:
        described: description of each candidate.
    """

    at: tuple[float, ...] = _AT
    described: Mapping[str, str]

    @property
    def weight_reason(self) -> str:
        """The reason for the fusion weight."""
        return "the default of a retrieval model; an index looks at its own documents first"

    @property
    def sentence(self) -> str:
        """The saved system and its gain over the start, in a sentence."""
        best = surest(self.above)
        queries = sum(len(self.scores.bm25[kind]) for kind in _used(self.scores))
        seen = f"{self.above[best]} over the start beside BM25 on {queries} queries of held-out documents (nDCG@10)"
        if self.system == self.start:
            return f"training did not help significantly: {self.described[best]}, {seen}; saved: the start"
        return f"{self.described[best]}, {seen}; saved: {best}"

    def to_json(self) -> dict[str, Any]:
        """As plain values; with the gain of each candidate over the start."""
        over = {name: {"interpolation": self.described[name], **one.to_json()} for name, one in self.above.items()}
        return {**super().to_json(), "above_start": over}


def surest(above: Mapping[str, Above]) -> str:
    """Name of the candidate whose gain is largest in standard errors; the first one of equals."""
    return max(above, key=lambda name: above[name].errors)


def guard(scores: FusedScores, start: str, described: Mapping[str, str]) -> Guarded:
    """Choose the candidate with the largest gain in standard errors, if it is significant.

    Args:
        scores: scores of the start and all candidates, by a probe whose committee is BM25 and the start.
        start: name of the start.
        described: descriptions of the candidates, by name.
    """
    kinds = _used(scores)
    parts = {name: [_at(scores.fused[name][kind]) for kind in kinds] for name in (start, *described)}
    gains = {name: [own - first for own, first in zip(parts[name], parts[start], strict=True)] for name in described}
    over = above(gains)
    best = surest(over)
    bm25 = float(np.mean([scores.bm25[kind].mean() for kind in kinds]))
    return Guarded(
        system=best if over[best].gain > 0 and over[best].p < LEVEL else start,
        weight=FOREIGN_WEIGHT,
        ranking={name: float(np.mean([part.mean() for part in found])) - bm25 for name, found in parts.items()},
        scores=scores,
        start=start,
        above=over,
        described=described,
    )


def _used(scores: FusedScores) -> list[str]:
    """Kinds of queries that count: known items, with their title where titles repeat, and both kinds of topics."""
    known = TITLED if TITLED in scores.bm25 else SENTENCE
    return [kind for kind in (known, TOPICAL, LEXICAL) if kind in scores.bm25]


def _at(values: FloatArray) -> FloatArray:
    """Each query's nDCG@10 (Q,), the mean over the weights that systems are compared at."""
    return np.asarray(values[[WEIGHTS.index(weight) for weight in _AT]].mean(axis=0))
