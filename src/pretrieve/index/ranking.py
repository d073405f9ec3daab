"""The order of hits: by score, highest first, and by id where scores are equal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray


def id_ranks(ids: Sequence[str]) -> IntArray:
    """Return (R,) the place of each id in the sorted list of ids: what breaks ties."""
    ranks = np.empty(len(ids), np.int32)
    ranks[sorted(range(len(ids)), key=ids.__getitem__)] = np.arange(len(ids), dtype=np.int32)
    return ranks


def top_k(scores: FloatArray, ranks: IntArray, k: int, allowed: BoolArray | None = None) -> IntArray:
    """Return the documents of the k best scores, by (score descending, id ascending).

    Args:
        scores: (R,) of one query.
        ranks: (R,) places of the ids, from ``id_ranks``.
        k: how many; fewer come back where there are fewer.
        allowed: (R,) documents that may be returned; all without it.
    """
    candidates = np.arange(len(scores)) if allowed is None else np.flatnonzero(allowed)
    values = scores if allowed is None else scores[candidates]
    if k < len(values):
        threshold = np.partition(values, len(values) - k)[len(values) - k]
        kept = values >= threshold  # every document that ties with the last one, so that ids decide
        candidates, values = candidates[kept], values[kept]
    order = np.lexsort((ranks[candidates], -values))[:k]
    return candidates[order]
