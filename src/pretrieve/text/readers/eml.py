"""Letters as mail programs save them (``.eml``), and pages as browsers save them with all parts (``.mht``)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.files.streams import whole
from pretrieve.text.formats import letters
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".eml", ".mht", ".mhtml")


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a letter: its subject is the title; a long one is cut to parts.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of the file.
    """
    data = whole(path, limit)
    if isinstance(data, Fault):
        yield data
    elif data.strip():
        yield from letters.records(data, path, f"{path}:1")
