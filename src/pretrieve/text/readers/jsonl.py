"""JSON Lines: one object a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from pretrieve.text.files.decoding import UTF8, by_mark
from pretrieve.text.files.parts import first_line
from pretrieve.text.files.streams import BOM, lines
from pretrieve.text.formats.json_records import JsonFile, json_fault
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".jsonl", ".ndjson", ".jsonlines")
_PRETTY = (b"{", b"[", b"[{")  # first lines of JSON that goes over several lines
NO_LINES = "with JSON over several lines, read as such"


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read the objects of a file; blank lines are passed over.

    A file whose first line is but an opening bracket is no JSON Lines; it is read as JSON.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line.
    """
    first = first_line(path) == 1
    for item in lines(path, limit):
        if isinstance(item, Fault):
            yield item
            continue
        number, line = item
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if not (stripped := line.strip()):
                continue
            if first and stripped in _PRETTY:
                yield Note(str(path), NO_LINES)
                yield from JsonFile(path, limit).records()
                return
            yield json_fault(f"{path}:{number}", line, error)
        else:
            yield (
                Record(f"{path}:{number}", value, line)
                if value.__class__ is dict
                else Fault(f"{path}:{number}", "not an object", f"a JSON {type(value).__name__}", line)
            )
        first = False


def recognises(head: bytes) -> bool:
    """Whether a file without a known suffix holds a JSON object a line."""
    return head.lstrip().startswith(b'{"')


def divides(head: bytes) -> bool:
    """Whether a file may be read in parts of whole lines, each by itself.

    Args:
        head: its first bytes, of which some are not blank.
    """
    encoding, line = by_mark(head), head.removeprefix(BOM).lstrip().partition(b"\n")[0].strip()
    return encoding in (None, UTF8) and line not in (b"", *_PRETTY)
