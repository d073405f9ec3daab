"""Plain text: a file is a document; a very long one is cut between paragraphs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.files.decoding import is_binary
from pretrieve.text.files.streams import text_lines
from pretrieve.text.formats.outline import PART
from pretrieve.text.records import Fault, Mark, Note, Record

SUFFIXES = (".txt", ".text", ".asc")
GENERAL = True
_FORCED = 4 * PART  # characters after which even a paragraph is cut, at the end of a line


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document, or as parts of about 8,000 characters; a fault ends it.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line.
    """
    return cut(path, limit)


def cut(path: Path, limit: int, forced: int = _FORCED) -> Iterator[Record | Fault | Note]:
    """Read a file as one document, or as parts of about 8,000 characters; a fault ends it.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line.
        forced: characters after which a part ends at the next line, blank or not.
    """
    part: list[str] = []
    size = number = 0
    first = 1
    for item in text_lines(path, limit):
        if isinstance(item, Note):
            yield item
            continue
        if isinstance(item, Fault):
            yield item
            return
        line_number, line = item
        if (size > PART and not line.strip()) or size > forced:
            number += 1
            yield _record(path, first, number, part)
            part, size, first = [], 0, line_number
        part.append(line)
        size += len(line) + 1
    if part and (any(line.strip() for line in part) or not number):
        yield _record(path, first, number + 1 if number else 0, part)


def recognises(head: bytes) -> bool:
    """Whether a file without a known suffix is text."""
    return bool(head.strip()) and not is_binary(head)


def _record(path: Path, line: int, number: int, part: list[str]) -> Record:
    name = f"{path}#{number}" if number else str(path)
    parent = str(path) if number else ""
    fields = {"id": name, "text": "\n".join(part)}
    return Record(f"{path}:{line}", fields, fixed=True, marks=(Mark(0, line),), parent=parent)
