"""JSON: one record a line, or one array or object a file, whatever the file's suffix says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import DataError
from pretrieve.text.files.streams import lines, not_utf8, stem
from pretrieve.text.records import Fault

_WHOLE = 1 << 36  # bytes of a line of a file that is one value
_SUFFIXES = (".jsonl", ".ndjson", ".json", ".jl")
_OPENED = (b"[", b"{", b"[{")  # the first line of a value on several lines

Value = tuple[Any, str, object]  # value, where, raw


def read(path: Path, limit: int) -> Iterator[Value | Fault]:
    """Read the values of a file: each line's, or the entries of an array, or the one object that it is.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line, where each line is a record.

    Raises:
        DataError: it is not JSON by its suffix and its first bytes.
    """
    _check_kind(path, limit)
    if _is_whole(path, limit):
        yield from _entries(path)
        return
    for item in lines(path, limit):
        if isinstance(item, Fault):
            yield item
        elif item[1].strip():
            yield _loaded(item[1], f"{path}:{item[0]}")


def _check_kind(path: Path, limit: int) -> None:
    """Refuse a file that is not JSON by its suffix and its first bytes.

    Raises:
        DataError: it is not.
    """
    if stem(path)[1] in _SUFFIXES:
        return
    for item in lines(path, limit):
        start = item.raw if isinstance(item, Fault) else item[1]
        if not isinstance(start, bytes) or not start.strip():
            continue
        if not start.lstrip().startswith((b"{", b"[")):
            raise DataError(f"{path}: no labels: JSONL, JSON, CSV, TSV, Parquet or a BEIR folder are (docs/labels.md).")
        return


def _is_whole(path: Path, limit: int) -> bool:
    """Whether the file is one value: its first line is an array of objects, or not complete."""
    written = stem(path)[1] == ".json"
    for item in lines(path, limit):
        if isinstance(item, Fault):
            return written
        line = item[1].strip()
        if line:
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError:
                return written or line in _OPENED or line.startswith(b"[")
            return isinstance(value, list) and (not value or any(isinstance(one, list | dict) for one in value))
    return False


def _entries(path: Path) -> Iterator[Value | Fault]:
    parts: list[bytes] = []
    for item in lines(path, _WHOLE):
        if isinstance(item, Fault):
            yield item
            return
        parts.append(item[1])
    loaded = _loaded(b"\n".join(parts), str(path))
    if isinstance(loaded, Fault) or not isinstance(loaded[0], list):
        yield loaded
        return
    yield from ((value, f"{path}, entry {number}", value) for number, value in enumerate(loaded[0]))


def _loaded(data: bytes, where: str) -> Value | Fault:
    try:
        return orjson.loads(data), where, data[:1000] if len(data) > 1 << 20 else data
    except orjson.JSONDecodeError as error:
        try:
            data.decode()
        except UnicodeDecodeError as decoding:
            return not_utf8(where, data, decoding)
        return Fault(where, "malformed JSON", f"{error.msg} at line {error.lineno}, column {error.colno}", data[:1000])
