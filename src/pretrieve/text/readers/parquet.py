"""Parquet, by row groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from pretrieve.text.formats.arrow import records, rows_at_once, rows_of, text_columns
from pretrieve.text.records import Fault, Record

SUFFIXES = (".parquet", ".pq")
TABULAR = True
_BUFFER = 1 << 20  # bytes of a column that are read at once, whatever the size of its row group


def read(path: Path, limit: int, columns: Sequence[str] | None = None) -> Iterator[Record | Fault]:
    """Read the rows of a file; one that is compressed as a whole is unpacked into a temporary file first.

    Args:
        path: the file.
        limit: rows are as long as they are; not used.
        columns: not used: a Parquet file names its columns.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    return rows_of(path, _rows)


def _rows(path: Path, file: IO[bytes]) -> Iterator[Record | Fault]:
    import pyarrow as pa  # a tenth of a second: only for Parquet
    import pyarrow.parquet as pq

    number = 0
    try:
        table = pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER)
        groups = [table.metadata.row_group(place) for place in range(table.metadata.num_row_groups)]
        rows = min((rows_at_once(group.num_rows, group.total_byte_size) for group in groups), default=1)
        chosen = text_columns(table.schema_arrow)
        for batch in table.iter_batches(rows, columns=chosen, use_threads=False):
            yield from records(path, batch, number)
            number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        yield Fault(f"{path}:{number + 1}", "damaged Parquet", str(error).splitlines()[0])
