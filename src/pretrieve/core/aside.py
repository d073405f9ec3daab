"""What a folder holds, set aside within it while something else takes its place, and put back if nothing does.

Each step is one rename, and a kill between two of them leaves what ``mend`` completes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pretrieve.core import disk

BEFORE = ".before"  # what is set aside
MOVING = f"{BEFORE}.part"  # the same, until all of it is there, and again while it is put back


def names(folder: Path) -> list[str]:
    """What is in a folder, but for its lock and what is set aside; nothing where there is no folder."""
    found = folder.iterdir() if folder.is_dir() else ()
    return [path.name for path in found if path.name not in (disk.LOCK, BEFORE, MOVING)]


def set_aside(folder: Path) -> None:
    """Leave the folder empty; where something is set aside already, that is kept and the rest removed.

    Raises:
        StorageError: the disk refused.
    """
    mend(folder)
    if (folder / BEFORE).exists():
        clear(folder)
    elif found := names(folder):
        with disk.storage(folder):
            (folder / MOVING).mkdir()
            for name in found:
                _rename(folder / name, folder / MOVING / name)
            _rename(folder / MOVING, folder / BEFORE)


def put_back(folder: Path) -> None:
    """Put what is set aside in the place of what is there.

    Raises:
        StorageError: the disk refused.
    """
    clear(folder)
    if (folder / BEFORE).exists():
        with disk.storage(folder):
            _rename(folder / BEFORE, folder / MOVING)
        mend(folder)


def mend(folder: Path) -> None:
    """Undo a move that a kill cut short.

    Raises:
        StorageError: the disk refused.
    """
    if (folder / MOVING).exists():
        with disk.storage(folder):
            for path in (folder / MOVING).iterdir():
                _rename(path, folder / path.name)
            (folder / MOVING).rmdir()


def clear(folder: Path) -> None:
    """Remove what is there, but for the lock and what is set aside.

    Raises:
        StorageError: the disk refused.
    """
    with disk.storage(folder):
        for name in names(folder):
            path = folder / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def forget(folder: Path) -> None:
    """Remove what is set aside: something has taken its place."""
    shutil.rmtree(folder / BEFORE, ignore_errors=True)


def _rename(path: Path, target: Path) -> None:
    disk.fault_point("rename", target)
    path.rename(target)
