"""What a ``Retriever`` does with its documents: search them, change them, and save their index."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from pretrieve.core.errors import UsageError
from pretrieve.core.types import FloatArray
from pretrieve.index.asked import Mode
from pretrieve.index.backends import Address
from pretrieve.index.dense import check_finite
from pretrieve.index.find import hits_of
from pretrieve.index.index import Changes, Index
from pretrieve.models.model_options import ModelOptions
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.arguments import path_of, text_of
from pretrieve.pipeline.run.search import checked, identified, ids_of, searched, texts_of
from pretrieve.pipeline.run.usage_warnings import untuned, warn

if TYPE_CHECKING:
    from pretrieve.core.types import TextEncoder
    from pretrieve.index.hits import Hits
    from pretrieve.index.pseudo import Records
    from pretrieve.text.memory import Queries, Texts


class Searcher:
    """A model, and the documents that it searches, if any.

    Attributes:
        model: encodes queries and documents.
        location: folder or hub name of the model.
        documents: default corpus of ``search``; None for a model alone.
    """

    def __init__(self, model: TextEncoder, location: str, documents: Records | None = None) -> None:
        self.model, self.location, self.documents = model, location, documents

    def __repr__(self) -> str:
        """Model, documents and rankers, in a line."""
        count = "no documents" if self.documents is None else f"{len(self.documents):,} documents"
        index: Index | None = self.__dict__.get("index")
        rankers = "" if index is None else f", {index.fusion.words}"
        return f"{type(self).__name__}({self.location!r}, {count}{rankers})"

    @overload
    def search(self, query: str, corpus: Texts | None = ..., **options: Any) -> Hits: ...

    @overload
    def search(self, query: Queries, corpus: Texts | None = ..., **options: Any) -> list[Hits]: ...

    def search(
        self, query: str | Queries, corpus: Texts | None = None, *, top_k: int = 10, mode: Mode = "hybrid",
        **options: Any,
    ) -> Hits | list[Hits]:  # fmt: skip
        """Return the best documents for a query, or for each of several.

        Args:
            query: text of the query, or a list of them.
            corpus: texts or records to look through, as for ``train``; a text's id is its place in a list, or its key
                in a dict. Empty ones are left out with a warning. Default: the retriever's own documents.
            top_k: number of hits; all documents, where there are fewer.
            mode: hybrid, dense or lexical.
            options: ``filter="lang=en"``, ``group_by="file"``, ``syntax=True`` (signs in queries): docs/search.md.

        Returns:
            Hits, best first; of each query, where a list was given.

        Raises:
            UsageError: there are no documents to search, a query is no text or blank, or an argument is invalid.
        """
        asked = checked(query, corpus, top_k, mode)
        warn(self._untuned)
        index = self.index if corpus is None else searched(corpus, self.model)
        return hits_of(index, asked, top_k, mode, **options)

    @cached_property
    def index(self) -> Index:
        """The index of the retriever's own documents, built when it is first needed.

        Raises:
            UsageError: the retriever has no documents.
        """
        if self.documents is None:
            raise UsageError("this retriever holds no documents: give a corpus, or load an index.")
        return Index.of(self.documents, self.model)

    def save(self, output: str | Path, *, overwrite: bool = False, store: str | None = None) -> None:
        """Save the index of the retriever's own documents; ``load`` opens it again.

        Args:
            output: the index's folder.
            overwrite: replace an existing index, and its collection.
            store: ``milvus://host:19530/collection``, or ``FILE.db`` of Milvus Lite: docs/search.md.

        Raises:
            UsageError: the retriever has no documents, or something is at ``output``.
            StorageError: writing to disk failed.
        """
        processes.current().check_first("Retriever.save")
        if self.documents is None:
            raise UsageError("this retriever holds no documents: there is nothing to save but its model.")
        warn(self._untuned)
        address = None if store is None else Address.parse(text_of(store, "store"))
        Index.build(path_of(output, "output"), self.documents, self.model, replace=overwrite, store=address)

    def add(self, documents: Texts) -> Changes:
        """Add documents to the retriever's own, and replace those of the same ids; only new texts are encoded.

        Where the retriever was loaded from an index, the index on disk is changed, for all who open it. Otherwise its
        documents are indexed in a temporary folder first, which ``save`` can keep.

        Args:
            documents: records with ids, or a dict of texts by id.

        Returns:
            What was done, in numbers.

        Raises:
            UsageError: a record has no id.
            DataError: two of them have one id.
            LockedError: another process changes the index.
            StorageError: writing to disk failed; nothing has changed.
        """
        processes.current().check_first("Retriever.add")
        given = identified(documents)
        if self.documents is None:
            self._take(Index.build(_temporary(), given, self.model))
            return Changes(new=len(given), encoded=len(given))
        index, changes = self._stored().add(given)
        self._take(index)
        return changes

    def delete(self, ids: Iterable[str]) -> Changes:
        """Delete documents of the retriever by their ids; an index on disk is changed as by ``add``.

        Args:
            ids: of the documents.

        Returns:
            What was done, in numbers.

        Raises:
            UsageError: there is no document of an id, or none would be left.
            LockedError: another process changes the index.
            StorageError: writing to disk failed; nothing has changed.
        """
        processes.current().check_first("Retriever.delete")
        given = ids_of(ids)
        index, changes = self._stored().delete(given)
        self._take(index)
        return changes

    def _stored(self) -> Index:
        """The index of the documents, on disk."""
        index: Index | None = self.__dict__.get("index")
        if self.documents is None or (index is not None and index.path is not None):
            return self.index
        return Index.build(_temporary(), self.documents, self.model)

    def _take(self, index: Index) -> None:
        self.documents = index.documents
        self.__dict__["index"] = index

    def encode(self, texts: Iterable[str], *, queries: bool = False) -> FloatArray:
        """Vectors of texts, as the model gives them: (R, D) float32, or (R, V, D) of a multi-vector model's documents.

        Args:
            texts: R texts.
            queries: encode them as queries, not as documents: the model's prompt may differ.

        Raises:
            UsageError: it is one text, or one of them is none.
            DataError: the model gives values that are not finite.
        """
        given = texts_of(texts)
        vectors = (self.model.encode_queries if queries else self.model.encode_documents)(given)
        check_finite(vectors, given, self.location)
        return np.asarray(vectors, np.float32)

    @cached_property
    def _untuned(self) -> list[str]:
        """A warning if the model needs fine-tuning first; its folder is checked once."""
        return untuned(self.location, self._described())

    def _described(self) -> ModelOptions:
        """The usage of the model as given when it was opened."""
        return ModelOptions(**getattr(self.model, "described", {}))


def _temporary() -> Path:
    """A place for an index, which is removed when Python exits."""
    folder = tempfile.mkdtemp(prefix="pretrieve-index-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "index"
