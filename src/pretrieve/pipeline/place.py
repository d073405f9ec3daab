"""The place of a run on disk: held by one process, and empty again when nothing worth keeping was made."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pretrieve.core import files
from pretrieve.pipeline.request import CHECKPOINTS


@contextmanager
def hold(output: Path, *, overwrite: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a run's folder; one that this call made, and that holds nothing worth resuming, goes when it fails.

    Args:
        output: the folder.
        overwrite: begin with an empty one.
        wait: until no other process holds it.

    Raises:
        LockedError: another process holds it.
        StorageError: the disk refused.
    """
    fresh = not output.exists()
    if overwrite and not fresh:
        shutil.rmtree(output)
        fresh = True
    try:
        with files.lock(output, wait=wait):
            files.sweep(output)
            yield
    except BaseException:
        if fresh and not any(output.glob(f"**/{CHECKPOINTS}/step-*")):
            shutil.rmtree(output, ignore_errors=True)
        raise
