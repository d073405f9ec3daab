"""The writer of files: an artefact is a folder that is written atomically.

``create(target)`` gives a temporary folder beside the target; everything is written there, synced, described in a
MANIFEST (written last), and moved into place atomically, by ``put``. Readers use ``read_manifest``, which accepts only
what the MANIFEST describes. No pickle anywhere: safetensors, JSON, and raw arrays with a header that is checked before
allocation.

Every operation that touches the disk passes ``disk.fault_point``, so that a test can stop the process or fail the call
at the k-th one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from pretrieve.core import disk
from pretrieve.core.arrays import array_header
from pretrieve.core.arrays import load_array as load_array
from pretrieve.core.blocks import Sums, pieces
from pretrieve.core.disk import lock as lock
from pretrieve.core.disk import storage as storage
from pretrieve.core.disk import sweep as sweep
from pretrieve.core.errors import UsageError
from pretrieve.core.manifest import MANIFEST as MANIFEST
from pretrieve.core.manifest import describe, manifest_of
from pretrieve.core.manifest import load_manifest as load_manifest
from pretrieve.core.manifest import read_manifest as read_manifest
from pretrieve.core.manifest import reading as reading
from pretrieve.core.manifest import verify as verify
from pretrieve.core.types import Array


@dataclass
class Folder:
    """A folder being written: each file is hashed as it goes through ``open``, ``write``, ``json`` or ``array``."""

    path: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[HashingFile]:
        """Open a file for streaming bytes into it; synced and entered in the MANIFEST when closed.

        Raises:
            StorageError: writing to disk failed.
        """
        path = self.path / name
        file = HashingFile(path)
        with storage(path, lambda: self._needed(file)):
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.fault_point("open", path)
            with path.open("wb") as raw:
                file.raw = raw
                yield file
                raw.flush()
                disk.fault_point("fsync", path)
                os.fsync(raw.fileno())
        self.entries[name] = describe(path, file.sums)

    def _needed(self, file: HashingFile) -> tuple[int, int]:
        """Bytes of the artefact so far with what was to be written to a file, and those that are on the disk."""
        sizes = {path: path.stat().st_size for path in self.path.rglob("*") if path.is_file()}
        written = sum(sizes.values())
        return written + max(0, file.size - sizes.get(file.path, 0)), written

    def write(self, name: str, data: bytes) -> None:
        """Write a whole small file.

        Raises:
            StorageError: writing to disk failed.
        """
        with self.open(name) as file:
            file.write(data)

    def json(self, name: str, value: object) -> None:
        """Write a value as JSON (sorted keys, so that equal values give equal bytes)."""
        self.write(name, to_json(value))

    def array(self, name: str, values: Array) -> None:
        """Write an array: a 128-byte header with dtype and shape, then its bytes."""
        with self.open(name) as file:
            file.write(array_header(values.dtype, values.shape))
            file.write(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data if values.size else b"")

    def adopt(self) -> None:
        """Enter files that a library wrote into the folder by itself (a model's ``save_pretrained``), syncing each.

        Raises:
            StorageError: writing to disk failed.
        """
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_file() and name not in self.entries:
                with storage(path), path.open("rb") as file:
                    disk.fault_point("fsync", path)
                    sums = Sums()
                    for data in pieces(file):
                        sums.update(data)
                    os.fsync(file.fileno())
                self.entries[name] = describe(path, sums)


class HashingFile:
    """A binary file that counts and hashes what is written to it."""

    raw: IO[bytes]

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.sums = path, 0, Sums()

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes."""
        self.size += memoryview(data).nbytes
        disk.fault_point("write", self.path)
        self.sums.update(data)
        self.raw.write(data)


@contextlib.contextmanager
def create(
    target: Path, kind: str, *, replace: bool = False, meta: Mapping[str, Any] | None = None
) -> Iterator[Folder]:
    """Write an artefact: the folder appears at ``target`` when the block ends, or not at all.

    Args:
        target: path of the folder; its parent is created.
        kind: kind of the artefact ("store", "checkpoint", "index", "model"), stored in the MANIFEST.
        replace: replace an existing artefact atomically; otherwise it is an error.
        meta: fingerprints and other facts stored in the MANIFEST; read when the block ends.

    Raises:
        UsageError: ``target`` exists and ``replace`` is off, or it is not an artefact of pretrieve.
        StorageError: writing to disk failed; nothing is left on disk.
    """
    target = target.resolve()  # what a link points to is replaced, not the link
    check_free(target, replace=replace)
    with scratch(target.parent, target.name) as folder:
        yield folder
        finish(folder, kind, meta)
        put(folder.path, target)


def finish(folder: Folder, kind: str, meta: Mapping[str, Any] | None = None) -> None:
    """Write the MANIFEST of a folder, last of all its files, and sync."""
    with folder.open(MANIFEST) as file:
        file.write(manifest_of(kind, meta or {}, folder.entries))
    disk.sync_folder(folder.path)


def put(made: Path, target: Path) -> None:
    """Move a finished folder into place atomically; the previous content is exchanged to the place of the folder.

    If the target is the empty current folder, it is filled in place, MANIFEST last.

    Args:
        made: the folder, on the same file system.
        target: nothing, an empty folder, or an artefact.

    Raises:
        StorageError: writing to disk failed; ``target`` is unchanged.
    """
    with storage(target):
        disk.fault_point("rename", target)
        if not target.is_dir():
            made.rename(target)
        elif any(target.iterdir()):
            disk.exchange(made, target)
        elif target == Path.cwd():
            _fill(made, target)
        else:
            made.rename(target)
        disk.fault_point("fsync", target.parent)
        disk.sync_folder(target.parent)


def _fill(made: Path, target: Path) -> None:
    names = sorted((path.name for path in made.iterdir()), key=lambda name: name == MANIFEST)
    try:
        for name in names:
            (made / name).rename(target / name)
    except BaseException:
        for name in names:
            disk.remove(target / name)
        raise


@contextlib.contextmanager
def scratch(parent: Path, name: str) -> Iterator[Folder]:
    """A temporary folder inside ``parent``, removed when the block ends.

    Raises:
        StorageError: writing to disk failed.
    """
    path = disk.temporary(parent.absolute(), name)
    disk.make_folder(path)
    try:
        yield Folder(path)
    finally:
        disk.remove(path)


@contextlib.contextmanager
def create_file(target: Path) -> Iterator[HashingFile]:
    """Write a single file outside an artefact: it appears when the block ends, or not at all.

    Raises:
        StorageError: writing to disk failed.
    """
    with scratch(target.absolute().parent, target.name) as folder:
        with folder.open(target.name) as file:
            yield file
        with storage(target):
            disk.fault_point("rename", target)
            (folder.path / target.name).replace(target)
            disk.sync_folder(target.absolute().parent)


def check_free(target: Path, *, replace: bool) -> None:
    """Check that a target can be written, before any work.

    Raises:
        UsageError: it exists and may not be replaced, is not an artefact, or is a folder that the system cannot
            replace: a mount point, or a non-empty current folder.
    """
    if os.path.ismount(target):
        raise UsageError(f"{target} is a mount point, which cannot be replaced: choose a folder in it.")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST).is_file():
        raise UsageError(f"{target} exists and was not made by pretrieve: choose another place, or remove it yourself.")
    if not replace:
        raise UsageError(f"{target} exists already: choose another place, or allow it to be replaced with --overwrite.")
    if target.resolve() in (Path.cwd(), *Path.cwd().parents):
        raise UsageError(f"{target} cannot be replaced from within: run the command in another folder.")


