"""Comma-separated values (RFC 4180), also divided by semicolons, bars or tabs; quoted cells may hold line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from pretrieve.text.formats.dialect import dialect_of
from pretrieve.text.formats.table_lines import TableLines
from pretrieve.text.formats.tables import Table
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".csv",)
TABULAR = True


def read(path: Path, limit: int, columns: Sequence[str] | None = None) -> Iterator[Record | Fault | Note]:
    """Read the rows of a file; blank lines are passed over.

    A line whose quotes do not fit is a fault alone: what an unclosed quote swallowed is read again from the next line.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line, and of a cell.
        columns: names of the columns, where the first line does not name them.
    """
    csv.field_size_limit(limit)
    source, table = TableLines(path, limit), Table(path, columns)
    dialect = dialect_of(source.head(), ",")
    if dialect.declared:
        source.drop_first()
    reader = csv.reader(source, strict=True, delimiter=dialect.delimiter, skipinitialspace=dialect.spaced)
    while True:
        source.begin()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield from source.faults()
            yield Fault(f"{path}:{source.first}", "malformed CSV", str(error), source.retreat())
            continue
        if source.has_faults:
            yield from source.faults()
        if cells is None:
            return
        if source.broken:
            raw = [cell.encode(errors="surrogateescape").decode(errors="backslashreplace") for cell in cells]
            yield Fault(f"{path}:{source.first}", "not UTF-8", raw=raw)
        elif table.begun and cells:
            yield table.record(cells, source.first)
        elif cells:
            yield from table.first_row(cells, source.first)
