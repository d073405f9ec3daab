"""Exact search over vectors: one product with the mapped matrix gives every score.

faiss's flat index reads the same bytes: it is faster for single queries in a warm process and slower for batches
(``benchmarks/speed_search.py``), but its import is a good part of a cold search, and its heap does not break ties by
id.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from pretrieve.core.arrays import MappedArray, array_header, map_array
from pretrieve.core.errors import CorruptError, DataError, FingerprintError
from pretrieve.core.files import Folder
from pretrieve.core.types import BoolArray, FloatArray, IntArray, TextEncoder
from pretrieve.index.ids import Members
from pretrieve.index.rankers import ROUGH, Best, kept, spread

_LANES = 8  # queries of a product with the sample: of one shape always, so that a query's moments are the same bits


class _Mapped(Sequence[FloatArray]):
    """Mapped arrays; each is checked when it is first asked for."""

    def __init__(self, arrays: Sequence[MappedArray]) -> None:
        self._arrays = arrays

    def __len__(self) -> int:
        return len(self._arrays)

    @overload
    def __getitem__(self, at: int) -> FloatArray: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[FloatArray]: ...
    def __getitem__(self, at: int | slice) -> FloatArray | Sequence[FloatArray]:
        return _Mapped(self._arrays[at]) if isinstance(at, slice) else self._arrays[at].whole()


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Vectors (R, D) of documents, or (R, V, D) with several vectors each, of length one where compared by cosine.

    Attributes:
        encoder: the model.
        parts: the vectors, one array for each part of the index.
        members: the documents; None: only ``scores`` and ``score_pairs`` can be used.
    """

    encoder: TextEncoder
    parts: Sequence[FloatArray]
    members: Members | None = None

    @staticmethod
    def build(encoder: TextEncoder, texts: Iterable[Sequence[str]], members: Members | None = None) -> Dense:
        """Encode texts in memory.

        Args:
            encoder: the model.
            texts: batches of texts.
            members: the documents that they are of.

        Raises:
            DataError: the model gives values that are not finite.
        """
        vectors = np.concatenate([_ready(_encoded(encoder, part), encoder) for part in texts])
        return Dense(encoder=encoder, parts=(vectors,), members=members)

    @staticmethod
    def write(folder: Folder, name: str, encoder: TextEncoder, texts: Iterable[Sequence[str]], size: int) -> None:
        """Encode texts batch by batch into an array of an artefact, (size, D) or (size, V, D) float32.

        Raises:
            DataError: the model gives values that are not finite.
            StorageError: writing to disk failed.
        """
        Dense.store(folder, name, encoder, (_encoded(encoder, part) for part in texts), size)

    @staticmethod
    def store(
        folder: Folder, name: str, encoder: TextEncoder, parts: Iterable[FloatArray], size: int, *, ready: bool = False
    ) -> None:
        """Write vectors that are encoded already into an array of an artefact, as ``write`` does.

        Args:
            folder: of the artefact.
            name: of the array.
            encoder: the model that they are of.
            parts: (R, D) or (R, V, D), as the model gives them.
            size: the sum of all R.
            ready: they are as they are stored: of length one where compared by cosine.

        Raises:
            StorageError: writing to disk failed.
        """
        with folder.open(name) as file:
            written = 0
            for part in parts:
                vectors = np.ascontiguousarray(part, np.float32) if ready else _ready(part, encoder)
                if not written:
                    file.write(array_header(vectors.dtype, (size, *vectors.shape[1:])))
                file.write(vectors.view(np.uint8).data)
                written += len(vectors)
            assert written == size

    @staticmethod
    def open(paths: Sequence[Path], encoder: TextEncoder, members: Members) -> Dense:
        """Map the vectors of the parts of an index.

        Raises:
            CorruptError: an array is damaged, or does not fit the documents.
        """
        arrays = [map_array(path) for path in paths]
        for path, vectors, ids in zip(paths, arrays, members.parts, strict=True):
            if len(vectors) != len(ids) or vectors.shape[1:] != arrays[0].shape[1:]:
                raise CorruptError(f"{path} does not fit the documents: make the index again.")
        return Dense(encoder=encoder, parts=_Mapped(arrays), members=members)

    @property
    def vectors(self) -> FloatArray:
        """The vectors of all parts."""
        return self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)

    @property
    def views(self) -> int:
        """Vectors of a document, V."""
        return int(self.parts[0].shape[1]) if self.parts[0].ndim == 3 else 1

    @property
    def size(self) -> int:
        """Dimensions of a vector, D."""
        return int(self.parts[0].shape[-1])

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Score every document for every query: (Q, R) float32."""
        asked = self.encode(queries)
        if len(self.parts) == 1:
            return best_scores(asked, self.parts[0])
        return np.concatenate([best_scores(asked, part) for part in self.parts], axis=1)

    def top(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[Best]:
        """Find the n best documents for each query; see ``rankers.Ranker``."""
        assert self.members is not None
        found = self.candidates(queries, n, allowed)
        best = []
        for numbers, scores in zip(found, self.score_documents(queries, found), strict=True):
            places = self.members.best(numbers, scores, n)
            best.append((numbers[places], scores[places]))
        return best

    def candidates(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[IntArray]:
        """The documents of ``top``, in any order: the product is rough, those at the border are scored exactly."""
        assert self.members is not None
        may = self.members.may(allowed)
        chosen = None if may is None else np.flatnonzero(may)
        vectors = self._queries(queries)
        return [self._best(row, vector, n, chosen) for row, vector in zip(self._rough(queries), vectors, strict=True)]

    def _best(self, rough: FloatArray, query: FloatArray, n: int, chosen: IntArray | None) -> IntArray:
        assert self.members is not None
        values = rough if chosen is None else rough[chosen]
        if n >= len(values):
            return np.arange(len(values)) if chosen is None else chosen
        threshold = np.partition(values, len(values) - n)[len(values) - n]
        rounding = 2 * ROUGH * max(abs(float(values.max())), abs(float(values.min())))
        places = np.flatnonzero(values >= threshold - rounding)
        sure = values[places] > threshold + rounding
        numbers = places if chosen is None else chosen[places]
        above, near = numbers[sure], numbers[~sure]
        if len(numbers) > n:
            near = near[self.members.best(near, self._exact(query, near), n - len(above))]
        return np.concatenate([above, near])

    def rough_scores(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """Scores of given documents, by one product with all of them; see ``rankers.RoughRanker``."""
        return [row[found] for row, found in zip(self._rough(queries), numbers, strict=True)]

    def score_documents(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """Score given documents for each query; see ``rankers.Ranker``."""
        pairs = zip(self._queries(queries), numbers, strict=True)
        return [self._exact(query, found) for query, found in pairs]

    def moments(self, queries: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the scores of a sample of the documents, (Q,) each."""
        vectors = self._queries(queries)
        padded = np.zeros((-(-len(vectors) // _LANES) * _LANES, self.size), np.float32)
        padded[: len(vectors)] = vectors
        found = [spread(best_scores(part, self._sample)) for part in padded.reshape(-1, _LANES, self.size)]
        means, deviations = (np.concatenate([moment[axis] for moment in found] or [np.zeros(0)]) for axis in (0, 1))
        return means[: len(vectors)], deviations[: len(vectors)]

    @cached_property
    def _sample(self) -> FloatArray:
        assert self.members is not None
        return self.take(self.members.sample)

    def of_texts(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts, as those of documents are stored.

        Raises:
            DataError: the model gives values that are not finite.
        """
        return _ready(_encoded(self.encoder, texts), self.encoder)

    def take(self, numbers: IntArray) -> FloatArray:
        """Vectors of given documents, by their numbers."""
        if len(self.parts) == 1:
            return np.asarray(self.parts[0][numbers])
        assert self.members is not None
        starts = self.members.starts
        owner = np.searchsorted(starts, numbers, "right") - 1
        found = np.empty((len(numbers), *self.parts[0].shape[1:]), np.float32)
        for part in np.unique(owner).tolist():
            own = owner == part
            found[own] = self.parts[part][numbers[own] - starts[part]]
        return found

    def _exact(self, query: FloatArray, numbers: IntArray) -> FloatArray:
        """Scores that do not depend on a document's place; BLAS adds up in another order at its blocks' borders."""
        found = self.take(numbers)
        if found.ndim == 2:
            return np.asarray(np.einsum("rd,d->r", found, query))
        flat = found.reshape(-1, found.shape[-1])
        return np.asarray(np.einsum("rd,d->r", flat, query).reshape(found.shape[:2]).max(axis=1))

    def _queries(self, queries: Sequence[str]) -> FloatArray:
        return kept(queries, (id(self), "vectors"), lambda: self.encode(queries))

    def _rough(self, queries: Sequence[str]) -> FloatArray:
        """Scores of all documents for all queries, by a product in the order that BLAS likes."""

        def product() -> FloatArray:
            asked = self._queries(queries)
            if len(self.parts) == 1:
                return best_scores(asked, self.parts[0])
            return np.concatenate([best_scores(asked, part) for part in self.parts], axis=1)

        return kept(queries, (id(self), "scores"), product)

    def encode(self, queries: Sequence[str]) -> FloatArray:
        """Vectors (Q, D) of queries, ready to be multiplied with those of documents.

        Raises:
            FingerprintError: the documents' vectors have another size.
        """
        found = _ready(self.encoder.encode_queries(list(queries)), self.encoder)
        if len(found) and found.shape[-1] != self.size:
            raise FingerprintError(
                f"{self.encoder.location} gives vectors of {found.shape[-1]} dimensions, and the documents' have "
                f"{self.size}: the model has changed since. Restore it, or index again."
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
