"""Tab-separated values: one line is one record, and quotes are characters of the text.

Unless the first lines show that quotes hold cells together, as spreadsheets and most libraries write them.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from pretrieve.text.files.streams import not_utf8
from pretrieve.text.formats.dialect import dialect_of, is_quoted
from pretrieve.text.formats.table_lines import TableLines
from pretrieve.text.formats.tables import Table
from pretrieve.text.records import Fault, Note, Record

SUFFIXES = (".tsv", ".tab")
TABULAR = True
_SPAN = 1000  # most lines of a record: an unclosed quote ends here


def read(path: Path, limit: int, columns: Sequence[str] | None = None) -> Iterator[Record | Fault | Note]:
    """Read the rows of a file; blank lines are passed over.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line.
        columns: names of the columns, where the first line does not name them.
    """
    csv.field_size_limit(limit)
    source, table = TableLines(path, limit), Table(path, columns)
    head = source.head()
    dialect = dialect_of(head, "\t")
    if dialect.declared:
        source.drop_first()
    quoted = is_quoted(head, dialect.delimiter)
    while True:
        source.begin()
        line = next(source, None)
        cells = None if line is None or source.broken else _cells(line[:-1], dialect.delimiter, source, quoted=quoted)
        if source.has_faults:
            yield from source.faults()
        if line is None:
            return
        if cells is None or source.broken:
            yield _broken(f"{path}:{source.first}", source.retreat())
        elif table.begun and any(cells):
            yield table.record(cells, source.first)
        elif any(cells):
            yield from table.first_row(cells, source.first)


def _cells(line: str, delimiter: str, source: TableLines, *, quoted: bool) -> list[str]:
    """The cells of a line, and of those after it that belong to the same record."""
    if '"' in line and (quoted or ('""' in line and is_quoted([line], delimiter))):
        lines = itertools.chain([f"{line}\n"], itertools.islice(source, _SPAN))
        try:
            return next(csv.reader(lines, delimiter=delimiter, strict=True))
        except csv.Error:  # a quote that is a character of the text
            source.retreat()
            source.broken = False
    return line.split(delimiter)


def _broken(where: str, data: bytes) -> Fault:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return not_utf8(where, data, error)
    return Fault(where, "not UTF-8", "in a later line of the record", data)
