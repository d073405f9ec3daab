"""Rows of tables in text: from the names of the columns and the cells of a row to a record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pretrieve.text.formats.header import IGNORED, column_names, looks_like_data, names_the_columns
from pretrieve.text.records import Fault, Note, Record

HEADER_LEFT_OUT = "with a header that was passed over, since --columns names the columns"
REPEATED_NAMES = "with columns of the same name, numbered"


class Table:
    """The columns of one file, named by its first row or by the user.

    Args:
        path: the file, for messages.
        columns: names of the columns; one that is empty or ``-`` is not read. None: the first row names them.

    Attributes:
        begun: the first row was seen.
    """

    def __init__(self, path: Path, columns: Sequence[str] | None) -> None:
        self._path = path
        self.begun = False
        self._names = list(columns or ())
        self._given = columns is not None
        self._headerless = False

    def first_row(self, cells: list[str], line: int) -> Iterator[Record | Fault | Note]:
        """What the first row says about the file, and its record if it is one.

        Args:
            cells: the cells.
            line: number of the line where the row begins.
        """
        self.begun = True
        if self._given:
            if names_the_columns(cells, self._names):
                yield Note(str(self._path), HEADER_LEFT_OUT)
            else:
                yield self.record(cells, line)
        elif looks_like_data(cells):
            self._headerless = True
            self._names = [str(number) for number in range(1, len(cells) + 1)]
            yield self.record(cells, line)
        else:
            self._names, repeated = column_names(cells)
            if repeated:
                yield Note(str(self._path), REPEATED_NAMES, ", ".join(dict.fromkeys(repeated)))

    def record(self, cells: list[str], line: int) -> Record | Fault:
        """The record of a row; a row with another number of columns than the header is a fault.

        Empty cells after the last column are no columns: spreadsheets write them.
        """
        names = self._names
        where = f"{self._path}:{line}"
        if len(cells) > len(names) and not any(cells[len(names) :]):
            cells = cells[: len(names)]
        if len(cells) != len(names):
            return Fault(where, "wrong number of columns", f"expected {len(names)}, found {len(cells)}", cells)
        fields: dict[str, object] = dict(zip(names, cells, strict=True))
        if self._given:
            fields.pop("", None)
            fields.pop(IGNORED, None)
        return Record(where, fields, fields, headerless=self._headerless)
