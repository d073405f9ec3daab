"""Where a run works: a folder beside its output, held by one process.

``Workspace`` leaves the output alone until the new one is whole, and exchanges the two in one step. What is at the
output before, is read as usual while a run with --overwrite works, and after it was killed. In the workspace lie the
documents, tokens and checkpoints of a run that was stopped; a run that is done removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from pretrieve.core import disk, files
from pretrieve.core.disk import LOCK, TEMPORARY
from pretrieve.core.errors import StorageError, UsageError

CHECKPOINTS = "checkpoints"
STATIC = "static"  # inside the folder of a retrieval model: the static model beside it
_WORK = (f"**/{CHECKPOINTS}/**/step-*", "**/negatives-*.jsonl", "**/*.jsonl.parts/*.jsonl")  # what took time to make


_BESIDE, _RUN, _PREVIOUS = ".work", "run", "previous"
_STATE = "workspace.json"  # of a run: the MANIFEST that it found at the output, and the one that it puts there


def workspace_of(output: Path) -> Path:
    """Where a run to an output works: a folder in ``OUTPUT.work``."""
    return beside(output, _BESIDE) / _RUN


def beside(output: Path, ending: str) -> Path:
    """The path of something that lies beside an output and has its name, with an ending; links are resolved.

    Raises:
        UsageError: there is nothing beside it: it is the root of a disk.
    """
    place = output.resolve()
    if not place.name:
        raise UsageError(f"{output} cannot be an output: give a folder in it.")
    return place.with_name(f"{place.name}{ending}")


class Workspace:
    """The folder that a run works in, beside its output; one process at a time has it.

    Entered, it is ``path``: empty, or with ``resume`` what an earlier run left. The output is written by ``publish``,
    whole or not at all. When the block ends without an error the folder is removed; when it ends with one, the folder
    stays if something in it is worth resuming, and otherwise all is as it was before: an unfinished run that was to be
    begun anew is there again.

    Attributes:
        output: the folder to make, links resolved.
        path: the folder to work in.
        finished: with ``resume``: the output is that of this run, or there is no other run to resume.

    Example:
        >>> with Workspace(Path("my-model"), overwrite=True) as work:  # doctest: +SKIP
        ...     (work.path / "documents").mkdir()
        ...     with work.publish("model") as folder:
        ...         folder.write("weights", b"...")
    """

    def __init__(
        self, output: Path, *, resume: bool = False, overwrite: bool = False, keep: bool = False, wait: bool = False
    ) -> None:
        """Say what is wanted; nothing is touched before the block is entered.

        Args:
            output: the folder to make.
            resume: take up what an earlier run left.
            overwrite: the output may be replaced, and an unfinished run begun anew.
            keep: leave the folder when the run is done.
            wait: until no other process has it.
        """
        self.output = output.resolve()
        self.path = workspace_of(output)
        self.finished = False
        self._said, self._resume, self._overwrite, self._keep, self._wait = output, resume, overwrite, keep, wait
        self._room = self.path.parent
        self._previous = self._room / _PREVIOUS
        self._missing = [path for path in (self._room, *self._room.parents) if not path.exists()]
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Workspace:
        """Take the folder.

        Raises:
            LockedError: another process has it.
            UsageError: as ``check_workspace``, which may have changed since.
            StorageError: writing to disk failed.
        """
        _check_ours(self._room)
        try:
            disk.make_folder(self._room, exist_ok=True)
            self._stack.enter_context(files.lock(self._room, wait=self._wait))
        except StorageError:
            self._remove_empty()
            raise
        try:
            self._begin()
        except BaseException:
            self._put_back()
            self._leave()
            raise
        return self

    def _begin(self) -> None:
        disk.sweep(self._room)
        disk.sweep(self._room.parent, self.output.name)  # of a file beside the output, such as a quarantine
        disk.recover(self.output)
        self._settle()
        check_workspace(self._said, (), resume=self._resume, overwrite=self._overwrite)
        found = _manifest(self.output)
        state = _state(self.path) if self._resume else {}
        if self._resume and found and (not state or state["publishes"] == found):
            self.finished = True
        elif state and found and state["replaces"] != found:
            raise UsageError(
                f"{self._said} is not what it was when the run in {_shown(self._said)} began: move it away to resume "
                "that run, or give --overwrite to start anew."
            )
        with disk.storage(self.path):
            if not self._resume and self.path.exists():
                self.path.rename(self._previous)
            self.path.mkdir(exist_ok=True)
        disk.sweep(self.path)
        if not (state or self.finished):
            self._save(replaces=found, publishes="")

    def _settle(self) -> None:
        """Undo, or complete, what a killed run that was begun anew did to the one before it."""
        if self._previous.exists():
            self._put_back()
        if not (self._resume or worth_resuming(self.path)):
            disk.remove(self.path)

    def _put_back(self) -> None:
        """Remove what is not worth resuming, and put the run before it in its place."""
        if not worth_resuming(self.path):
            disk.remove(self.path)
            if self._previous.exists():
                with disk.storage(self.path):
                    self._previous.rename(self.path)
        disk.remove(self._previous)

    @contextlib.contextmanager
    def publish(self, kind: str, meta: Mapping[str, Any] | None = None) -> Iterator[files.Folder]:
        """Write the output: it takes its place whole when the block ends, or not at all.

        Args:
            kind: what it is, for its MANIFEST.
            meta: facts for its MANIFEST; read when the block ends.

        Raises:
            StorageError: writing to disk failed; what was at the output is there still.
        """
        with files.scratch(self.path, "output") as folder:
            yield folder
            files.finish(folder, kind, meta)
            self._save(publishes=_manifest(folder.path))
            files.put(folder.path, self.output)

    def _save(self, **changes: str) -> None:
        state = {"replaces": "", "publishes": "", **_state(self.path), **changes}
        files.write_file(self.path / _STATE, files.to_json(state))

    def advice(self) -> str:
        """What is kept of a run that was stopped, and how it is resumed, for people."""
        if worth_resuming(self.path):
            return f"what is done is kept in {_shown(self._said)}; add --resume to continue"
        state = "is as it was" if self.output.exists() else "was not made"
        return f"{self._said} {state}; nothing is left to resume: give the same command again"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the folder, or remove it."""
        try:
            disk.sweep(self.path)
            if error is not None:
                self._put_back()
            else:
                disk.remove(self._previous)
                if not self._keep:
                    _discard(self.path)
                self._missing = [self._room]
        finally:
            self._leave()

    def _leave(self) -> None:
        """Give the folder free; one with nothing left in it is removed, and so are its parents that were missing."""
        if {path.name for path in self._room.iterdir()} <= {LOCK}:
            (self._room / LOCK).unlink(missing_ok=True)  # while it is held: who waits for it sees that it is gone
            self._remove_empty()
        self._stack.close()

    def _remove_empty(self) -> None:
        with contextlib.suppress(OSError):  # not empty: another process begins here
            for path in self._missing if self._missing else [self._room]:
                path.rmdir()


