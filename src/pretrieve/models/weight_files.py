"""Files of weights, checked before a library reads them: there, whole, and what they are said to be. No torch.

Libraries raise something else for each kind of damage, or fill what is missing with random numbers.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import CorruptError, ModelError
from pretrieve.core.model_files import check_file, read_object

SAFETENSORS = "model.safetensors"
TORCH = "pytorch_model.bin"
_INDEX = ".index.json"
_ZIP = b"PK\x03\x04"
_OTHERS = {  # what other libraries read, by the names of its files
    "ONNX": ("*.onnx", "onnx/*.onnx"),
    "OpenVINO": ("openvino*.xml", "openvino/*.xml"),
    "TensorFlow": ("tf_model.h5", "*.h5"),
    "Flax": ("*.msgpack",),
    "llama.cpp": ("*.gguf",),
}


def check_weights(folder: Path) -> None:
    """Refuse a folder whose weights are not there, or not whole.

    Args:
        folder: of a module: ``model.safetensors`` or ``pytorch_model.bin``, or their shards with an index.

    Raises:
        ModelError: there are none, or a shard is missing.
        CorruptError: a file is cut, or is another than its name says.
    """
    for name in (SAFETENSORS, SAFETENSORS + _INDEX, TORCH, TORCH + _INDEX):  # the order of transformers
        if (folder / name).is_file():
            return _check_shards(folder / name) if name.endswith(_INDEX) else _check(folder / name)
    found = [kind for kind, patterns in _OTHERS.items() if any(any(folder.glob(pattern)) for pattern in patterns)]
    has = f"has weights for {' and '.join(found)} alone" if found else "has no weights"
    raise ModelError(f"{folder} {has}: {SAFETENSORS} (or {TORCH}) is missing. Download it, or save the model again.")


def header_of(path: Path) -> tuple[int, dict[str, Any]]:
    """Read the header of a safetensors file (8 bytes of its length, JSON, raw data) and check the file's length.

    Returns:
        Where the data starts, and ``dtype``, ``shape`` and ``data_offsets`` by name of tensor.

    Raises:
        CorruptError: it is cut, or no such file.
    """
    check_file(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            raise CorruptError(f"{path} is cut, or no safetensors file: download it again, or restore it from a copy.")
        data = file.read(length)
    try:
        entries = {name: entry for name, entry in orjson.loads(data).items() if name != "__metadata__"}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in entries.values()), default=0)
    except (ValueError, AttributeError, KeyError, TypeError, IndexError):
        raise CorruptError(f"{path}: its header is damaged: download it again, or restore it from a copy.") from None
    if end != size:
        raise CorruptError(f"{path} has {size:,} bytes of {end:,}: download it again, or restore it from a copy.")
    return 8 + length, entries


def _check(path: Path) -> None:
    if path.suffix == ".safetensors":
        header_of(path)
        return
    check_file(path)
    with path.open("rb") as file:
        packed = file.read(4) == _ZIP
    if packed and not zipfile.is_zipfile(path):
        raise CorruptError(f"{path} is cut: download it again, or restore it from a copy.")


def _check_shards(index: Path) -> None:
    shards = read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise CorruptError(f"{index} has no weight_map of files: restore the model from a copy.")
    files = sorted(set(shards.values()))
    missing = [name for name in files if not (index.parent / name).is_file()]
    if missing:
        raise ModelError(
            f"{index.parent}: {len(missing)} of {len(files)} files of its weights are missing, first {missing[0]}: "
            "download them, or restore the model from a copy."
        )
    for name in files:
        _check(index.parent / name)
