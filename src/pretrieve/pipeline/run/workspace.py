"""The workspace of a run: a folder beside its output, locked by one process.

``Workspace`` leaves the output unchanged until the new one is complete, and exchanges the two atomically: with
--overwrite, the old output stays usable during the run, and after a kill. The workspace holds the documents, tokens and
checkpoints of an unfinished run; a finished run removes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from pretrieve.core import disk, files
from pretrieve.core.disk import LOCK, TEMPORARY
from pretrieve.core.errors import StorageError, UsageError
from pretrieve.core.manifest import sha256_of

CHECKPOINTS = "checkpoints"
STATIC = "static"  # the static model in the folder of a retrieval model
_WORK = (  # worth resuming from
    f"**/{CHECKPOINTS}/**/step-*",
    "**/negatives-*.jsonl",
    "**/*.jsonl.parts/*.jsonl",
    "**/*.shards/shard-*/MANIFEST.json",
)


BESIDE, _RUN, _PREVIOUS = ".work", "run", "previous"
_STATE = "workspace.json"  # of a run: MANIFESTs of the output it replaces and of the output it publishes


def workspace_of(output: Path) -> Path:
    """The workspace of an output: a folder in ``OUTPUT.work``."""
    return beside(output, BESIDE) / _RUN


def beside(output: Path, ending: str) -> Path:
    """The path beside an output with its name and an ending; links are resolved.

    Raises:
        UsageError: the output is the root of a disk.
    """
    place = output.resolve()
    if not place.name:
        raise UsageError(f"{output} cannot be an output: give a folder in it.")
    return place.with_name(f"{place.name}{ending}")


class Workspace:
    """The folder that a run works in, beside its output; one process at a time holds its lock.

    Entering it creates ``path``: empty, or with ``resume`` the files of the earlier run. ``publish`` writes the output
    atomically. When the block ends without an error, the folder is removed. After an error, the folder is kept if it is
    worth resuming; otherwise the previous state is restored, including an unfinished run that ``overwrite`` replaced.

    Attributes:
        output: output folder, links resolved.
        path: folder to work in.
        finished: with ``resume``: whether the output is that of this run, or there is no run to resume.

    Example:
        >>> with Workspace(Path("my-model"), overwrite=True) as work:  # doctest: +SKIP
        ...     (work.path / "documents").mkdir()
        ...     with work.publish("model") as folder:
        ...         folder.write("weights", b"...")
    """

    def __init__(
        self, output: Path, *, resume: bool = False, overwrite: bool = False, keep: bool = False, wait: bool = False
    ) -> None:
        """Create a workspace; nothing is touched before the block is entered.

        Args:
            output: output folder.
            resume: resume an unfinished run.
            overwrite: replace an existing output, and restart an unfinished run.
            keep: keep the folder of a finished run.
            wait: wait until no other process holds the lock.
        """
        self.output = output.resolve()
        self.path = workspace_of(output)
        self.finished = False
        self._given, self._resume, self._overwrite, self._keep, self._wait = output, resume, overwrite, keep, wait
        self._parent = self.path.parent
        self._previous = self._parent / _PREVIOUS
        self._missing = [path for path in (self._parent, *self._parent.parents) if not path.exists()]
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Workspace:
        """Lock and prepare the folder.

        Raises:
            LockedError: another process holds the lock.
            UsageError: as ``check_workspace``.
            StorageError: writing to disk failed.
        """
        _check_ours(self._parent)
        try:
            disk.make_folder(self._parent, exist_ok=True)
            self._stack.enter_context(files.lock(self._parent, wait=self._wait))
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
        disk.sweep(self._parent)
        disk.sweep(self._parent.parent, self.output.name)  # of a file beside the output, such as a quarantine
        disk.recover(self.output)
        self._settle()
        check_workspace(self._given, (), resume=self._resume, overwrite=self._overwrite)
        found = _manifest(self.output)
        state = _state(self.path) if self._resume else {}
        if self._resume and found and (not state or state["publishes"] == found):
            self.finished = True
        elif state and found and state["replaces"] != found:
            raise UsageError(
                f"{self._given} is not what it was when the run in {_shown(self._given)} began: move it away to resume "
                "that run, or give --overwrite to restart."
            )
        with disk.storage(self.path):
            if not self._resume and self.path.exists():
                self.path.rename(self._previous)
            self.path.mkdir(exist_ok=True)
        disk.sweep(self.path)
        if not (state or self.finished):
            self._save(replaces=found, publishes="")

    def _settle(self) -> None:
        """Undo or complete the replacement of an unfinished run that a kill interrupted."""
        if self._previous.exists():
            self._put_back()
        if not (self._resume or worth_resuming(self.path)):
            disk.remove(self.path)

    def _put_back(self) -> None:
        """Remove a run that is not worth resuming, and restore the previous one."""
        if not worth_resuming(self.path):
            disk.remove(self.path)
            if self._previous.exists():
                with disk.storage(self.path):
                    self._previous.rename(self.path)
        disk.remove(self._previous)

    @contextlib.contextmanager
    def publish(self, kind: str, meta: Mapping[str, Any] | None = None) -> Iterator[files.Folder]:
        """Write the output: it is published when the block ends, or not at all.

        Args:
            kind: kind of the output, for its MANIFEST.
            meta: facts for its MANIFEST; read when the block ends.

        Raises:
            StorageError: writing to disk failed; an existing output is unchanged.
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
        """What an interrupted run has saved and how to resume it, as text."""
        if worth_resuming(self.path):
            return f"progress is saved in {_shown(self._given)}; add --resume to continue"
        state = "is unchanged" if self.output.exists() else "was not made"
        return f"{self._given} {state}; there is nothing to resume: run the same command again"

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
                self._missing = [self._parent]
        finally:
            self._leave()

    def _leave(self) -> None:
        """Unlock the folder; remove it if it is empty, and parents that were created."""
        if {path.name for path in self._parent.iterdir()} <= {LOCK}:
            (self._parent / LOCK).unlink(missing_ok=True)  # while it is locked: waiting processes notice
            self._remove_empty()
        self._stack.close()

    def _remove_empty(self) -> None:
        with contextlib.suppress(OSError):  # not empty: another process starts here
            for path in self._missing if self._missing else [self._parent]:
                path.rmdir()


