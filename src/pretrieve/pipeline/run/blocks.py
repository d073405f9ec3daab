"""Long work in blocks, each a file of JSON lines that is written when it is done: a killed run loses one block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.pipeline.run.progress import Listener


@dataclass(frozen=True)
class Blocks:
    """A folder of blocks, in order.

    Attributes:
        folder: where they lie; its name ends with ``.jsonl.parts``, which ``place.hold`` knows for work worth keeping.
        total: number of items.
        size: items of a block; the last one may have fewer.
    """

    folder: Path
    total: int
    size: int

    def run(self, make: Callable[[range], Iterable[object]], listener: Listener) -> None:
        """Make the blocks that are not there yet.

        Args:
            make: gives the JSON values of some items.
            listener: receives progress for every block, finished ones included.

        Raises:
            StorageError: writing to disk failed.
        """
        for items in self._ranges():
            path = self._path(items)
            if not path.is_file():
                files.write_file(path, b"".join(orjson.dumps(value) + b"\n" for value in make(items)))
            listener.advance(len(items))

    def done(self) -> bool:
        """Whether all blocks are there."""
        return all(self._path(items).is_file() for items in self._ranges())

    def data(self) -> Iterator[bytes]:
        """The contents of the blocks, in order."""
        for items in self._ranges():
            yield self._path(items).read_bytes()

    def values(self) -> Iterator[Any]:
        """The values of all blocks, in order."""
        for block in self.data():
            yield from map(orjson.loads, block.splitlines())

    def _ranges(self) -> Iterator[range]:
        for start in range(0, self.total, self.size):
            yield range(start, min(start + self.size, self.total))

    def _path(self, items: range) -> Path:
        return self.folder / f"{items.start:09d}.jsonl"
