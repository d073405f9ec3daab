"""How alike two rankings are, and where each document went."""

from __future__ import annotations

from collections.abc import Sequence

_P = 0.9  # of RBO: the first ten places have 86 % of the weight


def overlap(first: Sequence[str], second: Sequence[str], k: int = 10) -> float:
    """The share of the best k that two rankings have in common; of two empty ones 1."""
    size = min(k, max(len(first), len(second)))
    return len(set(first[:k]) & set(second[:k])) / size if size else 1.0


def rbo(first: Sequence[str], second: Sequence[str], p: float = _P) -> float:
    """Rank-biased overlap, extrapolated from the shorter ranking (Webber et al. 2010, equation 32); 1: equal.

    Args:
        first: ids, best first, each once.
        second: the same.
        p: how deep one looks.
    """
    depth = min(len(first), len(second))
    if not depth:
        return float(not first and not second)
    total, common = 0.0, 0
    for place in range(1, depth + 1):
        common = len(set(first[:place]) & set(second[:place]))
        total += common / place * p**place
    return total * (1 - p) / p + common / depth * p**depth


def change(rank: int, name: str, base: Sequence[str]) -> str:
    """Where a document came from: ``▲3``, ``▼2``, ``=`` or ``new``.

    Args:
        rank: its place, from 1.
        name: its id.
        base: ids of the ranking that it is compared with.
    """
    if name not in base:
        return "new"
    moved = base.index(name) + 1 - rank
    return "=" if not moved else f"{'▲' if moved > 0 else '▼'}{abs(moved)}"