def check_workspace(
    output: Path, sources: Iterable[str | Path], *, resume: bool = False, overwrite: bool = False
) -> None:
    """Refuse an output that is taken, that has an unfinished run, or that the run reads; before anything is read.

    Args:
        output: the folder to make.
        sources: what the run reads.
        resume: take up what an earlier run left.
        overwrite: the output may be replaced, and an unfinished run begun anew.

    Raises:
        UsageError: it cannot be written, or is read.
    """
    place = output.resolve()
    room = beside(output, _BESIDE)
    _check_ours(room)
    if not (resume or overwrite) and any(_unfinished(room / name, place) for name in (_RUN, _PREVIOUS)):
        raise UsageError(
            f"{output} has a run that was not finished, in {_shown(output)}: add --resume to continue, or --overwrite "
            "to start anew."
        )
    if not (resume and _manifest(place) and not _state(room / _RUN)):  # that run is done: nothing is replaced
        files.check_free(output, replace=resume or overwrite)
    if overwrite and not resume:
        for taken in (place, room):
            files.check_apart(taken, sources)


def _unfinished(path: Path, output: Path) -> bool:
    published = _state(path).get("publishes")
    return worth_resuming(path) and not (published and published == _manifest(output))


def worth_resuming(folder: Path) -> bool:
    """Whether there is in a folder what took time to make: checkpoints, mined negatives, finished blocks."""
    return any(next(folder.glob(pattern), None) is not None for pattern in _WORK)


def _shown(output: Path) -> Path:
    """The folder beside an output, as near to the user's own words as they name it."""
    room = beside(output, _BESIDE)
    said = output.parent / room.name
    return said if said.resolve() == room else room


def _check_ours(room: Path) -> None:
    """Refuse to work in something of the user's that happens to have the name."""
    names = {path.name for path in room.iterdir()} if room.is_dir() else {room.name} if room.exists() else set()
    ours = all(name in (LOCK, _RUN, _PREVIOUS) or name.startswith(TEMPORARY) for name in names)
    if room.is_symlink() or not ours:
        raise UsageError(f"{room} is needed to work in and was not made by pretrieve: choose another --output.")


def _manifest(folder: Path) -> str:
    """What tells one artefact from another; empty where there is none."""
    path = folder / files.MANIFEST
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _state(path: Path) -> dict[str, str]:
    found = path / _STATE
    return dict(orjson.loads(found.read_bytes())) if found.is_file() else {}


def _discard(path: Path) -> None:
    """Remove a folder; what tells that its run is done goes last, in case of a kill."""
    for part in path.iterdir():
        if part.name != _STATE:
            disk.remove(part)
    disk.remove(path)


@contextlib.contextmanager
def hold_parts(folder: Path, *, clear: bool = False, wait: bool = False) -> Iterator[None]:
    """Hold a folder of finished parts, to which work adds: those of a comparison, or of generated labels.

    One that was empty is empty again if the work fails before there is anything worth resuming.

    Args:
        folder: the folder.
        clear: remove what is in it first.
        wait: until no other process holds it.

    Raises:
        LockedError: another process holds it.
        StorageError: writing to disk failed.
    """
    missing = not folder.exists()
    with files.lock(folder, wait=wait):
        disk.sweep(folder)
        if clear:
            _clear(folder)
        empty = not parts_in(folder)
        try:
            yield
        except BaseException:
            if empty and not worth_resuming(folder):
                _clear(folder)
                _leave(folder, missing=missing)
            raise


def parts_in(folder: Path) -> list[str]:
    """What is in a folder, but for its lock and what a killed process left; nothing where there is no folder."""
    found = folder.iterdir() if folder.is_dir() else ()
    return [path.name for path in found if path.name != LOCK and not path.name.startswith(TEMPORARY)]


def _clear(folder: Path) -> None:
    for name in parts_in(folder):
        disk.remove(folder / name)


def _leave(folder: Path, *, missing: bool) -> None:
    """Remove the lock of an empty folder while it is held (who waits for it sees that it is gone), and the folder."""
    if not parts_in(folder):
        (folder / LOCK).unlink(missing_ok=True)
        if missing:
            with contextlib.suppress(OSError):  # another process has begun here
                folder.rmdir()
