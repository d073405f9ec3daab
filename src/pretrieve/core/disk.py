"""Disk operations: syncing, exchanging, locking, and one-line errors.

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
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pretrieve.core.errors import LockedError, StorageError

TEMPORARY = ".pretrieve-"  # how the names of temporary files and folders begin
LOCK = ".lock"  # in each folder that one process at a time writes
TOO_MANY_FILES = "too many open files: raise the limit, for example with `ulimit -n 4096`."
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE)
_LOOKS, _BETWEEN_LOOKS = 40, 0.005  # at the name of a lock's holder; in seconds
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HERE = -100  # AT_FDCWD
_SWAP = 2  # RENAME_EXCHANGE on Linux, RENAME_SWAP on macOS
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)


def _no_fault(operation: str, path: Path) -> None:
    pass


fault_point: Callable[[str, Path], None] = _no_fault


@contextlib.contextmanager
def storage(path: Path, needed: Callable[[], tuple[int, int]] = lambda: (0, 0)) -> Iterator[None]:
    """Turn an error of the disk into a one-line error.

    Args:
        path: what is written.
        needed: called if the disk is full: returns the minimum bytes of the artefact, if known, and its bytes that are
            already on disk and will be removed.

    Raises:
        StorageError: in place of any ``OSError``.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            required, written = needed()
            free = shutil.disk_usage(_existing(path)).free + written
            sizes = (
                f"at least {required:,} bytes are needed and {free:,} are free" if required else f"{free:,} bytes free"
            )
            raise StorageError(f"{path}: the disk is full ({sizes}): make room and run the command again.") from None
        if error.errno in OUT_OF_FILES:
            raise StorageError(f"{error.filename or path}: {TOO_MANY_FILES}") from None
        raise StorageError(f"{error.filename or path}: {error.strerror or error}.") from None


@contextlib.contextmanager
def lock(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a folder for writing; the system releases the lock if the process is killed.

    Args:
        path: the folder.
        wait: wait until no other process holds the lock.

    Raises:
        LockedError: another process holds the lock; the text names its pid and host.
        StorageError: writing to disk failed.
    """
    while True:
        with storage(path):
            path.mkdir(parents=True, exist_ok=True)
            try:
                file = (path / LOCK).open("a+b", buffering=0)
            except FileNotFoundError:  # the previous holder removed the folder in between
                continue
        with file:
            _take(file, path, wait=wait)
            if not _is_at(file, path / LOCK):  # the previous holder removed the folder: create it again
                continue
            try:
                file.truncate(0)
                file.write(f"pid {os.getpid()} on {socket.gethostname()}".encode())
            except OSError:
                with storage(path):
                    (path / LOCK).unlink()
                    raise
            yield
            return


def _take(file: BinaryIO, path: Path, *, wait: bool) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise LockedError(f"{path} is being written by {_holder(file)}: wait for it, or stop it.") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be locked: {error.strerror}.") from None


def _holder(file: BinaryIO) -> str:
    """Who holds a lock; whoever has just taken it writes its name a moment later."""
    for _ in range(_LOOKS):
        file.seek(0)
        if holder := file.read(200):
            return holder.decode(errors="replace")
        time.sleep(_BETWEEN_LOOKS)
    return "another process"


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def make_folder(path: Path, *, exist_ok: bool = False) -> None:
    """Make a folder and its parents.

    Args:
        path: the folder.
        exist_ok: accept an existing folder.

    Raises:
        StorageError: it exists, or writing to disk failed; the text names the path.
    """
    with storage(path):
        fault_point("mkdir", path)
        try:
            path.mkdir(parents=True, exist_ok=exist_ok)
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise StorageError(
                f"{_existing(path)} cannot be written: {error.strerror}. Choose another place."
            ) from None


def temporary(parent: Path, name: str) -> Path:
    """A free name in a folder for something that is not finished; ``sweep`` knows it."""
    return parent / f"{TEMPORARY}{name}.{os.getpid()}.{secrets.token_hex(4)}"


def sweep(parent: Path, name: str = "") -> None:
    """Remove temporary files of killed processes from a folder; call it while holding its lock.

    Args:
        parent: the folder.
        name: final name of the files to remove, or its part before a dot; default: all.
    """
    for path in parent.glob(f"{TEMPORARY}*"):
        what, _, owner = path.name.removeprefix(TEMPORARY).rpartition(".")[0].rpartition(".")
        if (not name or f"{what}.".startswith(f"{name}.")) and not (owner.isdigit() and _others(int(owner))):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, or as much of it as can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _others(pid: int) -> bool:
    """Whether another process with that id is alive."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def exchange(first: Path, second: Path) -> None:
    """Swap two folders in one step: ``renameat2`` of Linux, ``renamex_np`` of macOS.

    Where the file system knows neither (some network drives), ``second`` is moved aside, ``first`` takes its place, and
    then the other way round; ``recover`` completes what a kill between the two left.

    Raises:
        OSError: writing to disk failed.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(first), os.fsencode(second)
    if hasattr(libc, "renameat2"):
        failed = libc.renameat2(_HERE, paths[0], _HERE, paths[1], _SWAP)
    elif hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(*paths, _SWAP)
    else:
        ctypes.set_errno(errno.ENOSYS)
        failed = -1
    if not failed:
        return
    if (number := ctypes.get_errno()) not in _UNSUPPORTED:
        raise OSError(number, os.strerror(number), str(second))
    old = set_aside(second)
    second.rename(old)
    fault_point("rename", second)
    first.rename(second)
    old.rename(first)


def recover(path: Path) -> None:
    """Put a folder back that ``exchange`` was moving when its process was killed; call it while holding a lock."""
    if (old := set_aside(path)).exists():
        if path.exists():
            remove(old)
        else:
            old.rename(path)


def set_aside(path: Path) -> Path:
    """Where ``exchange`` moves a folder for a moment, where it cannot swap two in one step."""
    return path.with_name(f".{path.name}.replaced")


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
