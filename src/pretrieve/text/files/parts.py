"""Parts of a file of lines, each read as a file of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True, slots=True)
class FilePart:
    """Some whole lines of a text file on disk, as a file of their own.

    Attributes:
        path: the file.
        start: first byte.
        stop: one past the last byte.
        line: number of the first line.
    """

    path: Path
    start: int
    stop: int
    line: int

    def __str__(self) -> str:
        """The name of the file."""
        return str(self.path)

    @property
    def suffix(self) -> str:
        """Suffix of the file."""
        return self.path.suffix

    @property
    def stem(self) -> str:
        """Name of the file without suffix."""
        return self.path.stem

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.name

    def open(self, mode: str = "rb") -> _Window:
        """Open it for reading bytes."""
        file = self.path.open("rb")
        file.seek(self.start)
        return _Window(file, self.stop - self.start)


class _Window:
    """The next bytes of an open file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def __enter__(self) -> _Window:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        self._left -= len(data)
        return data


def first_line(path: object) -> int:
    """Number of the first line of a file: 1, but for a part of one."""
    return path.line if isinstance(path, FilePart) else 1


def parts_of(path: Path, size: int) -> Iterator[FilePart]:
    """A file in parts of whole lines.

    Args:
        path: the file.
        size: bytes of a part, roughly.
    """
    start, stop, line = 0, 0, 1
    try:
        with path.open("rb") as file:
            while block := file.read(size):
                end = stop + block.rfind(b"\n") + 1
                stop += len(block)
                if end > stop - len(block):
                    yield FilePart(path, start, end, line)
                    start, line = end, line + block.count(b"\n")
    except OSError:
        stop = sys.maxsize  # the reader of the part fails as well, and says why
    if stop > start:
        yield FilePart(path, start, stop, line)
