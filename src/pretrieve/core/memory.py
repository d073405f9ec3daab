"""What a long process does with memory: keep what is freed for the next batch, and leave what stays alone.

A batch is a dozen arrays of a megabyte; glibc maps and unmaps such blocks each time, and the page faults cost more than
the arithmetic (sampling runs twice as fast without them). When training is done it does go back: a process that trains
model after model would hold gigabytes in pieces that nothing fits into.
"""

from __future__ import annotations

import ctypes
import gc

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


def leave_alone_what_is_loaded() -> None:
    """Keep Python's garbage collection off all objects that exist now: for a process that answers from what it loaded.

    Every few hundred answers it goes through all of them, modules included, and the answer that it interrupts takes
    several times as long as others.
    """
    gc.collect()
    gc.freeze()
