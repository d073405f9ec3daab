"""Raw arrays on disk: a 128-byte header with dtype and shape, then the bytes; checked before anything is allocated."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from pretrieve.core.errors import CorruptError

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

    Raises:
        CorruptError: the header or the length is wrong.
    """
    try:
        with path.open("rb") as file:
            header = orjson.loads(file.read(_HEADER))
        dtype, shape = np.dtype(header["dtype"]), tuple(int(size) for size in header["shape"])
        if shape[:1] == (-1,):
            shape = ((path.stat().st_size - _HEADER) // (dtype.itemsize * math.prod(shape[1:])), *shape[1:])
        count = math.prod(shape)  # Python integers: no overflow
        expected = _HEADER + count * dtype.itemsize
        if header["magic"] != "pretrieve-array" or dtype.hasobject or min(shape, default=0) < 0:
            raise ValueError("not an array of pretrieve")
    except (ValueError, KeyError, TypeError, ZeroDivisionError, OSError) as error:
        raise CorruptError(f"{path}: the header of the array cannot be read ({error}).") from None
    if path.stat().st_size != expected:
        raise CorruptError(f"{path}: expected {expected} bytes, found {path.stat().st_size}.")
    if count == 0:
        return np.zeros(shape, dtype)
    if mmap:
        return np.memmap(path, dtype=dtype, mode="r", offset=_HEADER, shape=shape)
    return np.fromfile(path, dtype=dtype, offset=_HEADER).reshape(shape)
