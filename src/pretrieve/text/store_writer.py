"""The files of a token store, or of a shard of one, as encoded documents are streamed into them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import files
from pretrieve.core.arrays import array_header, load_array
from pretrieve.core.errors import DataError
from pretrieve.core.types import Array, Document, IntArray
from pretrieve.text.encoding import EncodedDocuments

ARRAYS = ("tokens", "documents", "bodies", "sentences", "document_sentences", "origins", "groups")
BATCH = 512  # documents that are encoded at once


class StoreWriter(contextlib.ExitStack):
    """Streams encoded documents into the files of a store, leaving out those without tokens.

    Args:
        folder: the folder that is written.
        vocabulary: number of ids.

    Attributes:
        groups: names of the groups, with their numbers.
        seen: number of documents that were added.
        kept: number of those with tokens.
    """

    def __init__(self, folder: files.Folder, vocabulary: int) -> None:
        super().__init__()
        token = np.dtype(np.uint16 if vocabulary <= 1 << 16 else np.uint32)
        self._dtypes = {name: np.dtype(np.int64) for name in ARRAYS} | {"tokens": token, "groups": np.dtype(np.uint16)}
        self._folder, self._files = folder, dict[str, files.HashingFile]()
        self.groups: dict[str, int] = {}
        self.seen = self.kept = self._tokens = self._sentences = 0

    def __enter__(self) -> StoreWriter:
        """Open the files."""
        for name, dtype in self._dtypes.items():
            self._files[name] = self.enter_context(self._folder.open(name))
            self._files[name].write(array_header(dtype, (-1,)))
        return self

    def __exit__(self, *error: Any) -> bool:
        """Write where the last document and sentence end, and close the files."""
        if error[0] is None:
            self._write("documents", np.array([self._tokens]))
            self._write("sentences", np.array([self._tokens]))
            self._write("document_sentences", np.array([self._sentences]))
        return bool(super().__exit__(*error))

    def add(self, batch: list[Document], indices: IntArray, encoded: EncodedDocuments) -> None:
        """Write some documents.

        Args:
            batch: n documents.
            indices: of all documents that this writer gets, in order.
            encoded: their tokens.

        Raises:
            DataError: there are too many groups.
        """
        kept = encoded.bodies > 0
        lengths = (encoded.titles + encoded.bodies)[kept]
        starts = self._tokens + np.cumsum(lengths) - lengths
        counts = encoded.sentence_counts[kept]
        self._write("tokens", encoded.tokens)
        self._write("documents", starts)
        self._write("bodies", starts + encoded.titles[kept])
        self._write("sentences", self._tokens + encoded.sentences)
        self._write("document_sentences", self._sentences + np.cumsum(counts) - counts)
        self._write("origins", indices[self.seen : self.seen + len(batch)][kept])
        self._write("groups", np.array([self._group(document.group) for document in batch])[kept])
        self._count(len(batch), int(kept.sum()), int(lengths.sum()), int(counts.sum()))

    def append(self, shard: Path, seen: int, groups: list[str]) -> None:
        """Write the documents of a shard that another writer wrote.

        Args:
            shard: its folder.
            seen: number of documents that it was made of.
            groups: names of its groups, in the order of their numbers.

        Raises:
            CorruptError: it is damaged.
            DataError: there are too many groups.
        """
        found = {name: load_array(shard / name) for name in ARRAYS}
        numbers = np.array([self._group(name) for name in groups], np.int64)
        self._write("tokens", found["tokens"])
        for name in ("documents", "sentences"):
            self._write(name, self._tokens + found[name][:-1])
        self._write("bodies", self._tokens + found["bodies"])
        self._write("document_sentences", self._sentences + found["document_sentences"][:-1])
        self._write("origins", found["origins"])
        self._write("groups", numbers[found["groups"]])
        kept, sentences = len(found["origins"]), int(found["document_sentences"][-1])
        self._count(seen, kept, int(found["documents"][-1]), sentences)

    def _count(self, seen: int, kept: int, tokens: int, sentences: int) -> None:
        self.seen += seen
        self.kept += kept
        self._tokens += tokens
        self._sentences += sentences

    def _group(self, name: str) -> int:
        number = self.groups.setdefault(name, len(self.groups))
        if number >= 1 << 16:
            raise DataError(f"more than 65,536 groups (the latest is {name!r}): name another field as the group.")
        return number

    def _write(self, name: str, values: Array) -> None:
        self._files[name].write(np.ascontiguousarray(values.astype(self._dtypes[name])).tobytes())
