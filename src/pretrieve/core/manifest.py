"""The MANIFEST of an artefact: its files, with their lengths and hashes, and a checksum of itself.

``read_manifest`` compares lengths and the ends of all files. Within ``reading``, arrays are compared as they are opened
or first touched, block by block, and no file is read that the MANIFEST does not name. ``verify`` compares every byte.

MANIFESTs of earlier versions have no checksums of themselves and of blocks: they are read, except those of an index.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.blocks import DIGITS, BlockSums, Guard, Sums, block_count, pieces
from pretrieve.core.disk import TEMPORARY, set_aside
from pretrieve.core.errors import CorruptError, PretrieveError, UsageError, VersionError

MANIFEST = "MANIFEST.json"
FORMAT = 1
_EDGE = 65536  # bytes hashed at each end of a file when it is opened; verify() hashes all of it
_KEYS = {"format", "kind", "meta", "files"}
_CHECKSUM = "checksum"
_CHECKED = ("index",)  # kinds whose MANIFEST always has checksums
_HEX = re.compile(r"[0-9a-f]*")
_LOOKS, _BETWEEN_LOOKS = 20, 0.05  # at a folder that is being replaced; in seconds
_AGAIN = "restore the folder from a copy, or make it again."


def manifest_of(kind: str, meta: Mapping[str, Any], entries: Mapping[str, Mapping[str, Any]]) -> bytes:
    """The content of a MANIFEST.

    Args:
        kind: of the artefact.
        meta: facts to keep.
        entries: of its files, as ``describe`` gives them.
    """
    content = {"format": FORMAT, "kind": kind, "meta": dict(meta), "files": dict(sorted(entries.items()))}
    content = orjson.loads(_canonical(content))  # as it will be read: NumPy's numbers are numbers
    return _canonical({**content, _CHECKSUM: _checksum(content)})


def _canonical(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n"


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()


def describe(path: Path, sums: Sums) -> dict[str, Any]:
    """The MANIFEST entry of a file: its length, its sha256, that of its two ends, and the checksums of its blocks."""
    return {
        "bytes": path.stat().st_size,
        "sha256": sums.sha256.hexdigest(),
        "ends": _ends(path),
        "blocks": sums.blocks,
    }


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
    with reading(path, kind) as meta:
        return meta


def verify(path: Path) -> dict[str, int]:
    """Check every byte of an artefact against its MANIFEST.

    Returns:
        ``{"files": n, "bytes": m}`` of what was checked.

    Raises:
        UsageError: there is no artefact here.
        VersionError: it was written by a newer format.
        CorruptError: the first file that differs, with what was expected and what was found.
    """
    manifest = load_manifest(path, None)
    for name, entry in manifest["files"].items():
        _check_file(path, name, entry, "sha256")
    return {"files": len(manifest["files"]), "bytes": sum(entry["bytes"] for entry in manifest["files"].values())}


def check_entry(folder: Path, name: str, entry: Mapping[str, Any], *, whole: bool = True) -> None:
    """Compare a file with its MANIFEST entry, by what takes least time.

    Args:
        folder: of the artefact.
        name: of the file.
        entry: of the file.
        whole: compare all bytes, where an earlier version wrote no checksums of blocks; else the two ends.

    Raises:
        CorruptError: it is missing, cut, or not the one that was written.
    """
    _check_file(folder, name, entry, "blocks" if "blocks" in entry else "sha256" if whole else "ends")


def load_manifest(path: Path, kind: str | None) -> dict[str, Any]:
    """Read a MANIFEST without looking at the files that it describes.

    Raises:
        UsageError: there is no artefact here, or one of another kind (None takes any).
        VersionError: it was written by a newer format, or is an index of an earlier version.
        CorruptError: the MANIFEST itself is damaged.
    """
    expected_kind = named(kind or "artefact")
    if not _is_there(path):
        raise UsageError(f"{path}: no such folder; {expected_kind} of pretrieve was expected.")
    try:
        manifest = orjson.loads((path / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{path} is not {expected_kind} of pretrieve, or was not finished (it has no {MANIFEST})."
        ) from None
    except OSError as error:
        raise CorruptError(f"{path / MANIFEST} cannot be read ({error.strerror}): {_AGAIN}") from None
    except ValueError:
        raise CorruptError(f"{path / MANIFEST} is damaged (it is no JSON): {_AGAIN}") from None
    return _checked(path, manifest, kind)


def kind_of(path: Path) -> str | None:
    """The kind of an artefact; None for what pretrieve did not write.

    Args:
        path: a folder, or anything else.
    """
    try:
        return str(load_manifest(path, None)["kind"]) if (path / MANIFEST).is_file() else None
    except PretrieveError:
        return None


def _is_there(path: Path) -> bool:
    """Whether a folder is there; one that is being replaced in two steps (``disk.exchange``) is waited for.

    Raises:
        UsageError: it was being replaced when that process was killed.
    """
    for _ in range(_LOOKS):
        if path.is_dir():
            return True
        if not (aside := set_aside(path)).is_dir():
            return path.is_dir()  # it may have come back in between
        time.sleep(_BETWEEN_LOOKS)
    raise UsageError(f"{path} was being replaced when its process was killed: rename {aside} to {path.name}.")


def _checked(path: Path, manifest: Any, kind: str | None) -> dict[str, Any]:
    version = manifest.get("format") if isinstance(manifest, dict) else None
    if isinstance(version, int) and version > FORMAT:
        raise VersionError(f"{path} has format {version}; this version reads up to {FORMAT}: upgrade pretrieve.")
    if fault := _fault(manifest):
        raise CorruptError(f"{path / MANIFEST} is damaged ({fault}): {_AGAIN}")
    found = manifest["kind"]
    if kind is not None and found != kind:
        raise UsageError(f"{path} is {named(found)} of pretrieve; {named(kind)} was expected.")
    if kind in _CHECKED and _CHECKSUM not in manifest:
        raise VersionError(f"{path} was made by an earlier version of pretrieve: index the documents again.")
    outside = [name for name in manifest["files"] if Path(name).is_absolute() or ".." in Path(name).parts]
    if outside:
        raise CorruptError(f"{path / MANIFEST}: the name {outside[0]!r} points outside the folder.")
    return dict(manifest)


def _fault(manifest: Any) -> str:
    """What is wrong with a MANIFEST; empty for none."""
    if not isinstance(manifest, dict):
        return "it is no object"
    if manifest.keys() - {_CHECKSUM} != _KEYS:
        return f"it has the keys {', '.join(sorted(manifest))[:200]}"
    if _CHECKSUM in manifest:
        content = {key: value for key, value in manifest.items() if key != _CHECKSUM}
        if manifest[_CHECKSUM] != _checksum(content):
            return "its checksum is another one: it was changed"
    if not _is_count(manifest["format"]) or not isinstance(manifest["kind"], str) or not manifest["kind"]:
        return "it has no format or kind"
    if not isinstance(manifest["meta"], dict) or not isinstance(manifest["files"], dict):
        return "its meta or files is no object"
    wrong = next((name for name, entry in manifest["files"].items() if not name or not _is_entry(entry)), None)
    return "" if wrong is None else f"its entry {wrong!r} is none of a file"


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or not _is_count(entry.get("bytes")):
        return False
    lengths = {"sha256": 64, "ends": 64, "blocks": DIGITS * block_count(entry["bytes"])}
    found = {key: entry[key] for key in lengths if key in entry}
    return {"sha256", "ends"} <= found.keys() and all(
        isinstance(text, str) and len(text) == lengths[key] and _HEX.fullmatch(text) for key, text in found.items()
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def named(kind: str) -> str:
    """A kind with its article: a model, an index."""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _check_file(folder: Path, name: str, entry: Mapping[str, Any], key: str) -> None:
    path = folder / name
    try:
        if not path.is_file():
            raise CorruptError(f"{path} is missing: {_AGAIN}")
        if path.stat().st_size != entry["bytes"]:
            raise CorruptError(f"{path}: expected {entry['bytes']} bytes, found {path.stat().st_size}: make it again.")
        found = _ends(path) if key == "ends" else _whole(path, key)
    except (OSError, ValueError) as error:
        if isinstance(error, CorruptError):
            raise
        raise CorruptError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error}): {_AGAIN}") from None
    if found != entry[key]:
        at = next((at for at, pair in enumerate(zip(found, entry[key], strict=False)) if pair[0] != pair[1]), 0)
        start = at // DIGITS * DIGITS if key == "blocks" else 0
        said = "checksum" if key == "blocks" else "sha256"
        raise CorruptError(
            f"{path}: expected {said} {entry[key][start : start + 16]}, found {found[start : start + 16]}: it was "
            "changed; make it again."
        )


def sha256_of(path: Path) -> str:
    """The sha256 of a file, which is read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _whole(path: Path, key: str) -> str:
    if key == "sha256":
        return sha256_of(path)
    with path.open("rb") as file:
        sums = BlockSums()
        for data in pieces(file):
            sums.update(data)
        return sums.blocks