def check_apart(target: Path, sources: Iterable[str | Path]) -> None:
    """Check that a target to replace is not also read.

    Raises:
        UsageError: a source is the target, or lies in it.
    """
    place = target.resolve()
    for source in sources:
        path = Path(source)
        if path.exists() and place in (path.resolve(), *path.resolve().parents):
            raise UsageError(f"{source} would be overwritten, and is read as well: choose another place.")


def to_json(value: object) -> bytes:
    """Serialise with sorted keys and indentation; equal values give equal bytes."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n"


def fingerprint(value: object) -> str:
    """Return 16 hexadecimal digits of the sha256 of a JSON value: the identity of a piece of data or recipe."""
    return hashlib.sha256(to_json(value)).hexdigest()[:16]


def digest(path: Path, *, without: Path | None = None) -> str:
    """Hash of a file, or of names and contents of all files below a folder; empty where there is neither.

    Args:
        path: the file or folder; hidden files do not count.
        without: a folder in it that does not count either.
    """
    if not path.exists():
        return ""
    found = hashlib.sha256()
    apart = None if without is None else without.resolve()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
        if file.is_file() and not hidden and apart not in file.resolve().parents:
            found.update(f"{file.relative_to(path)}\0".encode())
            with file.open("rb") as opened:
                found.update(hashlib.file_digest(opened, "sha256").digest())
    return found.hexdigest()[:16]


def write_file(path: Path, data: bytes) -> None:
    """Write one file (a report, a run) atomically.

    Raises:
        StorageError: writing to disk failed.
    """
    with create_file(path) as file:
        file.write(data)
