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


def groups_of(ids: Sequence[str]) -> IntArray | None:
    """Return (R,) for each document the first one with its id; None where every id is one document's."""
    first: dict[str, int] = {}
    groups = np.array([first.setdefault(name, number) for number, name in enumerate(ids)], np.int64)
    return groups if len(first) < len(ids) else None


def top_groups(
    scores: FloatArray, ranks: IntArray, k: int, groups: IntArray, allowed: BoolArray | None = None
) -> IntArray:
    """Return the best document of each of the k best groups, in the order of ``top_k``.

    Args:
        scores: (R,) of one query.
        ranks: (R,) places of the ids.
        k: how many groups.
        groups: (R,) group of each document, from ``groups_of``.
        allowed: (R,) documents that may be returned; all without it.
    """
    depth = k
    while True:  # deeper until k groups are there, or no document is left
        found = top_k(scores, ranks, depth, allowed)
        best = np.sort(np.unique(groups[found], return_index=True)[1])
        if len(best) >= k or len(found) < depth:
            return found[best[:k]]
        depth *= 2


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
