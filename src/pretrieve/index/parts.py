"""A part of an index: some documents with all that is needed to find them; written once and never changed.

Below ``parts/000001/`` lie ``documents/``, ``words/`` (postings), ``vectors``, ``third`` (of a static model beside a
retrieval model), ids, ``columns/`` (fields), ``contents`` (hashes that say what changed), and ``gone``: documents of
older parts that this one replaces or deletes, as (part, place).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pretrieve.core.arrays import array_header, load_array
from pretrieve.core.errors import CorruptError
from pretrieve.core.files import Folder
from pretrieve.core.numbers import each_once
from pretrieve.core.types import Array, BoolArray, Document, FloatArray, IntArray, TextEncoder
from pretrieve.index.analysis import Analyzer
from pretrieve.index.columns import Columns
from pretrieve.index.ids import Ids
from pretrieve.index.lexical import Lexical
from pretrieve.index.passages import PassagePostings
from pretrieve.index.postings import Postings
from pretrieve.index.pseudo import full_text
from pretrieve.index.storing import approximate_merged, store_vectors
from pretrieve.index.vector_options import VectorOptions
from pretrieve.text.documents import Documents, record_line

T = TypeVar("T")
PARTS = "parts"
_BLOCK = 1 << 12  # documents that are looked at together


def name_of(number: int) -> str:
    """The folder of a part in the index."""
    return f"{PARTS}/{number:06}"


def content_of(document: Document, separator: str) -> bytes:
    """32 bytes that say what a document holds: 16 of its record, 16 of the text that a model reads."""
    record, text = record_line(document), full_text(document, separator).encode("utf-8", "surrogatepass")
    return b"".join(hashlib.blake2b(data, digest_size=16).digest() for data in (record, text))


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part, opened.

    Attributes:
        number: of the part; a number is used once.
        path: its folder.
        documents: its documents; None for a part that only deletes.
        ids: their ids.
        postings: of BM25.
        passages: of BM25's best passage, where they are indexed.
        contents: (R, 32) what each document holds.
        gone: (deleted, 2) number of a part and place in it.
        columns: their fields.
    """

    number: int
    path: Path
    documents: Documents | None
    ids: Ids
    postings: Postings | None
    passages: PassagePostings | None
    contents: Array
    gone: IntArray
    columns: Columns | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def open(index: Path, number: int, size: int, *, passages: bool) -> Part:
        """Map a part.

        Args:
            index: the index's folder.
            number: of the part.
            size: its documents, by the MANIFEST of the index; a part without any only deletes.
            passages: whether it has passages.

        Raises:
            CorruptError: its arrays do not fit together.
            UsageError: its documents are missing.
        """
        path = index / name_of(number)
        gone = np.asarray(load_array(path / "gone"))
        if not size:
            none = np.zeros((0, 32), np.uint8)
            return Part(number=number, path=path, documents=None, ids=Ids.of([]), postings=None, passages=None,
                        contents=none, gone=gone)  # fmt: skip
        part = Part(
            number=number,
            path=path,
            documents=Documents.open(path / "documents"),
            ids=Ids.open(path),
            postings=Postings.open(path / "words"),
            passages=PassagePostings.open(path / "words/passages") if passages else None,
            contents=np.asarray(load_array(path / "contents")),
            gone=gone,
            columns=Columns.open(path / "columns"),
        )
        assert part.documents is not None
        assert part.postings is not None
        assert part.columns is not None
        sizes = {size, len(part.documents), len(part.ids), len(part.postings), len(part.contents), part.columns.size}
        if len(sizes) > 1:
            raise CorruptError(f"{path}: its arrays are of different documents: make the index again.")
        return part


@dataclass(frozen=True, kw_only=True)
class PartWriter:
    """Writes parts of one index.

    Attributes:
        folder: where they go.
        encoder: the model.
        third: a static model beside it.
        passages: index passages too.
        options: how vectors are stored and searched.
    """

    folder: Folder
    encoder: TextEncoder
    third: TextEncoder | None
    passages: bool
    options: VectorOptions = VectorOptions()  # noqa: RUF009 - frozen

    def write(
        self,
        number: int,
        documents: Documents,
        analyzer: Analyzer,
        *,
        watch: Callable[[Iterable[Document]], Iterable[Document]] = lambda documents: documents,
        vectors: Iterable[FloatArray] | None = None,
        ready: Mapping[str, Iterable[FloatArray]] | None = None,
        gone: IntArray | None = None,
    ) -> dict[str, Any]:
        """Write a part, whose documents are written already.

        Args:
            number: of the part.
            documents: in its folder.
            analyzer: of BM25.
            watch: is passed through by the documents.
            vectors: of the documents, as the model gives them; default: they are encoded here.
            ready: vectors of the documents and of the static model, as they are stored, in place of ``vectors``.
            gone: (deleted, 2) what it deletes.

        Returns:
            For each array of vectors what was measured (``storing.store_vectors``).

        Raises:
            DataError: the model gives values that are not finite.
            StorageError: writing to disk failed.
        """
        name, folder, encoder = name_of(number), self.folder, self.encoder
        found = {}
        texts = (full_text(document) for document in watch(documents))
        Lexical.store(folder, f"{name}/words", analyzer, texts, passages=self.passages)
        for array, model in (("vectors", encoder), ("third", self.third)):
            if model is not None:
                given = vectors if array == "vectors" else None
                stored = None if ready is None else ready[array]
                found[array] = store_vectors(
                    folder, f"{name}/{array}", model, documents, self.options, given=given, stored=stored
                )
        Ids.of([document.id for document in documents]).write(folder, f"{name}/")
        Columns.write(folder, f"{name}/columns", documents)
        separator: str = getattr(encoder, "separator", " ")
        contents = b"".join(content_of(document, separator) for document in documents)
        folder.array(f"{name}/contents", np.frombuffer(contents, np.uint8).reshape(-1, 32))
        write_gone(folder, number, np.zeros((0, 2), np.int64) if gone is None else gone)
        return {array: facts for array, facts in found.items() if facts}


