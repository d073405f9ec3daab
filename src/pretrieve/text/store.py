"""The token store: a corpus as one memory-mapped line of token ids, and where documents and sentences begin in it.

Artefact of kind ``store``. A random crop of a random document costs microseconds, whatever the size of the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from pretrieve.core import files
from pretrieve.core.arrays import load_array
from pretrieve.core.errors import DataError
from pretrieve.core.types import BoolArray, Document, IntArray, SpecialTokens
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.encoding import encode
from pretrieve.text.store_writer import ARRAYS, BATCH, StoreWriter
from pretrieve.text.tokenizer import Tokenizer


class Corpus(Protocol):
    """Documents in order, as ``text.documents.Documents`` gives them."""

    @property
    def fingerprint(self) -> str:
        """Hash of all of it, in order."""
        ...

    def __len__(self) -> int: ...

    def batches(self, size: int = ..., select: IntArray | None = ...) -> Iterator[list[Document]]:
        """All documents, or those of some indices, in lists of at most ``size``."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class Store:
    """n documents as token ids without special tokens; all positions are absolute, in tokens.

    Attributes:
        path: the artefact's folder.
        tokens: (S,) uint16, or uint32 for a vocabulary above 65,536; titles before bodies, documents end to end.
        documents: (n+1,) int64 where each document starts, and the end of the last.
        bodies: (n,) int64 first token after the title; the document's start where it has none.
        sentences: (m+1,) int64 start of every sentence of the bodies in order, and ``S``; the last sentence of a
            document ends where the document does. None are kept (m = 0) if the store was built without.
        document_sentences: (n+1,) int64; sentences of document d are ``document_sentences[d]`` to ``[d+1]``.
        origins: (n,) int64 index of each document in the ``Documents`` it came from.
        groups: (n,) uint16 index in ``group_names`` (language or source).
        group_names: names of the groups.
        tokenizer: tokenizer of the ids.
        corpus: fingerprint of the ``Documents``.
        fingerprint: hash of everything in the store.
        dropped: number of documents without any token in their body, which are left out.
    """

    path: Path
    tokens: IntArray
    documents: IntArray
    bodies: IntArray
    sentences: IntArray
    document_sentences: IntArray
    origins: IntArray
    groups: IntArray
    group_names: tuple[str, ...]
    tokenizer: Tokenizer
    corpus: str
    fingerprint: str
    dropped: int

    @property
    def starts(self) -> IntArray:
        """First token of each document, (n,)."""
        return self.documents[:-1]

    @property
    def ends(self) -> IntArray:
        """One past the last token of each document, (n,)."""
        return self.documents[1:]

    @property
    def specials(self) -> SpecialTokens:
        """Special tokens of the tokenizer."""
        return self.tokenizer.specials

    @property
    def word_starts(self) -> BoolArray:
        """Whether a token of the vocabulary begins a word, (V,)."""
        return self.tokenizer.word_starts

    @property
    def lettered(self) -> BoolArray:
        """Whether a token of the vocabulary holds a letter or a digit, (V,)."""
        return self.tokenizer.lettered

    def __len__(self) -> int:
        return len(self.documents) - 1

    def decode(self, ids: Sequence[int] | IntArray) -> str:
        """The text of some token ids."""
        return self.tokenizer.decode(ids)

    @staticmethod
    def build(
        target: Path,
        documents: Corpus,
        tokenizer: Tokenizer,
        *,
        select: IntArray | None = None,
        sentences: bool = True,
        replace: bool = False,
    ) -> Store:
        """Encode documents into a store, streaming, and open it.

        The tokenizer uses as many threads as the process may (``RAYON_NUM_THREADS`` limits them).

        Args:
            target: output folder.
            documents: documents to encode.
            tokenizer: tokenizer to encode with.
            select: indices of the documents to take, in this order; all by default.
            sentences: find where sentences start (about a third slower).
            replace: replace an existing artefact.

        Raises:
            DataError: no document has any token.
            StorageError: writing to disk failed.
        """
        indices = np.arange(len(documents)) if select is None else select

        def fill(writer: StoreWriter) -> None:
            for batch in documents.batches(BATCH, indices):
                writer.add(batch, indices, encode(batch, tokenizer, sentences=sentences))

        return Store.write(target, fill, tokenizer, documents.fingerprint, replace=replace)

    @staticmethod
    def write(
        target: Path, fill: Callable[[StoreWriter], object], tokenizer: Tokenizer, corpus: str, *, replace: bool = False
    ) -> Store:
        """Write a store and open it.

        Args:
            target: output folder.
            fill: gives the writer all documents, in order.
            tokenizer: tokenizer of the ids.
            corpus: fingerprint of the documents.
            replace: replace an existing artefact.

        Raises:
            DataError: no document has any token.
            StorageError: writing to disk failed.
        """
        meta: dict[str, Any] = {}
        with files.create(target, "store", replace=replace, meta=meta) as folder:
            tokenizer.save(folder)
            with StoreWriter(folder, tokenizer.specials.vocabulary) as writer:
                fill(writer)
            if not writer.kept:
                raise DataError(f"none of {writer.seen:,} documents has any token: is this text, in a known script?")
            meta |= {
                "corpus": corpus,
                "fingerprint": files.fingerprint({name: entry["sha256"] for name, entry in folder.entries.items()}),
                "group_names": list(writer.groups),
                "dropped": writer.seen - writer.kept,
                "specials": asdict(tokenizer.specials),
            }
        return Store.open(target)

    @staticmethod
    def open(path: Path) -> Store:
        """Open the output of ``build``, memory-mapped.

        Raises:
            UsageError: there is no store here.
            CorruptError: it is damaged.
        """
        meta = files.read_manifest(path, "store")
        arrays: dict[str, Any] = {name: load_array(path / name).view(np.ndarray) for name in ARRAYS}
        backend = tokenizers.load(path).backend
        return Store(
            path=path,
            **arrays,
            group_names=tuple(meta["group_names"]),
            tokenizer=Tokenizer(backend, SpecialTokens(**meta["specials"])),
            corpus=meta["corpus"],
            fingerprint=meta["fingerprint"],
            dropped=meta["dropped"],
        )
