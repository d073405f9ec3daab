"""The place of a run on disk: held by one process, and as it was before when nothing worth keeping was made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pretrieve.core import aside, files
from pretrieve.core.disk import LOCK
from pretrieve.pipeline.request import CHECKPOINTS

_WORK = (f"**/{CHECKPOINTS}/**/step-*", "**/negatives-*.jsonl", "**/*.jsonl.parts/*.jsonl")  # what took time to make


@contextlib.contextmanager
def hold(output: Path, *, overwrite: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a run's folder; one that was empty or is overwritten is again what it was, if the run fails early.

    Early is before anything that is worth resuming: a mistyped argument costs no model.

    Args:
        output: the folder.
        overwrite: begin with an empty one; what was there goes when the block ends without an error.
        wait: until no other process holds it.

    Raises:
        LockedError: another process holds it.
        StorageError: the disk refused.
    """
    missing = not output.exists()
    with files.lock(output, wait=wait):
        files.sweep(output)
        aside.mend(output)
        if (output / files.MANIFEST).exists():  # what took its place was done, and only this was not
            aside.forget(output)
        empty = not aside.names(output)
        if overwrite:
            aside.set_aside(output)
        try:
            yield
        except BaseException:
            if (empty or (output / aside.BEFORE).exists()) and not _worth_resuming(output):
                aside.put_back(output)
                _leave(output, missing=missing)
            raise
        aside.forget(output)


def _leave(output: Path, *, missing: bool) -> None:
    """Remove the lock of an empty folder while it is held (who waits for it sees that it is gone), and the folder."""
    if not aside.names(output):
        (output / LOCK).unlink(missing_ok=True)
        if missing:
            with contextlib.suppress(OSError):  # another process has begun here
                output.rmdir()


def _worth_resuming(output: Path) -> bool:
    """Whether there are checkpoints or mined negatives, but for those that are set aside."""
    names = aside.names(output)
    return any(path.relative_to(output).parts[0] in names for pattern in _WORK for path in output.glob(pattern))
