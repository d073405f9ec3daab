"""Comma-separated values (RFC 4180): the first line names the columns; quoted cells may hold line ends."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from pretrieve.text.records import Fault, Note, Record, row
from pretrieve.text.streams import guessed_lines

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
    source = _Lines(path, limit)
    reader = csv.reader(source, strict=True)
    header = None if columns is None else list(columns)
    while True:
        source.begin()
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield from source.faults()
            yield Fault(f"{path}:{source.first}", "malformed CSV", str(error), source.retreat())
            continue
        yield from source.faults()
        if cells is None:
            return
        if header is None:
            header = cells
        elif cells:
            yield _row(header, cells, f"{path}:{source.first}")


def _row(header: list[str], cells: list[str], where: str) -> Record | Fault:
    try:
        "".join(cells).encode()
    except UnicodeEncodeError:
        raw = [cell.encode(errors="surrogateescape").decode(errors="backslashreplace") for cell in cells]
        return Fault(where, "not UTF-8", raw=raw)
    return row(header, cells, where)


class _Lines:
    """Lines as the csv module wants them; remembers where a record began, and faults met on the way.

    Bytes that are no UTF-8 become lone surrogates for the moment, so that only their own record is refused.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._lines, self._faults = guessed_lines(path, limit), list[Fault | Note]()
        self._record: list[tuple[int, bytes]] = []
        self._again: list[tuple[int, bytes]] = []  # in reverse

    @property
    def first(self) -> int:
        """Number of the line where the record began."""
        return self._record[0][0] if self._record else 0

    def begin(self) -> None:
        """A new record follows."""
        self._record.clear()

    def retreat(self) -> bytes:
        """Give back all lines of the record but the first, which is returned."""
        self._again += reversed(self._record[1:])
        return self._record[0][1]

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        while True:
            item = self._again.pop() if self._again else next(self._lines)
            if not isinstance(item, Fault | Note):
                self._record.append(item)
                return item[1].decode(errors="surrogateescape") + "\n"
            self._faults.append(item)

    def faults(self) -> list[Fault | Note]:
        """Faults and notes since the last call."""
        found, self._faults = self._faults, []
        return found
