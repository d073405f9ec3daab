"""Long computations in blocks, each saved as a file of JSON lines: an interrupted run loses at most one block."""

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
        folder: their folder; its name ends with ``.jsonl.parts``, which ``worth_resuming`` recognises.
        total: number of items.
        size: number of items of a block; the last one may have fewer.
    """

    folder: Path
    total: int
    size: int

    def run(self, make: Callable[[range], Iterable[object]], listener: Listener) -> None:
        """Compute the missing blocks.

        Args:
            make: function that returns the JSON values of some items.
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
        """Whether all blocks are finished."""
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
