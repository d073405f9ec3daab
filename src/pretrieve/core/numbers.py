"""Sets of numbers, as sorted arrays."""

from __future__ import annotations

import numpy as np

from pretrieve.core.types import IntArray


def each_once(numbers: IntArray) -> IntArray:
    """The different numbers, ascending, int64.

    ``np.unique`` takes several times as long, and imports masked arrays when it is first called: 20 ms of a search.

    Args:
        numbers: any number of them, in any order.
    """
    ordered = np.sort(numbers.astype(np.int64))
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered
