"""The model behind an index: its identity, and the static one, which needs neither torch nor transformers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from pretrieve.core.errors import UsageError
from pretrieve.core.types import FloatArray
from pretrieve.index.dense import Similarity, TextEncoder

if TYPE_CHECKING:
    from pretrieve.models.bag import Bag

_PARTS = ("*.safetensors", "pytorch_model*.bin", "config*.json", "sentence_bert_config.json", "tokenizer*", "vocab*")
_EDGE = 65536  # bytes read at each end of a file: weights that were trained differ everywhere


def fingerprint_of(folder: Path) -> str:
    """Return the identity (16 hexadecimal digits) of a sentence-transformers model: weights, tokenizer, settings.

    Raises:
        UsageError: the folder is no model.
    """
    folders = [folder, *(folder / path for path in _module_paths(folder))]
    found = {path for place in folders for pattern in _PARTS for path in place.glob(pattern) if path.is_file()}
    if not found:
        raise UsageError(f"{folder} is not a model: it has no weights.")
    digest = hashlib.sha256()
    for path in sorted(found):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
        with path.open("rb") as file:
            digest.update(file.read(_EDGE))
            file.seek(max(0, size - _EDGE))
            digest.update(file.read())
    return digest.hexdigest()[:16]


def is_static(folder: Path) -> bool:
    """Whether a sentence-transformers folder holds a static model, which is searched without torch.

    Raises:
        UsageError: the folder is no model.
    """
    return any(module["type"].endswith("StaticEmbedding") for module in _modules(folder))


def open_static(folder: Path, index: Path) -> TextEncoder:
    """Open the static model that an index names.

    Raises:
        UsageError: it is gone, or it is not static and has to be given.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}, the model of {index}, is gone: give it with --model, or build the index again.")
    if not is_static(folder):
        raise UsageError(f"{folder}, the model of {index}, is a transformer: load it and give it.")
    return StaticTextEncoder(folder)


@dataclass(frozen=True)
class StaticTextEncoder:
    """A static model as an index sees it: no prompts, one forward for queries and documents."""

    folder: Path

    @cached_property
    def bag(self) -> Bag:
        """The token vectors, mapped, and the tokenizer."""
        from pretrieve.models.bag import Bag

        return Bag.load(self.folder)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of weights and tokenizer."""
        return fingerprint_of(self.folder)

    @property
    def similarity(self) -> Similarity:
        """How vectors are compared."""
        return self.bag.similarity

    @property
    def location(self) -> str:
        """Where the model is."""
        return str(self.folder.absolute())

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (Q, D) float32."""
        return self.bag.encode(texts)

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (R, D) float32."""
        return self.bag.encode(texts)


def _modules(folder: Path) -> list[dict[str, str]]:
    path = folder / "modules.json"
    if not path.is_file():
        raise UsageError(f"{folder} is not a sentence-transformers model: it has no modules.json.")
    try:
        modules = orjson.loads(path.read_bytes())
        return [{"type": str(module["type"]), "path": str(module["path"])} for module in modules]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read ({error}).") from None


def _module_paths(folder: Path) -> list[str]:
    if not (folder / "modules.json").is_file():
        return []
    return sorted({module["path"] for module in _modules(folder)} - {""})
