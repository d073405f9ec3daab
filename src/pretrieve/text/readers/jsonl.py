"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from pretrieve.text.records import Fault, Record
from pretrieve.text.streams import lines, not_utf8

SUFFIXES = (".jsonl", ".ndjson")


def read(path: Path, limit: int) -> Iterator[Record | Fault]:
    """Read the objects of a file; blank lines are passed over.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line.
    """
    for item in lines(path, limit):
        if isinstance(item, Fault):
            yield item
        elif item[1].strip():
            yield _record(f"{path}:{item[0]}", item[1])


def recognises(head: bytes) -> bool:
    """Whether a file without a known suffix holds a JSON object a line."""
    return head.lstrip().startswith(b'{"')


def _record(where: str, line: bytes) -> Record | Fault:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _fault(where, line, error)
    if not isinstance(value, dict):
        return Fault(where, "not an object", f"a JSON {type(value).__name__}", line)
    return Record(where, value, line)


def _fault(where: str, line: bytes, error: orjson.JSONDecodeError) -> Fault:
    try:
        line.decode()
    except UnicodeDecodeError as decoding:
        return not_utf8(where, line, decoding)
    if "surrogate" in error.msg:
        return Fault(where, "lone surrogate", f"column {error.colno}", line)
    return Fault(where, "malformed JSON", f"{error.msg} at column {error.colno}", line)
