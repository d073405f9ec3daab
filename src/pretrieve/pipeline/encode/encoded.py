"""Vectors that ``encode`` wrote, as an index takes them: of these documents, by this model, and all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrieve.core.errors import FingerprintError, UsageError
from pretrieve.core.shards import shard_name
from pretrieve.core.types import FloatArray, TextEncoder
from pretrieve.pipeline.encode.shards import (
    check_documents,
    check_same,
    facts_of,
    numbers_in,
    read_meta,
    read_shard,
    refuse_missing,
)
from pretrieve.pipeline.run.progress import Listener
from pretrieve.text.documents import Documents

_ROWS = 1024  # vectors that are copied at once


@dataclass(frozen=True)
class EncodedVectors:
    """A folder of shards of one model.

    Attributes:
        folder: their folder.
        numbers: of the shards that are there.
        shard_size: documents of a shard.
    """

    folder: Path
    numbers: frozenset[int]
    shard_size: int

    @staticmethod
    def open(
        folder: Path, encoder: TextEncoder, model: str, listener: Listener, *, passages: int = 0
    ) -> EncodedVectors:
        """Check that a folder holds documents' vectors by a model.

        Args:
            folder: what ``encode`` wrote.
            encoder: the model.
            model: its name.
            listener: is told of half precision.
            passages: words of the passages that documents are cut into; 0: they are not.

        Raises:
            UsageError: there are no vectors, or those of queries.
            FingerprintError: they are of another model, or of documents that are cut otherwise.
        """
        numbers = numbers_in(folder)
        if not numbers:
            raise UsageError(f"{folder} holds no vectors: write them with `pretrieve encode`.")
        first = read_meta(folder / shard_name(numbers[0]))
        if first["kind"] == "queries":
            raise UsageError(f"{folder} holds vectors of queries: encode the documents, without --queries.")
        same = {name: first[name] for name in ("format", "dtype", "shard_size")}
        check_same(folder, numbers, facts_of(encoder, queries=False, passages=passages) | same, model)
        if first["dtype"] == "float16":
            listener.note(f"{folder} holds float16: scores differ from those of float32 in the fourth digit.")
        return EncodedVectors(folder, frozenset(numbers), first["shard_size"])

    def checked(self, documents: Documents) -> Callable[[Documents], Iterator[FloatArray]]:
        """Check that every document has its vector here, by the fingerprints of the shards; no vector is read.

        Returns:
            ``vectors``, to be read.

        Raises:
            DataError: shards are missing; the text names them.
            FingerprintError: the vectors are of other documents.
        """
        size = self.shard_size
        total = -(-len(documents) // size)
        missing = [shard_name(number) for number in range(total) if number not in self.numbers]
        refuse_missing(self.folder, missing, total, size)
        if more := sorted(self.numbers - set(range(total))):
            raise FingerprintError(
                f"{self.folder / shard_name(more[0])} is of documents that the sources do not have: there are "
                f"{len(documents):,}. Give the sources that were encoded, or encode again."
            )
        for number in range(total):
            path, last = self.folder / shard_name(number), min(len(documents), (number + 1) * size)
            found = documents.digest(number * size, last)
            check_documents(path, read_meta(path), found, last - number * size)
        return self.vectors

    def vectors(self, documents: Documents) -> Iterator[FloatArray]:
        """The vectors of the documents, in order, some at a time; every byte of a shard is checked before.

        Args:
            documents: those that ``checked`` accepted, or the same elsewhere.

        Raises:
            CorruptError: a shard is damaged.
            FingerprintError: an id is another one.
        """
        for number in range(len(self.numbers)):
            shard = read_shard(self.folder / shard_name(number))
            self._check_ids(number, shard.ids, documents)
            for start in range(0, len(shard.ids), _ROWS):
                yield shard.vectors[start : start + _ROWS]

    def _check_ids(self, number: int, ids: list[str], documents: Documents) -> None:
        first = number * self.shard_size
        chosen = np.arange(first, first + len(ids))
        given = (document.id for batch in documents.batches(select=chosen) for document in batch)
        for place, (found, expected) in enumerate(zip(ids, given, strict=True), first):
            if found != expected:
                raise FingerprintError(
                    f"{self.folder / shard_name(number)}: document {place:,} is {expected!r}, and the vector is of "
                    f"{found!r}: encode the documents again."
                )
