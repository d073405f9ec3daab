"""Lines of a table as the csv module wants them, some of which can be looked at before, or read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.text.files.streams import guessed_lines
from pretrieve.text.records import Fault, Note

_HEAD = 100  # lines looked at before reading begins
_HEAD_BYTES = 1 << 18


class TableLines:
    """Lines with their numbers; remembers where a record began, and faults met on the way.

    Bytes that are no UTF-8 become lone surrogates for the moment, so that only their own record is refused.

    Attributes:
        broken: the record that was begun has such bytes.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._lines, self._faults = guessed_lines(path, limit), list[Fault | Note]()
        self._record: list[tuple[int, bytes]] = []
        self._again: list[tuple[int, bytes]] = []  # in reverse
        self.broken = False

    @property
    def first(self) -> int:
        """Number of the line where the record began."""
        return self._record[0][0] if self._record else 0

    @property
    def has_faults(self) -> bool:
        """Whether faults or notes were met since they were last asked for."""
        return bool(self._faults)

    def head(self) -> list[str]:
        """The first lines, which are given again afterwards."""
        found: list[tuple[int, bytes]] = []
        size = 0
        while len(found) < _HEAD and size < _HEAD_BYTES and (item := self._next()) is not None:
            found.append(item)
            size += len(item[1])
        self._again = found[::-1]
        return [line.decode(errors="replace") for _, line in found]

    def drop_first(self) -> None:
        """Leave out the next line that is not blank."""
        while self._again and not self._again.pop()[1].strip():
            pass

    def begin(self) -> None:
        """A new record follows."""
        self._record.clear()
        self.broken = False

    def retreat(self) -> bytes:
        """Give back all lines of the record but the first, which is returned."""
        self._again += reversed(self._record[1:])
        return self._record[0][1]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        item = self._next()
        if item is None:
            raise StopIteration
        self._record.append(item)
        try:
            return item[1].decode() + "\n"
        except UnicodeDecodeError:
            self.broken = True
            return item[1].decode(errors="surrogateescape") + "\n"

    def faults(self) -> list[Fault | Note]:
        """Faults and notes since the last call."""
        found, self._faults = self._faults, []
        return found

    def _next(self) -> tuple[int, bytes] | None:
        if self._again:
            return self._again.pop()
        for item in self._lines:
            if not isinstance(item, Fault | Note):
                return item
            self._faults.append(item)
        return None
