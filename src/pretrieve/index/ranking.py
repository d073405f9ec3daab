"""The order of hits: by score, highest first, and by id where scores are equal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.rankers import Best, Queries


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


def best_groups(
    rank: Callable[[Queries, int], Iterable[Best]], queries: Queries, k: int, groups: IntArray
) -> Iterator[Best]:
    """Find the best document of each of the k best groups for each query, in the order of the ranking.

    Args:
        rank: ranks documents for queries to a depth.
        queries: the queries.
        k: how many groups.
        groups: (R,) group of each document, from ``groups_of``.
    """
    for found, query in zip(rank(queries, k), queries, strict=True):
        depth, one = k, found
        while True:  # deeper until k groups are there, or no document is left
            numbers, scores = one
            best = np.sort(np.unique(groups[numbers], return_index=True)[1])[:k]
            if len(best) >= k or len(numbers) < depth:
                yield numbers[best], scores[best]
                break
            depth *= 2
            (one,) = rank(Queries([query]), depth)


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
