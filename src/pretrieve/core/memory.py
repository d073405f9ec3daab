"""Keep freed memory for the next batch instead of returning it to the system.

A batch is a dozen arrays of a megabyte; glibc maps and unmaps such blocks each time, and the page faults cost more than
the arithmetic (sampling runs twice as fast without them). When training is done it does go back: a process that trains
model after model would hold gigabytes in pieces that nothing fits into.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of mallopt(3)


def keep_freed_memory() -> None:
    """Make glibc keep up to 1 GB of freed memory and to serve blocks up to 32 MB from it; elsewhere do nothing."""
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, 32 << 20)
        library.mallopt(_TRIM_THRESHOLD, 1 << 30)


def give_back_freed_memory() -> None:
    """Give freed memory back to the system, as far as glibc can; elsewhere do nothing."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
