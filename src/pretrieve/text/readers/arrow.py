"""Arrow files (IPC, Feather version 2), as files or as streams, which the ``datasets`` library keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pretrieve.text.formats.arrow import records, rows_at_once, rows_of, text_columns
from pretrieve.text.records import Fault, Record

SUFFIXES = (".arrow", ".feather")
TABULAR = True
_FILE = b"ARROW1"  # first bytes of a file; a stream has none


def read(path: Path, limit: int, columns: Sequence[str] | None = None) -> Iterator[Record | Fault]:
    """Read the rows of a file, batch by batch.

    Args:
        path: the file.
        limit: rows are as long as they are; not used.
        columns: not used: an Arrow file names its columns.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    return rows_of(path, _rows)


def _rows(path: Path, file: IO[bytes]) -> Iterator[Record | Fault]:
    import pyarrow as pa  # a tenth of a second: only for Arrow

    number = 0
    try:
        for batch in _batches(file, pa):
            chosen = batch.select(text_columns(batch.schema))
            rows = rows_at_once(chosen.num_rows, chosen.nbytes)
            for start in range(0, chosen.num_rows, rows):
                yield from records(path, chosen.slice(start, rows), number)
                number += min(rows, chosen.num_rows - start)
    except (pa.ArrowException, OSError) as error:
        yield Fault(f"{path}:{number + 1}", "damaged Arrow file", str(error).splitlines()[0])


def _batches(file: IO[bytes], pa: Any) -> Iterator[Any]:
    is_file = file.read(len(_FILE)) == _FILE
    file.seek(0)
    if not is_file:
        yield from pa.ipc.open_stream(file)
        return
    reader = pa.ipc.open_file(file)
    for place in range(reader.num_record_batches):
        yield reader.get_batch(place)
