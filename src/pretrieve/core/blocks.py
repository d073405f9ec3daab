"""Checksums of files in blocks of 1 MiB: made while a file is written, checked before a block is first read.

XXH3 with 64 bits finds damage; whoever wants to deceive is not kept off by it. It takes a hundredth of the time of
sha256, by which ``verify`` compares whole files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import xxhash

from pretrieve.core.errors import CorruptError

BLOCK = 1 << 20
DIGITS = 16  # hexadecimal digits of a block's checksum


class BlockSums:
    """The checksums of the blocks of a stream of bytes."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._block, self._size = xxhash.xxh3_64(), 0

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        view = memoryview(data)
        view = view.cast("B") if view.nbytes else memoryview(b"")
        while len(view):
            piece = view[: BLOCK - self._size]
            self._block.update(piece)
            self._size += len(piece)
            view = view[len(piece) :]
            if self._size == BLOCK:
                self._end()

    @property
    def blocks(self) -> str:
        """Checksums of the blocks, one behind the other; call it when there is no more to add."""
        if self._size:
            self._end()
        return "".join(self._done)

    def _end(self) -> None:
        self._done.append(self._block.hexdigest())
        self._block, self._size = xxhash.xxh3_64(), 0


class Sums(BlockSums):
    """The sha256 of a stream of bytes too."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()

    def update(self, data: bytes | memoryview) -> None:
        """Add bytes."""
        self.sha256.update(data)
        super().update(data)


def pieces(file: BinaryIO) -> Iterator[bytes]:
    """The rest of a file, in blocks."""
    while data := file.read(BLOCK):
        yield data


def block_count(size: int) -> int:
    """Blocks of a file of some bytes."""
    return -(-size // BLOCK)


class Guard:
    """Checks the blocks of an open file before they are first read.

    Args:
        path: the file, for messages.
        blocks: their checksums, as ``Sums.blocks``.
        read: returns bytes of the file, from a place and as many.
    """

    def __init__(self, path: Path, blocks: str, read: Callable[[int, int], bytes | memoryview]) -> None:
        self._path, self._blocks, self._read = path, blocks, read
        self._left = np.ones(len(blocks) // DIGITS, bool)

    def touch(self, start: int, stop: int) -> None:
        """Check the blocks of bytes ``start`` to ``stop``, exclusive, that were not checked before.

        Raises:
            CorruptError: a block is not the one that was written.
        """
        if stop > start:
            first = start // BLOCK
            for at in np.flatnonzero(self._left[first : -(-stop // BLOCK)]).tolist():
                self._check(first + at)

    def touch_each(self, starts: npt.NDArray[np.integer], size: int) -> None:
        """Check the blocks of some places of ``size`` bytes that were not checked before.

        Args:
            starts: where each begins.
            size: bytes of each.

        Raises:
            CorruptError: a block is not the one that was written.
        """
        if size < 1 or not self._left.any():
            return
        spans = -(-size // BLOCK) + 1  # blocks that a place may reach into
        reached = (starts[:, None] // BLOCK) + np.arange(spans)
        reached = np.unique(reached[reached * BLOCK < starts[:, None] + size])
        for at in reached[self._left[reached]].tolist():
            self._check(at)

    def all(self) -> None:
        """Check all blocks that were not checked before.

        Raises:
            CorruptError: a block is not the one that was written.
        """
        self.touch(0, len(self._left) * BLOCK)

    def _check(self, at: int) -> None:
        expected = self._blocks[at * DIGITS : (at + 1) * DIGITS]
        found = xxhash.xxh3_64_hexdigest(self._read(at * BLOCK, BLOCK))
        if found != expected:
            raise CorruptError(
                f"{self._path}: bytes {at * BLOCK:,} to {(at + 1) * BLOCK:,} have the checksum {found} and had "
                f"{expected} when they were written: restore the folder from a copy, or make it again."
            )
        self._left[at] = False
