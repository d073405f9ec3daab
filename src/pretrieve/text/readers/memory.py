"""Texts that a Python program gave to ``Retriever``, ``memory:NAME``; nothing on the command line."""

from __future__ import annotations

from collections.abc import Iterator

from pretrieve.text import memory
from pretrieve.text.records import Fault, Record

SCHEME = memory.SCHEME


def read(name: str, limit: int) -> Iterator[Record | Fault]:
    """Read the records that are held under a name.

    Args:
        name: the name.
        limit: records are as long as they are; not used.

    Raises:
        UsageError: nothing is held under it now.
    """
    yield from memory.held(name)
