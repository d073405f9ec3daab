"""Tab-separated values: the first line names the columns; no quoting, so one line is one record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pretrieve.text.records import Fault, Note, Record, row
from pretrieve.text.streams import text_lines

SUFFIXES = (".tsv",)
TABULAR = True


def read(path: Path, limit: int, columns: Sequence[str] | None = None) -> Iterator[Record | Fault | Note]:
    """Read the rows of a file; blank lines are passed over.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line.
        columns: names of the columns, where the first line does not name them.
    """
    header = None if columns is None else list(columns)
    for item in text_lines(path, limit):
        if isinstance(item, Fault | Note):
            yield item
        elif item[1].strip():
            cells = item[1].split("\t")
            if header is None:
                header = cells
            else:
                yield row(header, cells, f"{path}:{item[0]}")
