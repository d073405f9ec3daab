"""Mailboxes (``.mbox``): every letter is a document; a file of any size is read letter by letter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.files.streams import lines
from pretrieve.text.formats import letters
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".mbox", ".mbx")
_BEGIN = re.compile(rb"From .*\d\d:\d\d.*\d{4}|From \S+ .*\d{4}")
_QUOTED = re.compile(rb">+From ")


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read the letters of a mailbox, in order.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a letter; a longer one is a fault.
    """
    number = 0
    for start, data in _letters(path, limit):
        if isinstance(data, Fault):
            yield data
        elif data.strip():
            number += 1
            yield from letters.records(data, path, f"{path}:{start}", f"{path}#{number}")


def recognises(head: bytes) -> bool:
    """Whether a file without a known suffix is a mailbox."""
    return _BEGIN.match(head) is not None


def _letters(path: Path, limit: int) -> Iterator[tuple[int, bytes | Fault]]:
    """The letters with the lines that they begin at; and what cannot be read, in its place."""
    letter: list[bytes] = []
    size, start, blank = 0, 1, True
    for item in lines(path, limit):
        if isinstance(item, Fault):
            yield start, item
            continue
        number, line = item
        if blank and _BEGIN.match(line):
            yield start, _letter(path, start, letter, size, limit)
            letter, size, start, blank = [], 0, number, False
            continue
        blank = not line
        size += len(line) + 1
        if size <= limit:
            letter.append(line[1:] if _QUOTED.match(line) else line)
    yield start, _letter(path, start, letter, size, limit)


def _letter(path: Path, start: int, letter: list[bytes], size: int, limit: int) -> bytes | Fault:
    if size > limit:
        return Fault(f"{path}:{start}", "too long", f"a letter of more than {limit:,} bytes", b"\n".join(letter)[:1000])
    return b"\n".join(letter)
