"""One writer of files: an artefact is a folder that is there whole or not at all.

``create(target)`` gives a temporary folder beside the target; everything is written there, synced, described in a
MANIFEST (written last), and renamed into place. Readers use ``read_manifest``, which accepts only what the MANIFEST
describes. No pickle anywhere: safetensors, JSON, and raw arrays with a header that is checked before allocation.

Every operation that touches the disk passes ``disk.fault_point``, so that a test can stop the process or fail the call
at the k-th one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from pretrieve.core import disk
from pretrieve.core.arrays import array_header
from pretrieve.core.arrays import load_array as load_array
from pretrieve.core.disk import lock as lock
from pretrieve.core.disk import storage as storage
from pretrieve.core.errors import CorruptError, UsageError, VersionError
from pretrieve.core.types import Array

MANIFEST = "MANIFEST.json"
FORMAT = 1
_EDGE = 65536  # bytes hashed at each end of a file when it is opened; verify() hashes all of it


@dataclass
class Folder:
    """A folder being written: each file is hashed as it goes through ``open``, ``write``, ``json`` or ``array``."""

    path: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[HashingFile]:
        """Open a file for streaming bytes into it; synced and entered in the MANIFEST when closed.

        Raises:
            StorageError: the disk refused.
        """
        path = self.path / name
        with storage(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            disk.fault_point("open", path)
            with path.open("wb") as raw:
                file = HashingFile(raw, path)
                yield file
                raw.flush()
                disk.fault_point("fsync", path)
                os.fsync(raw.fileno())
        self.entries[name] = describe(path, file.sha256.hexdigest())

    def write(self, name: str, data: bytes) -> None:
        """Write a whole small file.

        Raises:
            StorageError: the disk refused.
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
            StorageError: the disk refused.
        """
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_file() and name not in self.entries:
                with storage(path), path.open("rb") as file:
                    disk.fault_point("fsync", path)
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                    os.fsync(file.fileno())
                self.entries[name] = describe(path, digest)


class HashingFile:
    """A binary file that hashes what is written to it."""

    def __init__(self, raw: IO[bytes], path: Path) -> None:
        self._raw, self._path, self.sha256 = raw, path, hashlib.sha256()

    def write(self, data: bytes | memoryview) -> None:
        """Write bytes."""
        disk.fault_point("write", self._path)
        self.sha256.update(data)
        self._raw.write(data)


@contextlib.contextmanager
def create(
    target: Path, kind: str, *, replace: bool = False, meta: Mapping[str, Any] | None = None
) -> Iterator[Folder]:
    """Write an artefact: the folder appears at ``target`` whole when the block ends, or not at all.

    Args:
        target: where the folder will be; its parent is made.
        kind: what it is ("store", "checkpoint", "index", "model"), kept in the MANIFEST.
        replace: an artefact that is there is swapped for the new one in one step; without it, it is an error.
        meta: fingerprints and other facts kept in the MANIFEST.

    Raises:
        UsageError: something is at ``target`` and ``replace`` is off, or it is no artefact of pretrieve.
        StorageError: the disk refused; nothing is left behind.
    """
    target = target.absolute()
    check_free(target, replace=replace)
    with storage(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f"{disk.TEMPORARY}{target.name}.{os.getpid()}.{secrets.token_hex(4)}"
    with storage(temporary):
        disk.fault_point("mkdir", temporary)
        temporary.mkdir()
    try:
        folder = Folder(temporary)
        yield folder
        with storage(target):
            finish(folder, kind, meta)
            _swap_in(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def finish(folder: Folder, kind: str, meta: Mapping[str, Any] | None = None) -> None:
    """Write the MANIFEST of a folder, last of all its files, and sync."""
    manifest = {"format": FORMAT, "kind": kind, "meta": dict(meta or {}), "files": dict(sorted(folder.entries.items()))}
    with folder.open(MANIFEST) as file:
        file.write(to_json(manifest))
    disk.sync_folder(folder.path)


def publish(folder: Folder, target: Path, kind: str, meta: Mapping[str, Any] | None = None) -> None:
    """Move the files of a finished temporary folder into ``target``, which holds other things too; MANIFEST last.

    Until the MANIFEST is there, readers refuse ``target``: a stop in between leaves no half artefact, and calling again
    completes it. Used for a model that appears beside its own checkpoints.

    Raises:
        StorageError: the disk refused.
    """
    finish(folder, kind, meta)
    with storage(target):
        (target / MANIFEST).unlink(missing_ok=True)
        for name in [*sorted(set(folder.entries) - {MANIFEST}), MANIFEST]:
            disk.fault_point("rename", target / name)
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (folder.path / name).replace(target / name)
        disk.sync_folder(target)


@contextlib.contextmanager
def scratch(parent: Path, name: str) -> Iterator[Folder]:
    """A temporary folder inside ``parent`` that is gone when the block ends.

    Raises:
        StorageError: the disk refused.
    """
    path = parent.absolute() / f"{disk.TEMPORARY}{name}.{os.getpid()}.{secrets.token_hex(4)}"
    with storage(path):
        disk.fault_point("mkdir", path)
        path.mkdir(parents=True)
    try:
        yield Folder(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def create_file(target: Path) -> Iterator[HashingFile]:
    """Write a single file that is no part of an artefact: it appears whole when the block ends, or not at all.

    Raises:
        StorageError: the disk refused.
    """
    with scratch(target.absolute().parent, target.name) as folder:
        with folder.open(target.name) as file:
            yield file
        with storage(target):
            disk.fault_point("rename", target)
            (folder.path / target.name).replace(target)
            disk.sync_folder(target.absolute().parent)


def check_free(target: Path, *, replace: bool) -> None:
    """Say early that a target cannot be written, before hours of work.

    Raises:
        UsageError: it exists and may not be replaced, or is something of the user's that is no artefact.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not (target / MANIFEST).is_file():
        raise UsageError(f"{target} exists and was not made by pretrieve: choose another place, or remove it yourself.")
    if not replace:
        raise UsageError(f"{target} exists already: choose another place, or allow it to be replaced with --overwrite.")


