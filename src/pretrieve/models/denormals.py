"""Compute without denormals: numbers below 1e-38 count as zero, because a processor takes far longer for them.

They come up by themselves: the softmax of dot products at a low temperature gives gradients of 1e-40, and the moments
of an optimizer decay to them where a token is not met again. The mode belongs to a thread. Threads that are started
within it inherit it (the one of batches), the backward pass on a CPU runs in the caller's thread, and OpenMP's threads,
which outlive a computation, are started anew.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import threadpoolctl
import torch

_HARD = 2  # omp_pause_hard of OpenMP 5.0: threads end, settings stay


@contextmanager
def without_denormals() -> Iterator[None]:
    """Take denormals for zero in this thread and in OpenMP's; the state before is put back.

    Processors that cannot do so compute with them.
    """
    if is_without_denormals() or not torch.set_flush_denormal(True):
        yield
        return
    _restart_threads()
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        _restart_threads()


def is_without_denormals() -> bool:
    """Whether this thread takes denormals for zero."""
    return not np.float32(1e-39) * np.float32(1)


def _restart_threads() -> None:
    """End the threads that OpenMP holds for this one; the next computation starts others, which inherit its mode."""
    if torch.get_num_threads() == 1:
        return
    for library in threadpoolctl.threadpool_info():
        if library["user_api"] == "openmp":
            pause = getattr(ctypes.CDLL(library["filepath"]), "omp_pause_resource_all", None)
            if pause is not None:
                pause(_HARD)
