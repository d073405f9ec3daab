"""Parquet, by row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pretrieve.core.extras import require
from pretrieve.text.records import Fault, Record
from pretrieve.text.streams import DamagedStreamError, seekable

SUFFIXES = (".parquet",)
TABULAR = True
_ROWS = 256  # rows turned into Python objects at once


def read(path: Path, limit: int, columns: Sequence[str] | None = None) -> Iterator[Record | Fault]:
    """Read the rows of a file; one that is compressed as a whole is unpacked into a temporary file first.

    Args:
        path: the file.
        limit: rows are as long as they are; not used.
        columns: not used: a Parquet file names its columns.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    require("parquet", str(path))
    try:
        with seekable(path) as file:
            yield from _rows(path, file)
    except DamagedStreamError as error:
        yield error.fault(f"{path}:1")


def _rows(path: Path, file: IO[bytes]) -> Iterator[Record | Fault]:
    import pyarrow as pa  # a tenth of a second: only for Parquet
    import pyarrow.parquet as pq

    number = 0
    try:
        table = pq.ParquetFile(file, pre_buffer=False)
        for batch in table.iter_batches(_ROWS, columns=_text_columns(table.schema_arrow, pa), use_threads=False):
            for fields in batch.to_pylist():
                number += 1
                yield Record(f"{path}:{number}", fields, fields)
    except (pa.ArrowException, OSError) as error:
        yield Fault(f"{path}:{number + 1}", "damaged Parquet", str(error).splitlines()[0])


def _text_columns(schema: Any, pa: Any) -> list[str]:
    """Columns worth decoding: vectors and nested values are left in the file."""
    return [column.name for column in schema if not pa.types.is_nested(column.type)]
