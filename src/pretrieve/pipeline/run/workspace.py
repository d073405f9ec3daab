"""The place of a run on disk: held by one process, and as it was before when nothing worth keeping was made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from pretrieve.core import aside, files
from pretrieve.core.aside import BEFORE, MOVING
from pretrieve.core.disk import LOCK, TEMPORARY
from pretrieve.core.errors import UsageError

CHECKPOINTS = "checkpoints"
WORKSPACE = "training"  # inside the model's folder: documents, tokenizer, store, recipe of the run
STATIC = "static"  # inside the folder of a retrieval model: the static model beside it
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


def check_output(output: Path, sources: Iterable[str | Path], *, overwrite: bool, also: Iterable[str] = ()) -> None:
    """Refuse a place that is taken, that holds an unfinished run and is not to be begun anew, or that the run reads.

    Args:
        output: the place.
        sources: what the run reads.
        overwrite: it may be begun anew, or replaced.
        also: more names that an unfinished run of this kind may leave there.

    Raises:
        UsageError: it is taken, or is read.
    """
    if not unfinished(output, also):
        files.check_free(output, replace=overwrite)
    elif not overwrite:
        raise UsageError(
            f"{output} holds a run that was not finished: add --resume to go on, or --overwrite to start anew."
        )
    if overwrite:
        files.check_apart(output, sources)


def unfinished(output: Path, also: Iterable[str] = ()) -> bool:
    """Whether a folder holds an unfinished run and nothing else, so that it may be gone on with, or removed."""
    names = {path.name for path in output.iterdir()} if output.is_dir() else set()
    ours = {LOCK, BEFORE, MOVING, WORKSPACE, CHECKPOINTS, STATIC, "start", *also}
    return LOCK in names and all(name in ours or name.startswith(TEMPORARY) for name in names)
