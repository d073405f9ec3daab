"""Inference of an exported static model with NumPy alone: what a cold search loads in place of torch.

Returns what ``SentenceTransformer(folder).encode`` returns. The token vectors are memory-mapped.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import orjson
import tokenizers

from pretrieve.core.errors import CorruptError, FingerprintError, UsageError
from pretrieve.core.files import MANIFEST, fingerprint
from pretrieve.core.types import FloatArray, IntArray

_FEW = 16  # up to this many texts a loop is as fast as SciPy's product, without importing it
_LONG = 1 << 17  # tokens of a text above which each distinct one is read once
_TENSOR = "embedding.weight"
_MODULES = ({"StaticEmbedding"}, {"StaticEmbedding", "Normalize"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Bag:
    """A static model: texts in, vectors out.

    Attributes:
        vectors: token vectors (V, D), float32, memory-mapped.
        tokenizer: tokenizer of the model.
        prompts: prompt of a text, by task ("query", "document").
        normalise: whether to normalise vectors.
        similarity: how they are compared.
        fingerprint: identity of vectors and tokenizer.
        location: folder of the model.
        weight: weight of its vectors in the fusion with BM25, chosen in training; None if not chosen.
        passages: weight of BM25's best passage in the fusion, chosen in training.
    """

    vectors: FloatArray
    tokenizer: tokenizers.Tokenizer
    prompts: Mapping[str, str]
    normalise: bool
    similarity: Literal["dot", "cosine"]
    fingerprint: str
    location: str
    weight: float | None = None
    passages: float = 0.0

    @staticmethod
    def readable(folder: Path) -> bool:
        """Return whether a folder holds a static model that ``load`` can read."""
        return _module_names(folder) in _MODULES

    @staticmethod
    def load(folder: Path) -> Bag:
        """Open an exported static model.

        Raises:
            UsageError: the folder is no sentence-transformers model, or not a static one.
            CorruptError: its token vectors or its tokenizer cannot be read.
        """
        names = _module_names(folder)
        if names not in _MODULES:
            found = f"its modules are {', '.join(sorted(names))}" if names else "it has no modules.json"
            raise UsageError(f"{folder} is not a static sentence-transformers model: {found}.")
        inner = folder / _module_paths(folder)["StaticEmbedding"]
        vectors, tokenizer = map_tensor(inner / "model.safetensors", _TENSOR), _tokenizer(inner / "tokenizer.json")
        if tokenizer.get_vocab_size() > len(vectors):
            raise CorruptError(f"{folder}: tokenizer and vectors do not match: restore the model.")
        config = _read_json(folder / "config_sentence_transformers.json")
        chosen = _read_json(folder / MANIFEST).get("meta", {})
        return Bag(
            vectors=vectors,
            tokenizer=tokenizer,
            prompts={task: text for task, text in config.get("prompts", {}).items() if text},
            normalise="Normalize" in names,
            similarity="dot" if config.get("similarity_fn_name") == "dot" else "cosine",
            fingerprint=model_fingerprint(folder, [inner / "model.safetensors", inner / "tokenizer.json"]),
            location=str(folder),
            weight=chosen.get("weight"),
            passages=chosen.get("passages", 0.0),
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, and other processes, map the same files."""
        return _reopened, (Path(self.location).absolute(), self.location, self.fingerprint)

    def encode(self, texts: Sequence[str], prompt: str = "") -> FloatArray:
        """Encode R texts, each after the prompt: (R, D) float32; a text without a known token is zero."""
        inputs = [prompt + text for text in texts]
        encodings = self.tokenizer.encode_batch_fast(inputs, add_special_tokens=False)
        ids = [encoding.ids for encoding in encodings]
        sums = self._sum_few(ids) if len(ids) <= _FEW else self._sum_many(ids)
        if self.normalise:  # the length of the sum: that of the mean cancels
            scale = np.sqrt(np.einsum("rd,rd->r", sums, sums))
            scale[scale == 0] = 1
        else:
            scale = np.maximum([len(row) for row in ids], 1).astype(np.float32)
        sums /= scale[:, None]
        return sums

    def encode_queries(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (Q, D) of queries, with the model's prompt for them."""
        return self.encode(texts, self.prompts.get("query", ""))

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Vectors (R, D) of documents, with the model's prompt for them."""
        return self.encode(texts, self.prompts.get("document", ""))

    def _sum_few(self, ids: list[list[int]]) -> FloatArray:
        sums = np.zeros((len(ids), self.vectors.shape[1]), np.float32)
        for index, row in enumerate(ids):
            if len(row) > _LONG:  # gathering its vectors would take gigabytes
                tokens, counts = np.unique(row, return_counts=True)
                np.matmul(counts.astype(np.float32), self.vectors[tokens], out=sums[index])
            elif row:
                np.sum(self.vectors[row], axis=0, out=sums[index])
        return sums

    def _sum_many(self, ids: list[list[int]]) -> FloatArray:
        from scipy.sparse import csr_array  # imported here because the import takes longer than a query

        offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64)
        tokens: IntArray = np.fromiter(chain.from_iterable(ids), np.int64, count=int(offsets[-1]))
        ones = np.ones(len(tokens), np.float32)
        product: FloatArray = csr_array((ones, tokens, offsets), shape=(len(ids), len(self.vectors))) @ self.vectors
        return product