def write_gone(folder: Folder, number: int, gone: IntArray) -> None:
    """Write which documents of older parts a part deletes: (deleted, 2) number of a part and place in it."""
    folder.array(f"{name_of(number)}/gone", gone.astype(np.int64))


def merge_parts(
    folder: Folder,
    number: int,
    parts: Sequence[Part],
    kept: Sequence[IntArray | None],
    gone: IntArray,
    arrays: Sequence[str],
    options: VectorOptions,
) -> dict[str, Any]:
    """Write several parts as one, without the documents that are deleted.

    Args:
        folder: of the index.
        number: of the new part.
        parts: the parts, with documents.
        kept: for each the places that stay, ascending; None: all of them.
        gone: what the new part deletes of others.
        arrays: names of the arrays with a row a document.
        options: how vectors are stored and searched.

    Returns:
        For each array of vectors how it is searched (``storing.approximate_merged``).

    Raises:
        StorageError: writing to disk failed.
    """
    name, found = name_of(number), {}
    places = [np.arange(len(part)) if stay is None else stay for part, stay in zip(parts, kept, strict=True)]
    if sum(map(len, places)):
        documents = Documents.write(folder.path / name / "documents", _documents(parts, places))
        Postings.merge(folder, f"{name}/words", [_some(part.postings) for part in parts], kept)
        if any(part.passages is not None for part in parts):
            PassagePostings.merge(folder, f"{name}/words/passages", [_some(part.passages) for part in parts], kept)
        for array in arrays:
            _join(folder, f"{name}/{array}", [part.path / array for part in parts], places)
        for array in {"vectors", "third"} & {*arrays}:
            found[array] = approximate_merged(folder, f"{name}/{array}", options, [part.path / array for part in parts])
        Ids.of([document.id for document in documents]).write(folder, f"{name}/")
        Columns.write(folder, f"{name}/columns", documents)
    write_gone(folder, number, gone)
    return {array: facts for array, facts in found.items() if facts}


def _documents(parts: Sequence[Part], places: Sequence[IntArray]) -> Iterator[Document]:
    for part, kept in zip(parts, places, strict=True):
        for batch in _some(part.documents).batches(select=kept):
            yield from batch


def _join(folder: Folder, name: str, paths: Sequence[Path], places: Sequence[IntArray]) -> None:
    """Write rows of several arrays as one."""
    arrays = [np.asarray(load_array(path)) for path in paths]
    size = sum(map(len, places))
    with folder.open(name) as file:
        file.write(array_header(arrays[0].dtype, (size, *arrays[0].shape[1:])))
        for array, kept in zip(arrays, places, strict=True):
            for start in range(0, len(kept), _BLOCK):
                rows = np.ascontiguousarray(array[kept[start : start + _BLOCK]])
                file.write(rows.view(np.uint8).reshape(-1).data)


def _some(value: T | None) -> T:
    assert value is not None
    return value


@dataclass(frozen=True)
class Collection:
    """The documents of several parts by number, deleted ones included.

    Attributes:
        parts: the documents of each part.
        starts: (parts + 1,) first number of each.
    """

    parts: Sequence[Documents]
    starts: IntArray

    def __getitem__(self, number: int) -> Document:
        part = int(np.searchsorted(self.starts, number, "right")) - 1
        return self.parts[part][number - int(self.starts[part])]


@dataclass(frozen=True)
class Living:
    """The documents of an index that are not deleted, in order.

    Attributes:
        collection: all documents.
        numbers: (R',) numbers of those that are there.
    """

    collection: Collection
    numbers: IntArray

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Document:
        return self.collection[int(self.numbers[range(len(self))[index]])]

    def __iter__(self) -> Iterator[Document]:
        starts = self.collection.starts
        edges = np.searchsorted(self.numbers, starts).tolist()
        for part, documents in enumerate(self.collection.parts):
            own = self.numbers[edges[part] : edges[part + 1]] - starts[part]
            for batch in documents.batches(select=own):
                yield from batch


def alive_of(parts: Sequence[Part]) -> list[BoolArray | None]:
    """For each part which of its documents are not deleted; None where all are there."""
    places = {part.number: at for at, part in enumerate(parts)}
    alive: list[BoolArray | None] = [None] * len(parts)
    for part in parts:
        for number in each_once(part.gone[:, 0]).tolist():
            if (at := places.get(number)) is not None:
                gone = part.gone[part.gone[:, 0] == number, 1]
                if (found := alive[at]) is None:
                    found = alive[at] = np.ones(len(parts[at]), bool)
                found[gone] = False
    return alive
