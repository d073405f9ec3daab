"""A labelled collection: a BEIR folder, plain or packed: corpus.jsonl, queries.jsonl and qrels/<split>.tsv.

Thakur et al., *BEIR*, NeurIPS Datasets 2021. Relevance is graded; a document may be missing from the corpus (published
sets have such lines), a query may not. An id names one document and one query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import DataError
from pretrieve.core.types import Document
from pretrieve.text.beir_files import beir_file, beir_lines, beir_root, decoded, split_file
from pretrieve.text.qrels import parse_qrels


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Documents, queries and qrels.

    Attributes:
        name: the folder's name.
        split: name of the qrels.
        documents: all documents.
        queries: text by id, of the queries with qrels.
        qrels: for each query the ids and grades of documents; above 0 is relevant.
        repeated: number of lines that say what an earlier one says, of ``queries`` and of ``qrels``.
    """

    name: str
    split: str
    documents: Sequence[Document]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]
    repeated: Mapping[str, int] = field(default_factory=dict)


def load_collection(folder: Path, split: str = "test", *, titles: bool = True, max_passage: bool = False) -> Collection:
    """Read a BEIR folder, or its zip archive.

    Args:
        folder: where it is.
        split: name of a file in ``qrels/``.
        titles: keep the documents' titles.
        max_passage: several documents may have one id: they are passages of one document.

    Raises:
        UsageError: the folder, a file or the split is not there.
        DataError: a line cannot be read, or an id is given twice; the text names ``file:line``.
    """
    root = beir_root(folder)
    qrels_path = split_file(folder, split)
    corpus_path, queries_path = (beir_file(root, stem) for stem in ("corpus", "queries"))
    documents = list(read_corpus(folder, titles=titles))
    if not max_passage:
        check_ids(documents)
    texts, repeated_queries = read_texts(queries_path)
    qrels = parse_qrels(qrels_path)
    if not qrels.grades:
        raise DataError(f"{qrels_path} holds no qrels.")
    check_queries(qrels.first, texts, queries_path)
    if not documents:
        raise DataError(f"{corpus_path} holds no document.")
    known, judged = {document.id for document in documents}, {name for one in qrels.grades.values() for name in one}
    if not known & judged:
        padded = {name.strip() for name in known} & {name.strip() for name in judged}
        why = "white space around the ids differs" if padded else "are their ids the same?"
        raise DataError(f"{qrels_path} judges no document of {corpus_path}: {why}")
    return Collection(
        name=name_of(folder),
        split=split,
        documents=documents,
        queries={query: texts[query] for query in qrels.grades},
        qrels=qrels.grades,
        repeated={"queries": repeated_queries, "qrels": qrels.repeated},
    )


def read_corpus(folder: Path, name: str = "corpus", *, titles: bool = True) -> Iterator[Document]:
    """Read the documents of a BEIR folder one by one; ``name`` is the file's, without ``.jsonl``.

    Raises:
        UsageError: there is no corpus.
        DataError: a line cannot be read; the text names ``file:line``.
    """
    for record, where in _records(beir_file(beir_root(folder), name)):
        yield Document(id=record["_id"], title=record["title"] if titles else "", text=record["text"], where=where)


def read_queries(folder: Path, name: str = "queries") -> dict[str, str]:
    """Read the queries of a BEIR folder, text by id; ``name`` is the file's, without ``.jsonl``.

    Raises:
        UsageError: there are no queries.
        DataError: a line cannot be read, or an id has two texts; the text names ``file:line``.
    """
    return read_texts(beir_file(beir_root(folder), name))[0]


def read_qrels(folder: Path, split: str) -> dict[str, dict[str, int]]:
    """Read the qrels of a split: for each query the documents' grades.

    Raises:
        UsageError: there is no such split.
        DataError: a line cannot be read, or a document has two grades for a query; the text names ``file:line``.
    """
    return parse_qrels(split_file(folder, split)).grades


def name_of(folder: Path) -> str:
    """Name of the collection: that of the folder or archive."""
    return folder.absolute().name.removesuffix(".zip")


def check_queries(first: Mapping[str, str], texts: Mapping[str, str], path: Path) -> None:
    """Refuse qrels of a query that is not among the queries.

    Args:
        first: ``file:line`` of the qrels by query.
        texts: text by query.
        path: file of the queries.

    Raises:
        DataError: there is such a query.
    """
    for query, where in first.items():
        if query not in texts:
            raise DataError(f"{where}: query {query!r} is not in {path}.")


def check_ids(documents: Iterable[Document]) -> None:
    """Refuse documents that share an id: qrels cannot tell them apart.

    A copy of a document is refused too: it counts twice in all that BM25 knows of the corpus.

    Raises:
        DataError: there are some.
    """
    first: dict[str, Document] = {}
    for number, document in enumerate(documents, start=1):
        other = first.setdefault(document.id, document)
        if other is not document:
            copy = (other.title, other.text) == (document.title, document.text)
            what = "is the same line again" if copy else "has it for another text"
            raise DataError(
                f"{document.where or f'document {number}'}: duplicate id {document.id!r}; {other.where or 'another'} "
                f"{what}. Give every document its own id; if they are passages of one, --max-passage counts the best."
            )


def read_texts(path: Path) -> tuple[dict[str, str], int]:
    """Read a file of queries: texts by id, and the number of lines that say what an earlier one says.

    Raises:
        DataError: a line cannot be read, or an id has two texts; the text names ``file:line``.
    """
    texts: dict[str, str] = {}
    repeated = 0
    for record, where in _records(path):
        name, text = record["_id"], record["text"]
        if name in texts and texts[name] != text:
            raise DataError(f"{where}: query {name!r} has another text in a line before: leave one of them.")
        repeated += name in texts
        texts[name] = text
    return texts, repeated


def _records(path: Path) -> Iterator[tuple[dict[str, str], str]]:
    for line, where in beir_lines(path):
        try:
            record: Any = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            decoded(line, where)
            surrogate = "lone surrogate: " if "surrogate" in error.msg else ""
            raise DataError(f"{where}: {surrogate}not JSON ({error}).") from None
        if not isinstance(record, dict):
            raise DataError(f"{where}: a JSON object was expected.")
        for name in ("_id", "text"):
            if name not in record:
                raise DataError(f"{where}: no field {name!r}.")
        texts = {name: _text(record.get(name), name, where) for name in ("text", "title")}
        yield {"_id": _id(record["_id"], where), **texts}, where


def _id(value: object, where: str) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise DataError(f"{where}: _id is not a string ({_kind(value)}).")
    if not value.strip():
        raise DataError(f"{where}: _id is empty.")
    return _text(value, "_id", where)


def _text(value: object, name: str, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} is not a string ({_kind(value)}).")
    if "\0" in value:
        raise DataError(f"{where}: NUL character in {name}, at {value.index(chr(0))}.")
    return value


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__
