"""Configuration files, as text: one document, or parts of about 8,000 characters, titled by their path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.formats.outline import PART
from pretrieve.text.readers import txt
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf", ".properties")


def read(path: Path, limit: int) -> Iterator[Record | Fault | Note]:
    """Read a file as text; a fault ends it.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line.
    """
    return txt.cut(path, limit, forced=PART)
