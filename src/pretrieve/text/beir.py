"""A labelled collection: a BEIR folder, plain or gzipped: corpus.jsonl, queries.jsonl and qrels/<split>.tsv.

Thakur et al., *BEIR*, NeurIPS Datasets 2021. Relevance is graded; a document may be missing from the corpus (published
sets have such lines), a query may not.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import DataError, UsageError, suggest
from pretrieve.core.files import storage
from pretrieve.core.types import Document


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Documents, queries and qrels.

    Attributes:
        name: the folder's name.
        split: name of the qrels.
        documents: all documents.
        queries: text by id, of the queries with qrels.
        qrels: for each query the ids and grades of documents; above 0 is relevant.
    """

    name: str
    split: str
    documents: Sequence[Document]
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]


def load_collection(folder: Path, split: str = "test", *, titles: bool = True) -> Collection:
    """Read a BEIR folder.

    Args:
        folder: where it is.
        split: name of a file in ``qrels/``.
        titles: keep the documents' titles.

    Raises:
        UsageError: the folder, a file or the split is not there.
        DataError: a line cannot be read; the text names ``file:line``.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; a BEIR folder with corpus.jsonl and qrels/ was expected.")
    qrels_path = _split_file(folder, split)
    documents = list(read_corpus(folder, titles=titles))
    texts = read_queries(folder)
    qrels = _qrels(qrels_path)
    missing = [query for query in qrels if query not in texts]
    if missing:
        raise DataError(f"{qrels_path}: query {missing[0]!r} is not in {_file(folder, 'queries')}.")
    if not qrels:
        raise DataError(f"{qrels_path} holds no qrels.")
    if not documents:
        raise DataError(f"{_file(folder, 'corpus')} holds no document.")
    known = {document.id for document in documents}
    if not any(name in known for grades in qrels.values() for name in grades):
        raise DataError(f"{qrels_path} judges no document of {_file(folder, 'corpus')}: are their ids the same?")
    queries = {query: texts[query] for query in qrels}
    return Collection(name=folder.absolute().name, split=split, documents=documents, queries=queries, qrels=qrels)


def read_corpus(folder: Path, name: str = "corpus", *, titles: bool = True) -> Iterator[Document]:
    """Read the documents of a BEIR folder one by one; ``name`` is the file's, without ``.jsonl``.

    Raises:
        UsageError: there is no corpus.
        DataError: a line cannot be read; the text names ``file:line``.
    """
    for record, where in _records(_file(folder, name), ("_id", "text")):
        yield Document(id=record["_id"], title=record["title"] if titles else "", text=record["text"], where=where)


def read_queries(folder: Path, name: str = "queries") -> dict[str, str]:
    """Read the queries of a BEIR folder, text by id; ``name`` is the file's, without ``.jsonl``.

    Raises:
        UsageError: there are no queries.
        DataError: a line cannot be read; the text names ``file:line``.
    """
    return {record["_id"]: record["text"] for record, _ in _records(_file(folder, name), ("_id", "text"))}


def read_qrels(folder: Path, split: str) -> dict[str, dict[str, int]]:
    """Read the qrels of a split: for each query the documents' grades.

    Raises:
        UsageError: there is no such split.
        DataError: a line cannot be read; the text names ``file:line``.
    """
    return _qrels(_split_file(folder, split))


def _split_file(folder: Path, split: str) -> Path:
    present = {path.name.removesuffix(".gz").removesuffix(".tsv"): path for path in folder.glob("qrels/*.tsv*")}
    if not present:
        raise UsageError(f"{folder} has no qrels/*.tsv: it is not a BEIR folder.")
    if split not in present:
        raise UsageError(f"{folder} has no split {split!r}.{suggest(split, present)}")
    return present[split]


def _file(folder: Path, stem: str) -> Path:
    for name in (f"{stem}.jsonl", f"{stem}.jsonl.gz"):
        if (folder / name).is_file():
            return folder / name
    raise UsageError(f"{folder} has no {stem}.jsonl or {stem}.jsonl.gz: it is not a BEIR folder.")


def _lines(path: Path) -> Iterator[tuple[bytes, str]]:
    with storage(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield line, f"{path}:{number}"
        except (EOFError, gzip.BadGzipFile) as error:
            raise DataError(f"{path} is damaged ({error}): fetch it again.") from None


def _records(path: Path, needed: tuple[str, ...]) -> Iterator[tuple[dict[str, str], str]]:
    for line, where in _lines(path):
        try:
            record: Any = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{where}: not JSON ({error}).") from None
        if not isinstance(record, dict):
            raise DataError(f"{where}: a JSON object was expected.")
        for name in needed:
            if name not in record:
                raise DataError(f"{where}: no field {name!r}.")
        found = {name: record.get(name) for name in (*needed, "title")}
        yield {name: "" if value is None else str(value) for name, value in found.items()}, where


def _qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for number, (line, where) in enumerate(_lines(path)):
        try:
            fields = line.decode().rstrip("\r\n").split("\t")
        except UnicodeDecodeError:
            raise DataError(f"{where}: not UTF-8.") from None
        if len(fields) != 3:
            raise DataError(f"{where}: three fields parted by tabs were expected (query, document, grade).")
        query, document, grade = fields
        try:
            qrels.setdefault(query, {})[document] = int(grade)
        except ValueError:
            if number == 0:  # the header
                qrels.pop(query, None)
                continue
            raise DataError(f"{where}: the grade {grade!r} is not a whole number.") from None
    return qrels
