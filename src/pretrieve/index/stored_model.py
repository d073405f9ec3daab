"""The model of an index: its files in the index, or where they are.

A model in a folder is copied into the index, so that the index can be moved and copied by itself; with a link, the
index keeps the path of the folder from its own, so that both can be moved together. A model of the hub stays a name.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pretrieve.core.disk import storage
from pretrieve.core.errors import FingerprintError
from pretrieve.core.files import MANIFEST, Folder
from pretrieve.core.manifest import load_manifest, sha256_of
from pretrieve.core.model_files import CURVES, START

MODEL = "model"  # folder of the model in an index
_FINGERPRINTED = ("tokenizer.json", "vocab.json")  # the fingerprint of a model is of these and its weights
# Folders that are not read: other formats, the model before training, a tracker's files.
_OTHER = ("onnx", "openvino", START, CURVES)
_UNREAD = (".onnx", ".h5", ".msgpack", ".ot", ".gguf")
_WEIGHTS = (".bin", ".pt", ".pth")  # not copied where there are safetensors


def keep_model(folder: Folder, location: str, target: Path, *, link: bool) -> dict[str, Any]:
    """Copy a model into an index, or keep where it is.

    Args:
        folder: of the index.
        location: of the model: a folder or a name.
        target: where the index will be.
        link: keep the model's path from the index in place of its files.

    Returns:
        Facts that ``model_place`` reads: the location, for people, and the ``path`` from the index, if it has one; and
        hashes of the ``settings`` of a linked model without a MANIFEST of its own.

    Raises:
        StorageError: reading or writing failed.
    """
    model = Path(location)
    if not model.is_dir():
        return {"location": location}
    said = str(model.absolute())
    if link:
        own = {} if (model / MANIFEST).is_file() else {"settings": _settings(model, _names(model))}
        return {"location": said, "path": os.path.relpath(model.resolve(), target.resolve()), **own}
    for name in _files(model):
        with storage(model / name), (model / name).open("rb") as source, folder.open(f"{MODEL}/{name}") as copy:
            shutil.copyfileobj(source, copy, 1 << 22)
    return {"location": said, "path": MODEL}


def model_place(index: Path, facts: Mapping[str, Any]) -> str:
    """Where the model of an index is now: a folder, or a name on the hub.

    Args:
        index: the index's folder.
        facts: what ``keep_model`` returned.
    """
    return str(Path(os.path.normpath(index.resolve() / facts["path"]))) if "path" in facts else facts["location"]


def check_settings(index: Path, place: str, facts: Mapping[str, Any]) -> None:
    """Refuse a linked model whose settings have changed: its fingerprint does not know of prompts of queries.

    Args:
        index: the index's folder.
        place: where the model is.
        facts: what ``keep_model`` returned.

    Raises:
        FingerprintError: a file is another one; the text names it.
        StorageError: reading failed.
    """
    before = facts.get("settings", {})
    model = Path(place)
    if before and model.is_dir():
        now = _settings(model, [name for name in before if (model / name).is_file()])
        for name, digest in before.items():
            if now.get(name) != digest:
                raise FingerprintError(
                    f"{model / name} has changed since {index} was made with it: restore the model, or index again."
                )


def _names(model: Path) -> list[str]:
    return [name for name in _files(model) if Path(name).suffix == ".json" and Path(name).name not in _FINGERPRINTED]


def _settings(model: Path, names: Iterable[str]) -> dict[str, str]:
    with storage(model):
        return {name: sha256_of(model / name)[:16] for name in names}


def _files(model: Path) -> list[str]:
    """Names of a model's files: those of its MANIFEST, and all else that a model is read from, without hidden ones."""
    listed = [*load_manifest(model, None)["files"], MANIFEST] if (model / MANIFEST).is_file() else []
    found = [path.relative_to(model) for path in sorted(model.rglob("*")) if path.is_file()]
    names = [path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)]
    kept = [name for name in names if Path(name).parts[0] not in _OTHER and Path(name).suffix not in _UNREAD]
    whole = {str(Path(name).parent) for name in kept if name.endswith(".safetensors")}
    spare = {name for name in kept if Path(name).suffix in _WEIGHTS and str(Path(name).parent) in whole}
    return sorted({*listed, *(name for name in kept if name not in spare)})
