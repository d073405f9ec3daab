"""The MANIFEST of an artefact: its files, with their lengths and hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import CorruptError, UsageError, VersionError

MANIFEST = "MANIFEST.json"
FORMAT = 1
_EDGE = 65536  # bytes hashed at each end of a file when it is opened; verify() hashes all of it


def read_manifest(path: Path, kind: str) -> dict[str, Any]:
    """Read the MANIFEST of an artefact, and check names, lengths and the ends of every file against it.

    Args:
        path: the artefact's folder.
        kind: required kind.

    Returns:
        The ``meta`` mapping given when it was written.

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
    expected_kind = _one(kind or "artefact")
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; {expected_kind} of pretrieve was expected.")
    try:
        manifest = orjson.loads((path / MANIFEST).read_bytes())
        version, found = manifest["format"], manifest["kind"]
        assert isinstance(manifest["files"], dict)
        assert isinstance(manifest["meta"], dict)
    except FileNotFoundError:
        raise UsageError(
            f"{path} is not {expected_kind} of pretrieve, or was not finished (it has no {MANIFEST})."
        ) from None
    except (ValueError, KeyError, TypeError, AssertionError):
        raise CorruptError(f"{path / MANIFEST} is damaged: restore the folder from a copy, or make it again.") from None
    if version > FORMAT:
        raise VersionError(f"{path} has format {version}; this version reads up to {FORMAT}: upgrade pretrieve.")
    if kind is not None and found != kind:
        raise UsageError(f"{path} is {_one(found)} of pretrieve; {expected_kind} was expected.")
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
