"""Folders of static models: sentence-transformers' ``StaticEmbedding`` and model2vec's, read by NumPy alone.

Where the folder has ``modules.json``, its vectors are those of sentence-transformers. Without it only model2vec reads
the folder, and its rules hold: the token for unknown words is left out, and ``normalize`` is in ``config.json``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrieve.core.errors import CorruptError
from pretrieve.core.model_files import read_object
from pretrieve.core.types import FloatArray, IntArray
from pretrieve.models.model_kind import MODULES, SETTINGS, last, module_entries
from pretrieve.models.weight_files import SAFETENSORS, TORCH, header_of

_NESTED = "0_StaticEmbedding"
_MODULES = (["StaticEmbedding"], ["StaticEmbedding", "Normalize"])
_TABLES = ("embedding.weight", "embeddings")  # of sentence-transformers, of model2vec
_EXTRAS = {"mapping", "weights"}  # of model2vec: the row of each token, and its weight
_TYPES = {
    "F16": "<f2",
    "F32": "<f4",
    "F64": "<f8",
    "BF16": "<u2",
    "I8": "<i1",
    "I16": "<i2",
    "I32": "<i4",
    "I64": "<i8",
    "U8": "<u1",
}


@dataclass(frozen=True, kw_only=True)
class StaticFolder:
    """Where a static model is, and how its vectors are made.

    Attributes:
        inner: folder of its weights and tokenizer.
        normalise: whether vectors are normalised.
        without_unknown: whether the token for unknown words is left out.
    """

    inner: Path
    normalise: bool
    without_unknown: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class StaticWeights:
    """Weights of a static model: token t has the vector ``table[rows[t]] * weights[t]``.

    Attributes:
        table: (rows, D), memory-mapped where the file holds float32.
        rows: (V,) row of each token; None: the token's own.
        weights: (V,) float32; None: 1.
    """

    table: FloatArray
    rows: IntArray | None
    weights: FloatArray | None

    @property
    def vocabulary(self) -> int:
        """Number of tokens, V."""
        return len(self.table) if self.rows is None else len(self.rows)

    def folded(self) -> FloatArray:
        """One vector for each token, (V, D) float32."""
        folded = self.table if self.rows is None else self.table[self.rows]
        return np.asarray(folded if self.weights is None else folded * self.weights[:, None], np.float32)


def find_static(folder: Path) -> StaticFolder | None:
    """The static model of a folder, in any of its layouts; None for other models.

    Raises:
        CorruptError: ``modules.json`` cannot be read.
        ModelError: it is no list of modules.
    """
    if (folder / MODULES).is_file():
        modules = module_entries(folder)
        kinds = [last(kind) for kind, _ in modules]
        inner = modules[0][1] if kinds in _MODULES else None
        if inner is None or ((inner / TORCH).is_file() and not (inner / SAFETENSORS).is_file()):
            return None
        return StaticFolder(inner=inner, normalise=len(kinds) > 1, without_unknown=False)
    return _of_model2vec(folder)


def _of_model2vec(folder: Path) -> StaticFolder | None:
    config = read_object(folder / "config.json") if (folder / "config.json").is_file() else {}
    said = config.get("model_type") == "model2vec" or "StaticModel" in (config.get("architectures") or [])
    if not said and (config or not (folder / SETTINGS).is_file()):
        return None
    for inner in (folder, folder / _NESTED):
        if (inner / SAFETENSORS).is_file() and (inner / "tokenizer.json").is_file():
            return StaticFolder(inner=inner, normalise=bool(config.get("normalize")), without_unknown=True)
    return None


def read_static(inner: Path) -> StaticWeights:
    """Read the weights of a static model.

    Args:
        inner: ``StaticFolder.inner``.

    Raises:
        CorruptError: the file is damaged, or holds other tensors.
    """
    path = inner / SAFETENSORS
    _, entries = header_of(path)
    name = next((name for name in _TABLES if name in entries), None)
    extras = _EXTRAS if name == _TABLES[1] else set()
    if name is None or entries.keys() - extras - {name}:
        raise CorruptError(f"{path}: expected the tensor {' or '.join(_TABLES)}, found {', '.join(sorted(entries))}.")
    table = map_tensor(path, name)
    rows = np.asarray(_tensor(path, "mapping"), np.int64) if "mapping" in entries else None
    weights = np.asarray(_tensor(path, "weights"), np.float32) if "weights" in entries else None
    found = StaticWeights(table=table, rows=rows, weights=weights)
    wrong = rows is not None and (rows.ndim != 1 or not len(rows) or rows.min() < 0 or rows.max() >= len(table))
    if table.ndim != 2 or wrong or (weights is not None and weights.shape != (found.vocabulary,)):
        raise CorruptError(f"{path}: the tensors {', '.join(sorted(entries))} do not match: restore the model.")
    return found


def map_tensor(path: Path, name: str) -> FloatArray:
    """One tensor of a safetensors file as float32, memory-mapped where it is stored so.

    Raises:
        CorruptError: the file is cut, or has no such tensor.
    """
    return np.asanyarray(_tensor(path, name), np.float32)


def _tensor(path: Path, name: str) -> npt.NDArray[Any]:
    if not path.is_file():
        raise CorruptError(f"{path}: the tensor {name} cannot be read, as there is no such file: restore the model.")
    start, entries = header_of(path)
    try:
        entry = entries[name]
        (begin, end), shape = entry["data_offsets"], tuple(int(axis) for axis in entry["shape"])
        kind = np.dtype(_TYPES[entry["dtype"]])
        if end - begin != kind.itemsize * math.prod(shape):
            raise ValueError(f"{end - begin} bytes for {entry['dtype']} of shape {shape}")
        found: npt.NDArray[Any] = np.memmap(path, dtype=kind, mode="r", offset=start + begin, shape=shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{path}: the tensor {name} cannot be read ({error}): restore the model.") from None
    if entry["dtype"] == "BF16":  # the upper half of a float32
        return (found.astype(np.uint32) << 16).view(np.float32)
    return found