def check_apart(target: Path, sources: Iterable[str | Path]) -> None:
    """Say early that what is to be replaced is what is to be read.

    Raises:
        UsageError: a source is the target, or lies in it.
    """
    place = target.resolve()
    for source in sources:
        path = Path(source)
        if path.exists() and place in (path.resolve(), *path.resolve().parents):
            raise UsageError(f"{source} would be overwritten, and is read as well: choose another place.")


def read_manifest(path: Path, kind: str) -> dict[str, Any]:
    """Read the MANIFEST of an artefact, and check names, lengths and the ends of every file against it.

    Args:
        path: the artefact's folder.
        kind: what it has to be.

    Returns:
        The ``meta`` mapping that was given when it was written.

    Raises:
        UsageError: there is no such artefact here.
        VersionError: it was written by a newer format.
        CorruptError: a file is missing, cut, or not the one that was written.
    """
    manifest = load_manifest(path, kind)
    for name, entry in manifest["files"].items():
        _check_file(path, name, entry, whole=False)
    meta = manifest["meta"]
    assert isinstance(meta, dict)
    return meta


def verify(path: Path) -> dict[str, int]:
    """Check every byte of an artefact against its MANIFEST.

    Returns:
        ``{"files": n, "bytes": m}`` of what was checked.

    Raises:
        UsageError: there is no artefact here.
        CorruptError: the first file that differs, with what was expected and what was found.
    """
    manifest = load_manifest(path, None)
    for name, entry in manifest["files"].items():
        _check_file(path, name, entry, whole=True)
    return {"files": len(manifest["files"]), "bytes": sum(entry["bytes"] for entry in manifest["files"].values())}


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


def sweep(parent: Path) -> None:
    """Remove temporary folders that a killed process left below ``parent``; call it while holding its lock."""
    for path in parent.glob(f"{disk.TEMPORARY}*"):
        pid = path.name.split(".")[-2] if path.name.count(".") >= 2 else ""
        if not (pid.isdigit() and Path(f"/proc/{pid}").exists() and int(pid) != os.getpid()):
            shutil.rmtree(path, ignore_errors=True)


def describe(path: Path, sha256: str) -> dict[str, Any]:
    """The MANIFEST entry of a file: its length, its sha256, and the sha256 of its two ends."""
    return {"bytes": path.stat().st_size, "sha256": sha256, "ends": _ends(path)}


def _ends(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        data = file.read(_EDGE)
        if size > _EDGE:
            file.seek(max(_EDGE, size - _EDGE))
            data += file.read()
    return hashlib.sha256(data).hexdigest()


def load_manifest(path: Path, kind: str | None) -> dict[str, Any]:
    """Read a MANIFEST without looking at the files that it describes.

    Raises:
        UsageError: there is no artefact here, or one of another kind (None takes any).
        VersionError: it was written by a newer format.
        CorruptError: the MANIFEST itself is damaged.
    """
    wanted = _one(kind or "artefact")
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; {wanted} of pretrieve was expected.")
    try:
        manifest = orjson.loads((path / MANIFEST).read_bytes())
        version, found = manifest["format"], manifest["kind"]
        assert isinstance(manifest["files"], dict)
        assert isinstance(manifest["meta"], dict)
    except FileNotFoundError:
        raise UsageError(f"{path} is not {wanted} of pretrieve, or was not finished (it has no {MANIFEST}).") from None
    except (ValueError, KeyError, TypeError, AssertionError):
        raise CorruptError(f"{path / MANIFEST} is damaged: restore the folder from a copy, or make it again.") from None
    if version > FORMAT:
        raise VersionError(f"{path} has format {version}; this version reads up to {FORMAT}: upgrade pretrieve.")
    if kind is not None and found != kind:
        raise UsageError(f"{path} is {_one(found)} of pretrieve; {wanted} was expected.")
    return dict(manifest)


def _one(kind: str) -> str:
    """Return a kind with its article: a model, an index."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _check_file(folder: Path, name: str, entry: Mapping[str, Any], *, whole: bool) -> None:
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise CorruptError(f"{folder / MANIFEST}: the name {name!r} points outside the folder.")
    if not path.is_file():
        raise CorruptError(f"{path} is missing: restore the folder from a copy, or make it again.")
    if path.stat().st_size != entry["bytes"]:
        raise CorruptError(f"{path}: expected {entry['bytes']} bytes, found {path.stat().st_size}: make it again.")
    key = "sha256" if whole else "ends"
    if whole:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        found = _ends(path)
    if found != entry[key]:
        raise CorruptError(
            f"{path}: expected sha256 {entry[key][:16]}, found {found[:16]}: it was changed; make it again."
        )


def _swap_in(temporary: Path, target: Path) -> None:
    disk.fault_point("rename", target)
    if target.exists() and any(target.iterdir()):
        disk.exchange(temporary, target)  # the old artefact is now in the temporary place, which is removed
    else:
        temporary.replace(target)
    disk.fault_point("fsync", target.parent)
    disk.sync_folder(target.parent)


def write_file(path: Path, data: bytes) -> None:
    """Write one file of the user's choice (a report, a run), whole or not at all.

    Raises:
        StorageError: the disk refused.
    """
    with create_file(path) as file:
        file.write(data)