def _ends(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        data = file.read(_EDGE)
        if size > _EDGE:
            file.seek(max(_EDGE, size - _EDGE))
            data += file.read()
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class Artefact:
    """An artefact that is being opened.

    Attributes:
        path: its folder.
        entries: of its files.
    """

    path: Path
    entries: Mapping[str, Mapping[str, Any]]


_OPEN: ContextVar[tuple[Artefact, ...]] = ContextVar("open artefacts", default=())


@contextlib.contextmanager
def reading(path: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Open an artefact: what is opened below its folder within the block is checked against its MANIFEST.

    Args:
        path: the artefact's folder.
        kind: required kind.

    Yields:
        The ``meta`` mapping given when it was written.

    Raises:
        UsageError: there is no such artefact here.
        VersionError: it was written by a newer format.
        CorruptError: a file is missing, cut, or not the one that was written.
    """
    manifest = load_manifest(path, kind)
    for name, entry in manifest["files"].items():
        _check_file(path, name, entry, "ends")
    before = _OPEN.set((*_OPEN.get(), Artefact(path.absolute(), manifest["files"])))
    try:
        yield manifest["meta"]
    finally:
        _OPEN.reset(before)


def guard_of(path: Path, read: Callable[[int, int], bytes | memoryview]) -> Guard | None:
    """What checks an open file of the artefacts that are being opened; None for other files.

    Args:
        path: the file.
        read: returns bytes of it, from a place and as many.

    Raises:
        CorruptError: its artefact does not name it.
    """
    place = path.absolute()
    for artefact in reversed(_OPEN.get()):
        if place.is_relative_to(artefact.path):
            name = place.relative_to(artefact.path).as_posix()
            if name.startswith(TEMPORARY):  # what is being written for the next version
                return None
            entry = artefact.entries.get(name)
            if entry is None:
                raise CorruptError(f"{artefact.path / MANIFEST} does not name {path}, which is needed: {_AGAIN}")
            return Guard(path, entry["blocks"], read) if "blocks" in entry else None
    return None
