"""Raw arrays on disk: a 128-byte header with dtype and shape, then the bytes; checked before anything is allocated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from pretrieve.core.blocks import Guard
from pretrieve.core.disk import storage
from pretrieve.core.errors import CorruptError
from pretrieve.core.manifest import guard_of

_HEADER = 128  # bytes of the header of a raw array


def array_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """The 128-byte header of a raw array (JSON, padded with spaces).

    Args:
        dtype: of the values, written little-endian.
        shape: a first axis of -1 means as many as the file holds, for an array that is streamed.
    """
    header = orjson.dumps({"magic": "pretrieve-array", "dtype": dtype.newbyteorder("<").str, "shape": list(shape)})
    assert len(header) < _HEADER
    return header.ljust(_HEADER - 1) + b"\n"


def load_array(path: Path, *, mmap: bool = True) -> npt.NDArray[Any]:
    """Open a raw array, memory-mapped read-only by default; the header is checked against the length first.

    Of an artefact that is being opened (``manifest.reading``), all bytes are checked.

    Raises:
        CorruptError: the header or the length is wrong, or the bytes are not those that were written.
    """
    opened = map_array(path)
    return opened.whole() if mmap else np.array(opened.whole())


@dataclass(frozen=True)
class MappedArray:
    """A raw array, memory-mapped read-only, whose bytes are checked before they are first read.

    Attributes:
        unchecked: the array.
        guard: checks its file; None: nothing is checked.
    """

    unchecked: npt.NDArray[Any]
    guard: Guard | None = None

    def __len__(self) -> int:
        return len(self.unchecked)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""
        return self.unchecked.shape

    @property
    def ndim(self) -> int:
        """Axes."""
        return self.unchecked.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.unchecked.dtype

    def __getitem__(self, rows: slice | npt.NDArray[np.integer]) -> npt.NDArray[Any]:
        """Consecutive rows, or those of some numbers (>= 0), checked."""
        if self.guard is not None:
            size = self.unchecked.itemsize * math.prod(self.unchecked.shape[1:])
            if isinstance(rows, slice):
                first, last, step = rows.indices(len(self))
                assert step == 1
                self.guard.touch(_HEADER + first * size, _HEADER + last * size)
            else:
                self.guard.touch_each(_HEADER + rows.astype(np.int64) * size, size)
        return self.unchecked[rows]

    def whole(self) -> npt.NDArray[Any]:
        """The array, checked."""
        if self.guard is not None:
            self.guard.all()
        return self.unchecked


def map_array(path: Path) -> MappedArray:
    """Open a raw array as ``load_array`` does; of an artefact that is being opened, only the header is checked yet.

    Raises:
        CorruptError: the header or the length is wrong, or the header is not the one that was written.
        StorageError: reading failed.
    """
    raw = _mapped(path)
    guard = guard_of(path, lambda start, count: raw[start : start + count].data)
    if guard is not None:
        guard.touch(0, _HEADER)
    try:
        header = orjson.loads(raw[:_HEADER].tobytes())
        dtype, shape = np.dtype(header["dtype"]), tuple(int(size) for size in header["shape"])
        if shape[:1] == (-1,):
            shape = ((len(raw) - _HEADER) // (dtype.itemsize * math.prod(shape[1:])), *shape[1:])
        count = math.prod(shape)  # Python integers: no overflow
        expected = _HEADER + count * dtype.itemsize
        if header["magic"] != "pretrieve-array" or dtype.hasobject or min(shape, default=0) < 0:
            raise ValueError("not an array of pretrieve")
    except (ValueError, KeyError, TypeError, ZeroDivisionError, OverflowError) as error:
        raise CorruptError(f"{path}: the header of the array cannot be read ({error}).") from None
    if len(raw) != expected:
        raise CorruptError(f"{path}: expected {expected} bytes, found {len(raw)}.")
    if count == 0:
        return MappedArray(np.zeros(shape, dtype))
    return MappedArray(raw[_HEADER:].view(dtype).reshape(shape), guard)


def check_bytes(path: Path) -> None:
    """Check a file that a library is about to read, of an artefact that is being opened.

    Raises:
        CorruptError: its bytes are not those that were written, or it is missing or empty.
        StorageError: reading failed.
    """
    raw = _mapped(path)
    guard = guard_of(path, lambda start, count: raw[start : start + count].data)
    if guard is not None:
        guard.all()


def _mapped(path: Path) -> npt.NDArray[np.uint8]:
    """The bytes of a file, memory-mapped read-only."""
    with storage(path):
        try:
            return np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
        except (FileNotFoundError, IsADirectoryError, ValueError) as error:
            raise CorruptError(f"{path}: it cannot be read ({error}).") from None
