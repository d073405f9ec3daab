"""Passages: overlapping windows of a document's terms (Callan, *Passage-level evidence*, SIGIR 1994)."""

from __future__ import annotations

import numpy as np

from pretrieve.core.types import IntArray, Rows

SIZE, STRIDE = 50, 25  # terms of a passage, and from one to the next


def cut(rows: Rows, size: int = SIZE, stride: int = STRIDE) -> tuple[Rows, IntArray]:
    """Cut rows into overlapping windows; the last window of a row ends with it, and a short row is one window.

    Args:
        rows: R rows.
        size: terms of a window, at most.
        stride: terms from the start of a window to that of the next.

    Returns:
        P windows, row after row, and (R,) the first window of each row.
    """
    lengths = rows.lengths
    counts = np.maximum(-(-(lengths - size) // stride), 0) + 1
    starts = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(rows)), counts)
    first = (np.arange(len(owner)) - starts[owner]) * stride
    taken = np.minimum(lengths[owner] - first, size)
    offsets = np.concatenate([[0], np.cumsum(taken)]).astype(np.int64)
    places = np.repeat(rows.offsets[owner] + first - offsets[:-1], taken) + np.arange(offsets[-1])
    return Rows(rows.tokens[places], offsets), starts
