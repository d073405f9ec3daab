"""The lock of an index: one process at a time builds or changes it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pretrieve.core import disk
from pretrieve.core.disk import LOCK


@contextlib.contextmanager
def writing(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock the place of an index, whether there is one or not, by a hidden folder beside it.

    Args:
        path: the index's folder.
        wait: wait until no other process holds the lock.

    Raises:
        LockedError: another process builds or changes it.
        StorageError: writing to disk failed.
    """
    place = path.resolve()
    lock = place.with_name(f".{place.name}.lock")
    missing = [parent for parent in place.parents if not parent.exists()]
    try:
        with disk.lock(lock, wait=wait):
            disk.sweep(place.parent, place.name)
            try:
                yield
            finally:
                (lock / LOCK).unlink(missing_ok=True)  # while it is held: who waits takes another
                with contextlib.suppress(OSError):  # another process has begun
                    lock.rmdir()
    finally:
        for parent in missing:
            with contextlib.suppress(OSError):  # an index is there
                parent.rmdir()
