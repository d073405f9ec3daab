"""Vectors in fewer bytes: float16, or int8 with a scale for each vector.

The scale of a vector depends on nothing else, and has 12 bits: a vector that is read and stored again is the same, so
that an updated index equals a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrieve.core.arrays import MappedArray, load_array, map_array
from pretrieve.core.errors import CorruptError
from pretrieve.core.types import Array, FloatArray, IntArray
from pretrieve.index.vector_options import Dtype

_BLOCK = 1 << 13  # documents whose vectors are float32 at once
_LARGEST = 127  # of int8; -128 is not used
_SPARE = 12  # bits of a float32's mantissa that a scale does not use


@dataclass(frozen=True)
class Compressed:
    """Vectors (R, D) or (R, V, D) on disk; what is read is float32.

    Attributes:
        values: float16 or int8.
        scales: (R,) or (R, V) of int8.
    """

    values: Array | MappedArray
    scales: FloatArray | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the vectors."""
        return self.values.shape

    @property
    def ndim(self) -> int:
        """Axes."""
        return self.values.ndim

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, chosen: IntArray | slice) -> FloatArray:
        found = self.values[chosen].astype(np.float32)
        return found if self.scales is None else found * self.scales[chosen][..., None]


Vectors = FloatArray | MappedArray | Compressed


def open_vectors(path: Path) -> Vectors:
    """Map vectors, which are checked as they are read; those of int8 have their scales beside them.

    Raises:
        CorruptError: an array is damaged, or does not fit the other.
    """
    values = map_array(path)
    if values.dtype == np.float32:
        return values
    if values.dtype == np.float16:
        return Compressed(values)
    scales = np.asarray(load_array(path.with_name(f"{path.name}.scales")))
    if values.dtype != np.int8 or scales.shape != values.shape[:-1]:
        raise CorruptError(f"{path} does not fit its scales: make the index again.")
    return Compressed(values, scales)


def compress(vectors: FloatArray, dtype: Dtype) -> Vectors:
    """Vectors as they are stored.

    Args:
        vectors: (R, D) or (R, V, D) float32.
        dtype: how.
    """
    if dtype == "float32":
        return vectors
    if dtype == "float16":
        largest = float(np.finfo(np.float16).max)
        return Compressed(np.clip(vectors, -largest, largest).astype(np.float16))
    scales = (np.abs(vectors).max(axis=-1, initial=0) / np.float32(_LARGEST)).astype(np.float32)
    bits = scales.view(np.uint32) + np.uint32(1 << (_SPARE - 1))
    scales = (bits & np.uint32(0xFFFFFFFF << _SPARE & 0xFFFFFFFF)).view(np.float32)
    steps = vectors / np.where(scales > 0, scales, np.float32(1))[..., None]
    return Compressed(np.clip(np.rint(steps), -_LARGEST, _LARGEST).astype(np.int8), scales)


def blocks(vectors: Vectors, size: int = _BLOCK) -> Iterator[tuple[int, FloatArray]]:
    """Consecutive vectors as float32: the place of the first, and the vectors of at most ``size`` documents."""
    for start in range(0, len(vectors), size):
        yield start, np.asarray(vectors[start : start + size])
