"""Exact search over vectors: one product with the mapped matrix gives every score.

faiss's flat index reads the same bytes: it is faster for single queries in a warm process and slower for batches
(``benchmarks/speed_search.py``), but its import is a good part of a cold search, and its heap does not break ties by
id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrieve.core.arrays import array_header, load_array
from pretrieve.core.errors import DataError, FingerprintError
from pretrieve.core.files import Folder
from pretrieve.core.types import FloatArray, TextEncoder


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Vectors (R, D) of documents, or (R, V, D) with several vectors each, of length one where compared by cosine."""

    encoder: TextEncoder
    vectors: FloatArray

    @staticmethod
    def build(encoder: TextEncoder, texts: Iterable[Sequence[str]]) -> Dense:
        """Encode texts in memory.

        Args:
            encoder: the model.
            texts: batches of texts.

        Raises:
            DataError: the model gives values that are not finite.
        """
        return Dense(
            encoder=encoder, vectors=np.concatenate([_ready(_encoded(encoder, part), encoder) for part in texts])
        )

    @staticmethod
    def write(folder: Folder, name: str, encoder: TextEncoder, texts: Iterable[Sequence[str]], size: int) -> None:
        """Encode texts batch by batch into an array of an artefact, (size, D) or (size, V, D) float32.

        Raises:
            DataError: the model gives values that are not finite.
            StorageError: writing to disk failed.
        """
        Dense.store(folder, name, encoder, (_encoded(encoder, part) for part in texts), size)

    @staticmethod
    def store(folder: Folder, name: str, encoder: TextEncoder, parts: Iterable[FloatArray], size: int) -> None:
        """Write vectors that are encoded already into an array of an artefact, as ``write`` does.

        Args:
            folder: of the artefact.
            name: of the array.
            encoder: the model that they are of.
            parts: (R, D) or (R, V, D), as the model gives them.
            size: the sum of all R.

        Raises:
            StorageError: writing to disk failed.
        """
        with folder.open(name) as file:
            written = 0
            for part in parts:
                vectors = _ready(part, encoder)
                if not written:
                    file.write(array_header(vectors.dtype, (size, *vectors.shape[1:])))
                file.write(vectors.view(np.uint8).data)
                written += len(vectors)
            assert written == size

    @staticmethod
    def open(path: Path, encoder: TextEncoder) -> Dense:
        """Map the vectors of an artefact.

        Raises:
            CorruptError: the array is damaged.
        """
        return Dense(encoder=encoder, vectors=np.asarray(load_array(path)))

    @property
    def views(self) -> int:
        """Vectors of a document, V."""
        return int(self.vectors.shape[1]) if self.vectors.ndim == 3 else 1

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Score every document for every query: (Q, R) float32."""
        return best_scores(self.encode(queries), self.vectors)

    def encode(self, queries: Sequence[str]) -> FloatArray:
        """Vectors (Q, D) of queries, ready to be multiplied with those of documents.

        Raises:
            FingerprintError: the documents' vectors have another size.
        """
        found = _ready(self.encoder.encode_queries(list(queries)), self.encoder)
        if len(found) and found.shape[-1] != self.vectors.shape[-1]:
            raise FingerprintError(
                f"{self.encoder.location} gives vectors of {found.shape[-1]} dimensions, and the documents' have "
                f"{self.vectors.shape[-1]}: the model has changed since. Restore it, or index again."
            )
        return found

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> FloatArray:
        """Score text i for query i: (Q,) float32."""
        documents = _ready(self.encoder.encode_documents(list(texts)), self.encoder)
        return pair_scores(self.encode(queries), documents)


def best_scores(queries: FloatArray, documents: FloatArray) -> FloatArray:
    """Score every document for every query by its best vector, exactly.

    Args:
        queries: (Q, D).
        documents: (R, D), or (R, V, D).

    Returns:
        (Q, R).
    """
    if documents.ndim == 2:
        return np.asarray(queries @ documents.T)
    count, views, size = documents.shape
    return np.asarray((queries @ documents.reshape(-1, size).T).reshape(-1, count, views).max(axis=2))


def pair_scores(queries: FloatArray, documents: FloatArray) -> FloatArray:
    """Score document i, (Q, D) or (Q, V, D), for query i, (Q, D): (Q,)."""
    if documents.ndim == 2:
        return np.asarray(np.einsum("qd,qd->q", queries, documents))
    return np.asarray(np.einsum("qd,qvd->qv", queries, documents).max(axis=1))


def check_finite(vectors: FloatArray, texts: Sequence[str], location: str) -> None:
    """Refuse vectors (R, D) or (R, V, D) of R texts with values that are not finite.

    Raises:
        DataError: names the model and the text.
    """
    if not np.isfinite(vectors).all():
        row = int(np.flatnonzero(~np.isfinite(vectors.reshape(len(vectors), -1)).all(1))[0])
        raise DataError(f"{location} gives values that are not finite, for the text {texts[row][:60]!r}.")


def _encoded(encoder: TextEncoder, texts: Sequence[str]) -> FloatArray:
    vectors = encoder.encode_documents(list(texts))
    check_finite(vectors, texts, encoder.location)
    return vectors


def _ready(vectors: FloatArray, encoder: TextEncoder) -> FloatArray:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if encoder.similarity == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return vectors