def check_workspace(
    output: Path, sources: Iterable[str | Path], *, resume: bool = False, overwrite: bool = False
) -> None:
    """Refuse an output that exists, that has an unfinished run, or that the run reads, before anything is read.

    Args:
        output: output folder.
        sources: paths that the run reads.
        resume: resume an unfinished run.
        overwrite: replace an existing output, and restart an unfinished run.

    Raises:
        UsageError: the output cannot be written, or is read.
    """
    place = output.resolve()
    folder = beside(output, BESIDE)
    _check_ours(folder)
    if not (resume or overwrite) and any(_unfinished(folder / name, place) for name in (_RUN, _PREVIOUS)):
        raise UsageError(
            f"{output} has an unfinished run, in {_shown(output)}: add --resume to continue, or --overwrite to restart."
        )
    if not (resume and _manifest(place) and not _state(folder / _RUN)):  # that run is finished: nothing is replaced
        files.check_free(output, replace=resume or overwrite)
    if overwrite and not resume:
        for taken in (place, folder):
            files.check_apart(taken, sources)


def _unfinished(path: Path, output: Path) -> bool:
    published = _state(path).get("publishes")
    return worth_resuming(path) and not (published and published == _manifest(output))


def worth_resuming(folder: Path) -> bool:
    """Whether a folder has results worth resuming from: checkpoints, mined negatives, finished blocks, tokens."""
    return any(next(folder.glob(pattern), None) is not None for pattern in _WORK)


def _shown(output: Path) -> Path:
    """The folder beside an output, in the notation of the user's path where possible."""
    folder = beside(output, BESIDE)
    given = output.parent / folder.name
    return given if given.resolve() == folder else folder


def _check_ours(folder: Path) -> None:
    """Refuse to work in a folder of the user's with the same name."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name} if folder.exists() else set()
    ours = all(name in (LOCK, _RUN, _PREVIOUS) or name.startswith(TEMPORARY) for name in names)
    if folder.is_symlink() or not ours:
        raise UsageError(f"{folder} is needed as the workspace and was not made by pretrieve: choose another --output.")


def _manifest(folder: Path) -> str:
    """Identity of an artefact; empty where there is none."""
    path = folder / files.MANIFEST
    return sha256_of(path) if path.is_file() else ""


def _state(path: Path) -> dict[str, str]:
    found = path / _STATE
    return dict(orjson.loads(found.read_bytes())) if found.is_file() else {}


def _discard(path: Path) -> None:
    """Remove a folder; the record of its finished run is removed last, in case of a kill."""
    for part in path.iterdir():
        if part.name != _STATE:
            disk.remove(part)
    disk.remove(path)


@contextlib.contextmanager
def hold_parts(folder: Path, *, clear: bool = False, wait: bool = False) -> Iterator[None]:
    """Lock a folder of finished parts, such as those of a comparison or of generated labels.

    A folder that was empty is emptied again after an error, if there is nothing worth resuming.

    Args:
        folder: the folder.
        clear: remove what is in it first.
        wait: wait until no other process holds the lock.

    Raises:
        LockedError: another process holds the lock.
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
    """Names in a folder, without its lock and temporary files; empty where there is no folder."""
    found = folder.iterdir() if folder.is_dir() else ()
    return [path.name for path in found if path.name != LOCK and not path.name.startswith(TEMPORARY)]


def _clear(folder: Path) -> None:
    for name in parts_in(folder):
        disk.remove(folder / name)


def _leave(folder: Path, *, missing: bool) -> None:
    """Remove the lock of an empty folder while it is held (waiting processes notice), and the folder."""
    if not parts_in(folder):
        (folder / LOCK).unlink(missing_ok=True)
        if missing:
            with contextlib.suppress(OSError):  # another process has started here
                folder.rmdir()
