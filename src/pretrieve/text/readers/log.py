"""Logs: lines as they are, in parts of about 8,000 characters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats.outline import PART
from pretrieve.text.readers import txt
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".log", ".out", ".err")


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as one document, or as parts; a fault ends it.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line.
    """
    return txt.cut(path, limit, forced=PART)
