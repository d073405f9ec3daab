"""JSON: a list of objects, one object that holds or names them, one record, or one object after the other.

A file is read value by value, so that its size does not matter (``text/formats/json_records.py``).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from pretrieve.text.files.streams import DamagedStreamError, text_chunks
from pretrieve.text.formats.json_records import JsonFile
from pretrieve.text.readers import jsonl
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".json",)


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read the records of a file.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a record.
    """
    try:
        first = next((chunk for chunk in text_chunks(path) if not isinstance(chunk, Note)), b"")
        yield from jsonl.read(path, limit) if _is_lines(first) else JsonFile(path, limit).records()
    except DamagedStreamError as error:
        yield error.fault(f"{path}:1")


def recognises(head: bytes) -> bool:
    """Whether a file without a known suffix holds a list of JSON objects, or an object over several lines."""
    return head.split()[:2] == [b"[", b"{"] or head.lstrip().startswith((b"[{", b"{\n", b"{\r\n"))


def _is_lines(head: bytes) -> bool:
    """Whether a file holds an object a line: the first line is one, and another begins after it."""
    line, _, rest = head.lstrip().partition(b"\n")
    if not rest.lstrip().startswith(b"{"):
        return False
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False
