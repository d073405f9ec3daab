"""Documents of BEIR's collections, ``beir:NAME`` (extra ``ir``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pretrieve.text.named import named_records
from pretrieve.text.records import Fault, Record

SCHEME = "beir"
TABULAR = True


def read(name: str, limit: int, columns: Sequence[str] | None = None) -> Iterator[Record | Fault]:
    """Read the documents of a collection.

    Args:
        name: as ir_datasets calls it, without ``beir/``.
        limit: documents are as long as they are; not used.
        columns: not used: a collection names its fields.

    Raises:
        MissingExtraError: ir_datasets is not installed.
        UsageError: there is no such collection.
        DataError: it cannot be fetched or read.
    """
    return named_records(f"{SCHEME}:{name}")
