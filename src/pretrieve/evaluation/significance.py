"""Whether a difference between two systems is significant: paired permutation tests, corrected by Holm.

Fisher's randomisation test on the mean difference over queries (Smucker et al., *A comparison of statistical
significance tests for information retrieval evaluation*, CIKM 2007); Holm, *A simple sequentially rejective multiple
test procedure*, 1979; percentile bootstrap (Efron & Tibshirani, 1993); the largest of several differences against its
own distribution (Westfall & Young, *Resampling-based multiple testing*, 1993).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import FloatArray

_EXACT = 16  # differing queries up to which every sign is tried
_BLOCK = 1 << 22  # maximum number of signs or draws in memory


def paired_permutation(a: FloatArray, b: FloatArray, resamples: int = 9999, seed: int = 0) -> float:
    """Return the two-sided p-value of the mean of ``a - b`` under random exchange of the two within queries.

    All exchanges are tried where at most 16 queries differ; else ``resamples`` are drawn and p is
    (1 + those at least as extreme) / (1 + resamples), which is never 0.

    Args:
        a: (Q,) of one system.
        b: (Q,) of the other, the same queries.
        resamples: random exchanges.
        seed: the draws' seed.
    """
    difference = (a - b)[a != b]
    size = len(difference)
    if not size:
        return 1.0
    observed = abs(difference.sum()) * (1 - 1e-12)  # equal sums in another order differ by rounding
    if size <= _EXACT:
        bits = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ difference) >= observed))
    rng = generator(seed, "permutation")
    extreme, block = 0, max(1, _BLOCK // size)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        signs = np.unpackbits(rng.integers(0, 256, (rows, -(-size // 8)), dtype=np.uint8), axis=1)[:, :size]
        sums = difference.sum() - 2 * (signs.astype(np.float64) @ difference)
        extreme += int(np.count_nonzero(np.abs(sums) >= observed))
    return (1 + extreme) / (1 + resamples)


def largest_gain(gains: Mapping[str, Sequence[FloatArray]], resamples: int = 9999, seed: int = 0) -> dict[str, float]:
    """Return a one-sided p-value for each of several systems' gains over one and the same other system.

    Each p-value says how often the largest of all gains, in standard errors, is at least this large where signs are
    random: looking at many systems and taking the best is accounted for, and systems that are much alike cost little.

    Args:
        gains: by system; (Q,) a kind of query, the same queries for every system; each kind counts the same.
        resamples: random signs of the queries.
        seed: the draws' seed.
    """
    kinds = [np.stack(kind) for kind in zip(*gains.values(), strict=True)]  # (systems, Q) each
    errors = np.sqrt(sum((kind.var(axis=1) / kind.shape[1] for kind in kinds), np.zeros(len(gains))))
    scale = np.divide(1.0, errors, out=np.zeros_like(errors), where=errors > 0)
    observed = scale * sum(kind.mean(axis=1) for kind in kinds)
    rng, drawn = generator(seed, "largest gain"), np.zeros((resamples, len(gains)))
    for kind in kinds:
        signs = rng.choice(np.array([-1, 1], np.float32), (resamples, kind.shape[1]))
        drawn += signs @ kind.T.astype(np.float32) / kind.shape[1]
    largest = (drawn * scale).max(axis=1)
    found = (1 + (largest[:, None] >= observed * (1 - 1e-6)).sum(axis=0)) / (1 + resamples)
    return dict(zip(gains, found.tolist(), strict=True))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for the size of their family by Holm's step-down procedure, in the given order."""
    count = len(p_values)
    corrected, largest = [0.0] * count, 0.0
    for position, index in enumerate(sorted(range(count), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (count - position) * p_values[index]))
        corrected[index] = largest
    return corrected


def bootstrap_interval(
    values: FloatArray, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean over queries.

    Args:
        values: (Q,) of one system, Q >= 1.
        level: of confidence.
        resamples: draws of Q queries with replacement; the same for every system.
        seed: the draws' seed.
    """
    rng = generator(seed, "bootstrap")
    block = max(1, _BLOCK // len(values))
    means = [
        values[rng.integers(0, len(values), (min(block, resamples - start), len(values)))].mean(axis=1)
        for start in range(0, resamples, block)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
