"""Records of Arrow tables, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pretrieve.core.extras import require
from pretrieve.text.files.streams import DamagedStreamError, seekable
from pretrieve.text.records import Fault, Record

_MOST_ROWS = 1024  # turned into Python objects at once
_BATCH_BYTES = 4 << 20


def rows_at_once(rows: int, size: int) -> int:
    """How many rows are held at once, by their mean size.

    Args:
        rows: number of rows of a part of a file.
        size: bytes of that part.
    """
    return max(1, min(_MOST_ROWS, _BATCH_BYTES * rows // max(1, size)))


def text_columns(schema: Any) -> list[str]:
    """Columns worth decoding: vectors, pictures and other nested values without text are left in the file."""
    return [column.name for column in schema if _has_text(column.type)]


def records(path: Path, batch: Any, before: int) -> Iterator[Record]:
    """The records of a batch.

    Args:
        path: the file, for messages.
        batch: rows with text columns alone.
        before: number of rows of the file before it.
    """
    names = batch.schema.names
    columns = [column.to_pylist() for column in batch.columns]
    for number, values in enumerate(zip(*columns, strict=True), start=before + 1):
        fields = dict(zip(names, values, strict=True))
        yield Record(f"{path}:{number}", fields, fields)


def _has_text(kind: Any) -> bool:
    import pyarrow as pa

    return not pa.types.is_nested(kind) or (bool(found := _leaves(kind)) and all(found))


def _leaves(kind: Any) -> list[bool]:
    """For each leaf of a nested type that is no number, whether it is text."""
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return _leaves(kind.value_type)
    if not pa.types.is_nested(kind):
        text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        return [text] if text or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) else []
    return [leaf for place in range(kind.num_fields) for leaf in _leaves(kind.field(place).type)]


def rows_of(path: Path, rows: Callable[[Path, IO[bytes]], Iterator[Record | Fault]]) -> Iterator[Record | Fault]:
    """Read the rows of a file that has to be read at any place.

    Args:
        path: the file.
        rows: reads the opened file.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    require("parquet", str(path))
    try:
        with seekable(path) as file:
            yield from rows(path, file)
    except DamagedStreamError as error:
        yield error.fault(f"{path}:1")
