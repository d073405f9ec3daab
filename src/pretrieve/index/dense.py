"""Search over vectors: one product with the mapped matrix gives every score; of many, candidates come from faiss.

Parts of more than ``VectorOptions.exact_up_to`` vectors have approximate neighbours (``approximate.py``), whose
candidates are scored exactly; all others are searched exactly.

faiss's flat index reads the same bytes: it is faster for single queries in a warm process and slower for batches
(``benchmarks/speed_search.py``), but its import is a good part of a cold search, and its heap does not break ties by
id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.arrays import array_header
from pretrieve.core.errors import CorruptError, DataError, FingerprintError
from pretrieve.core.files import Folder
from pretrieve.core.numbers import each_once
from pretrieve.core.types import BoolArray, FloatArray, IntArray, TextEncoder
from pretrieve.index.approximate import Approximate
from pretrieve.index.compressed import Compressed, Vectors, compress, open_vectors
from pretrieve.index.ids import Members
from pretrieve.index.rankers import ROUGH, Best, completed, kept, remember, spread
from pretrieve.index.recall import Loss
from pretrieve.index.scoring import all_scores, best_scores, exact_places, pair_scores, ready
from pretrieve.index.vector_options import Dtype


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Vectors (R, D) of documents, or (R, V, D) with several vectors each, of length one where compared by cosine.

    Attributes:
        encoder: the model.
        parts: the vectors, one array for each part of the index.
        members: the documents; None: only ``scores`` and ``score_pairs`` can be used.
        near: approximate neighbours of each part; None where it is searched exactly. Empty: all are.
        notes: what is to be said of how they are stored and searched, for people.
    """

    encoder: TextEncoder
    parts: tuple[Vectors, ...]
    members: Members | None = None
    near: tuple[Approximate | None, ...] = ()
    notes: tuple[str, ...] = ()

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
        vectors = np.concatenate([ready(_encoded(encoder, part), encoder.similarity) for part in texts])
        return Dense(encoder=encoder, parts=(vectors,), members=members)

    @staticmethod
    def write(
        folder: Folder,
        name: str,
        encoder: TextEncoder,
        texts: Iterable[Sequence[str]],
        size: int,
        *,
        dtype: Dtype = "float32",
        loss: Loss | None = None,
    ) -> None:
        """Encode texts batch by batch into an array of an artefact, (size, D) or (size, V, D).

        Raises:
            DataError: the model gives values that are not finite.
            StorageError: writing to disk failed.
        """
        Dense.store(folder, name, encoder, (_encoded(encoder, part) for part in texts), size, dtype=dtype, loss=loss)

    @staticmethod
    def store(
        folder: Folder,
        name: str,
        encoder: TextEncoder,
        parts: Iterable[FloatArray],
        size: int,
        *,
        stored: bool = False,
        dtype: Dtype = "float32",
        loss: Loss | None = None,
    ) -> None:
        """Write vectors that are encoded already into an array of an artefact, as ``write`` does.

        Args:
            folder: of the artefact.
            name: of the array.
            encoder: the model that they are of.
            parts: (R, D) or (R, V, D), as the model gives them.
            size: the sum of all R.
            stored: they are as they are stored: of length one where compared by cosine.
            dtype: of the array; one of int8 has its scales beside it.
            loss: measures what the dtype costs.

        Raises:
            StorageError: writing to disk failed.
        """
        scales, written = [], 0
        with folder.open(name) as file:
            for part in parts:
                vectors = np.ascontiguousarray(part, np.float32) if stored else ready(part, encoder.similarity)
                packed = compress(vectors, dtype)
                if loss is not None:
                    loss.add(vectors, np.asarray(packed[:]))
                values = packed.values if isinstance(packed, Compressed) else packed
                assert isinstance(values, np.ndarray)
                if isinstance(packed, Compressed) and packed.scales is not None:
                    scales.append(packed.scales)
                if not written:
                    file.write(array_header(values.dtype, (size, *values.shape[1:])))
                file.write(values.reshape(-1).view(np.uint8).data)
                written += len(values)
            assert written == size
        if scales:
            folder.array(f"{name}.scales", np.concatenate(scales))

    @staticmethod
    def open(
        paths: Sequence[Path],
        encoder: TextEncoder,
        members: Members,
        *,
        facts: Sequence[Mapping[str, Any] | None] = (),
        notes: tuple[str, ...] = (),
    ) -> Dense:
        """Map the vectors of the parts of an index.

        Args:
            paths: of the vectors of each part.
            encoder: the model.
            members: the documents.
            facts: of each part, how its approximate neighbours are searched; None where it has none.
            notes: see ``Dense``.

        Raises:
            CorruptError: an array is damaged, or does not fit the documents.
            MissingExtraError: the index is approximate, and faiss is not installed.
        """
        parts = tuple(open_vectors(path) for path in paths)
        for path, vectors, ids in zip(paths, parts, members.parts, strict=True):
            if len(vectors) != len(ids) or vectors.shape[1:] != parts[0].shape[1:]:
                raise CorruptError(f"{path} does not fit the documents: make the index again.")
        if not parts:
            raise CorruptError("the documents of the index are missing: make the index again.")
        views = int(parts[0].shape[1]) if parts[0].ndim == 3 else 1
        near: tuple[Approximate | None, ...] = ()
        if any(facts):
            near = tuple(
                None if not one else Approximate.open(path, one, views, len(vectors))
                for path, vectors, one in zip(paths, parts, facts, strict=True)
            )
        return Dense(encoder=encoder, parts=parts, members=members, near=near, notes=notes)

    @property
    def vectors(self) -> FloatArray:
        """The vectors of all parts."""
        return np.asarray(
            self.parts[0][:] if len(self.parts) == 1 else np.concatenate([part[:] for part in self.parts])
        )

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
            return all_scores(asked, self.parts[0])
        return np.concatenate([all_scores(asked, part) for part in self.parts], axis=1)

    def top(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[Best]:
        """Find the n best documents for each query; see ``rankers.Ranker``."""
        assert self.members is not None
        found = self.candidates(queries, n, allowed)
        best = []  # scores are known where candidates were scored exactly
        for numbers, scores in zip(found, self.score_documents(queries, found), strict=True):
            places = self.members.best(numbers, scores, n)
            best.append((numbers[places], scores[places]))
        return best

    def candidates(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[IntArray]:
        """The documents of ``top``, in any order: the product is rough, those at the border are scored exactly."""
        assert self.members is not None
        if any(self.near):
            found = self._of_parts(self.queries(queries), n, self.members.may(allowed))
            remember(queries, (id(self), "exact"), found)
            return [numbers[self.members.best(numbers, scores, n)] for numbers, scores in found]
        may = self.members.may(allowed)
        chosen = None if may is None else np.flatnonzero(may)
        vectors = self.queries(queries)
        return [self._best(row, vector, n, chosen) for row, vector in zip(self._rough(queries), vectors, strict=True)]

    def _of_parts(self, queries: FloatArray, n: int, may: BoolArray | None) -> list[Best]:
        """Documents among which those of ``top`` are where a part is searched approximately, with their scores."""
        assert self.members is not None
        found: list[list[IntArray]] = [[] for _ in queries]
        for start, vectors, near in zip(self.members.starts.tolist(), self.parts, self.near, strict=False):
            own = None if may is None else may[start : start + len(vectors)]
            for row, some in zip(found, _of_part(queries, vectors, near, n, own), strict=True):
                row.append(start + some.astype(np.int64))
        numbers = [np.concatenate(row) for row in found]
        return [(some, self._exact(query, some)) for query, some in zip(queries, numbers, strict=True)]

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
        if any(self.near):
            return self.score_documents(queries, numbers)
        return [row[found] for row, found in zip(self._rough(queries), numbers, strict=True)]

    def score_documents(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """Score given documents for each query; see ``rankers.Ranker``."""
        vectors = self.queries(queries)

        def exact(some: Sequence[IntArray]) -> list[FloatArray]:
            return [self._exact(query, found) for query, found in zip(vectors, some, strict=True)]

        return completed(queries, (id(self), "exact"), numbers, exact)

    def score_itself(self, queries: Sequence[str]) -> FloatArray:
        """Score each query (Q,) as if a document said what it says."""
        return pair_scores(self.queries(queries), self.of_texts(queries))

    def moments(self, queries: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the scores of a sample of the documents, (Q,) each."""
        found = kept(queries, (id(self), "moments"), lambda: np.stack(self._moments(self.queries(queries)), axis=1))
        return found[:, 0], found[:, 1]

    def _moments(self, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
        """One query after the other: so its moments are the same bits, whatever is beside it."""
        found = [spread(best_scores(vector[None], self._sample)) for vector in vectors]
        means, deviations = (np.concatenate([moment[axis] for moment in found] or [np.zeros(0)]) for axis in (0, 1))
        return means, deviations

    @cached_property
    def _sample(self) -> FloatArray:
        assert self.members is not None
        return self.take(self.members.sample)

    def of_texts(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of texts, as those of documents are stored.

        Raises:
            DataError: the model gives values that are not finite.
        """
        return ready(_encoded(self.encoder, texts), self.encoder.similarity)

    def take(self, numbers: IntArray) -> FloatArray:
        """Vectors of given documents, by their numbers."""
        if len(self.parts) == 1:
            return np.asarray(self.parts[0][numbers])  # float32, however they are stored
        assert self.members is not None
        starts = self.members.starts
        owner = np.searchsorted(starts, numbers, "right") - 1
        found = np.empty((len(numbers), *self.parts[0].shape[1:]), np.float32)
        for part in each_once(owner).tolist():
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

    def queries(self, queries: Sequence[str]) -> FloatArray:
        """Vectors of queries, computed once for a batch."""
        return kept(queries, (id(self), "vectors"), lambda: self.encode(queries))

    def _rough(self, queries: Sequence[str]) -> FloatArray:
        """Scores of all documents for all queries, by a product in the order that BLAS likes."""

        def product() -> FloatArray:
            asked = self.queries(queries)
            if len(self.parts) == 1:
                return all_scores(asked, self.parts[0])
            return np.concatenate([all_scores(asked, part) for part in self.parts], axis=1)

        return kept(queries, (id(self), "scores"), product)

    def encode(self, queries: Sequence[str]) -> FloatArray:
        """Vectors (Q, D) of queries, ready to be multiplied with those of documents.

        Raises:
            FingerprintError: the documents' vectors have another size.
        """
        found = ready(self.encoder.encode_queries(list(queries)), self.encoder.similarity)
        if len(found) and found.shape[-1] != self.size:
            raise FingerprintError(
                f"{self.encoder.location} gives vectors of {found.shape[-1]} dimensions, and the documents' have "
                f"{self.size}: the model has changed since. Restore it, or index again."
            )
        return found

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> FloatArray:
        """Score text i for query i: (Q,) float32."""
        documents = ready(self.encoder.encode_documents(list(texts)), self.encoder.similarity)
        one = len(set(queries)) == 1  # which is encoded once
        vectors = self.encode(queries[:1] if one else queries)
        return pair_scores(np.broadcast_to(vectors, (len(queries), *vectors.shape[1:])) if one else vectors, documents)


def _of_part(
    queries: FloatArray, vectors: Vectors, near: Approximate | None, n: int, may: BoolArray | None
) -> list[IntArray]:
    """Places in a part among which the n best are: all of them, or as the neighbours find them."""
    if near is None or not near.serves(n, may):
        return exact_places(queries, vectors, n, may)
    found = near.find(queries, n, may)  # it serves: more than n are allowed
    for place, some in enumerate(found):
        if len(some) < n:  # the lists that were looked at hold too few
            (found[place],) = exact_places(queries[place : place + 1], vectors, n, may)
    return found


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
