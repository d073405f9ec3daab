"""What the disk does and how it refuses: syncing, swapping, locking, and its errors in one clear line.

``fault_point`` is passed by every operation that touches the disk, so that a test can stop the process or fail the call
at the k-th one; it does nothing otherwise.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pretrieve.core.errors import LockedError, StorageError

TEMPORARY = ".pretrieve-"  # how the names of temporary files and folders begin
LOCK = ".lock"  # in each folder that one process at a time writes


def _no_fault(operation: str, path: Path) -> None:
    pass


fault_point: Callable[[str, Path], None] = _no_fault


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn what the disk says into one clear line.

    Raises:
        StorageError: in place of any ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(_existing(path)).free
            raise StorageError(
                f"{path}: the disk is full ({free:,} bytes free): make room and run the command again."
            ) from None
        raise StorageError(f"{error.filename or path}: {error.strerror or error}.") from None


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the only right to write below ``path`` (a folder): released by the system even if the process is killed.

    Args:
        path: the folder.
        wait: until nobody else holds it.

    Raises:
        LockedError: another process holds it; the text names its pid and host.
    """
    while True:
        with storage(path):
            path.mkdir(parents=True, exist_ok=True)
            file = (path / LOCK).open("a+b")
        with file:
            _take(file, path, wait=wait)
            if not _is_at(file, path / LOCK):  # who held it before has removed the folder: make it again
                continue
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()
            yield
            return


def _take(file: BinaryIO, path: Path, *, wait: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        file.seek(0)
        holder = file.read(200).decode(errors="replace") or "another process"
        raise LockedError(f"{path} is being written by {holder}: wait for it, or stop it.") from None


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def exchange(first: Path, second: Path) -> None:
    """Swap two folders in one step (Linux ``renameat2``); elsewhere in two, keeping the old until the new is there."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2") and libc.renameat2(-100, bytes(first), -100, bytes(second), 2) == 0:
        return
    aside = second.parent / f"{TEMPORARY}{second.name}.old.{os.getpid()}.{secrets.token_hex(4)}"
    second.rename(aside)
    first.rename(second)
    shutil.rmtree(aside, ignore_errors=True)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