def _reopened(folder: Path, location: str, fingerprint: str) -> Bag:
    """The model that another process opened.

    Raises:
        UsageError: it is no longer there.
        FingerprintError: another one is there.
    """
    bag = Bag.load(folder)
    if bag.fingerprint != fingerprint:
        raise FingerprintError(f"{folder} holds model {bag.fingerprint}, but {fingerprint} was opened: open it again.")
    return replace(bag, location=location)


def third_ranker(folder: Path) -> tuple[Bag, float] | None:
    """The static model that was trained with a retrieval model, and its weight in the fusion; None without one.

    Raises:
        UsageError: the static model in the model's MANIFEST is missing.
        CorruptError: the file is damaged.
    """
    found = _read_json(folder / MANIFEST).get("meta", {}).get("third")
    return None if found is None else (Bag.load(folder / found["path"]), float(found["weight"]))


def map_tensor(path: Path, name: str) -> FloatArray:
    """Memory-map one float32 tensor of a safetensors file (8 bytes of header length, JSON header, raw data).

    Raises:
        CorruptError: the file is truncated, or has no such float32 tensor.
    """
    try:
        start, shape = _locate(path, name)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptError(f"{path}: the tensor {name} cannot be read ({error}): restore the model.") from None
    return np.memmap(path, dtype="<f4", mode="r", offset=start, shape=shape)


def _locate(path: Path, name: str) -> tuple[int, tuple[int, ...]]:
    """Where a float32 tensor starts in a safetensors file, and its shape."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            raise ValueError("the header is longer than the file")
        entry = orjson.loads(file.read(length))[name]
    begin, end = entry["data_offsets"]
    shape = tuple(int(axis) for axis in entry["shape"])
    if entry["dtype"] != "F32" or end - begin != 4 * math.prod(shape) or 8 + length + end > size:
        raise ValueError(f"dtype {entry['dtype']}, shape {shape}, {end - begin} bytes of {size}")
    return 8 + length + begin, shape


def model_fingerprint(folder: Path, parts: list[Path]) -> str:
    """Fingerprint of a model: a hash of the sha256 of the files that determine its vectors.

    Args:
        folder: the model's folder; its MANIFEST, where it has one, spares reading the files.
        parts: weights and tokenizer.
    """
    known = _read_json(folder / MANIFEST).get("files", {})
    names = [path.relative_to(folder).as_posix() for path in parts]
    return fingerprint(
        {
            name: known[name]["sha256"] if name in known else hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in zip(names, parts, strict=True)
        }
    )


def _tokenizer(path: Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises a bare Exception
        raise CorruptError(f"{path}: the tokenizer cannot be read ({error}): restore the model.") from None
    tokenizer.no_padding()
    return tokenizer


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return {}
    except ValueError:
        raise CorruptError(f"{path} is damaged: restore the model from a copy or train it again.") from None


def _module_paths(folder: Path) -> dict[str, str]:
    try:
        modules = orjson.loads((folder / "modules.json").read_bytes())
        return {module["type"].rsplit(".", 1)[-1]: module["path"] for module in modules}
    except OSError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorruptError(
            f"{folder / 'modules.json'} is damaged: restore the model from a copy or train it again."
        ) from None


def _module_names(folder: Path) -> set[str]:
    return set(_module_paths(folder))
