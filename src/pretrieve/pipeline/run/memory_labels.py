"""Labels and collections that a Python program holds, as the files that ``finetune`` and ``evaluate`` read."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import DataError, PretrieveError, UsageError
from pretrieve.core.types import Document
from pretrieve.pipeline.run.arguments import path_of
from pretrieve.pipeline.run.usage_warnings import warn
from pretrieve.text import memory
from pretrieve.text.records import Fault, Note

_FILE = "labels-in-memory.jsonl"


@contextlib.contextmanager
def labels_of(given: Any, name: str = "labels") -> Iterator[Path]:
    """The file or folder of labels; records in memory are written to a temporary file while the block runs.

    Args:
        given: a path, or records with the fields of a file of labels.
        name: what messages call it.

    Raises:
        UsageError: it is neither.
        DataError: a record cannot be used; the text names its place, ``labels[3]``.
    """
    if isinstance(given, str | os.PathLike):
        yield path_of(given, name)
        return
    if isinstance(given, Mapping):
        raise UsageError(f"{name} is a dict: give a path, or a list of records with query and positive.")
    with tempfile.TemporaryDirectory(prefix="pretrieve-labels-") as folder:
        path = Path(folder) / _FILE
        _write(path, (_label(item, f"{name}[{number}]") for number, item in enumerate(memory.items_of(given, name))))
        place = re.compile(rf"{re.escape(str(path))}:(\d+)")
        with _renamed(lambda text: place.sub(lambda at: f"{name}[{int(at[1]) - 1}]", text)):
            yield path


@contextlib.contextmanager
def collection_at(folder: Any, corpus: Any, queries: Any, qrels: Any, split: str) -> Iterator[Path]:
    """A BEIR folder: the one given, or one of documents, queries and qrels in memory while the block runs.

    Args:
        folder: a path, or None.
        corpus: documents, of one of ``memory.KINDS``.
        queries: the same of queries: usually a dict of texts by id.
        qrels: for each query a dict of grades by document, or a list of relevant documents.
        split: name of the qrels.

    Raises:
        UsageError: one of them is missing, or of another kind.
        DataError: a query or a document cannot be used.
    """
    if folder is not None:
        if queries is not None or qrels is not None:
            raise UsageError("give a folder, or corpus, queries and qrels, not both.")
        yield path_of(folder, "folder")
        return
    for name, value in (("corpus", corpus), ("queries", queries), ("qrels", qrels)):
        if value is None:
            raise UsageError(f"{name} is missing: give a BEIR folder, or corpus, queries and qrels.")
    with tempfile.TemporaryDirectory(prefix="pretrieve-collection-") as place:
        folder = Path(place) / "memory"
        (folder / "qrels").mkdir(parents=True)
        _write(folder / "corpus.jsonl", map(_facts, listed(corpus, "corpus")))
        _write(folder / "queries.jsonl", map(_facts, listed(queries, "queries")))
        lines = "".join(f"{query}\t{document}\t{grade}\n" for query, document, grade in _grades(qrels))
        files.write_file(folder / "qrels" / f"{split}.tsv", f"query-id\tcorpus-id\tscore\n{lines}".encode())
        with _renamed(lambda text: text.replace(str(folder), "memory")):
            yield folder


def listed(value: Any, name: str, *, depth: int = 2) -> list[Document]:
    """Documents in memory; those that cannot be used are left out, with a warning.

    Args:
        value: of one of ``memory.KINDS``.
        name: what messages call it.
        depth: number of calls from the user's to this one, for the warning.

    Raises:
        UsageError: it is of another kind, or holds no text at all.
    """
    faults: list[Fault] = []
    notes: list[Note] = []
    found = list(memory.documents_of(value, name, faults.append, notes.append))
    if not found:
        raise UsageError(
            f"{name} is empty: give {memory.KINDS}." if not faults else f"{name} has no text: {faults[0]}."
        )
    if faults:
        warn(
            [f"{len(faults):,} of {len(found) + len(faults):,} in {name} are left out, first {faults[0]}."], depth=depth
        )
    if notes:
        warn([f"{note}." for note in notes], depth=depth)
    return found


def _facts(document: Document) -> dict[str, str]:
    return {"_id": document.id, "title": document.title, "text": document.text}


def _grades(qrels: Any) -> Iterator[tuple[str, str, int]]:
    if not isinstance(qrels, Mapping):
        raise UsageError("qrels is no dict: give for each query's id the grades of documents by id, {'q1': {'d7': 1}}.")
    for query, grades in qrels.items():
        if isinstance(grades, str) or not isinstance(grades, Iterable):
            raise UsageError(f"qrels[{query!r}] is no dict of grades by document, nor a list of documents.")
        pairs = grades.items() if isinstance(grades, Mapping) else ((document, 1) for document in grades)
        for document, grade in pairs:
            found = memory.plain(grade)
            if isinstance(found, bool) or not isinstance(found, int | float) or int(found) != found:
                raise DataError(f"qrels[{query!r}][{document!r}]: the grade {grade!r} is not a whole number.")
            yield str(query), str(document), int(found)


def _label(item: Any, where: str) -> dict[str, Any]:
    if not isinstance(item, Mapping):
        raise UsageError(f"{where} is a {type(item).__name__}: give a record with query and positive.")
    return {str(key): memory.plain(value) for key, value in item.items()}


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with files.create_file(path) as file:
        for record in records:
            file.write(orjson.dumps(record, default=_listed, option=orjson.OPT_APPEND_NEWLINE))


def _listed(value: Any) -> Any:
    """Arrays as lists."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


@contextlib.contextmanager
def _renamed(rename: Any) -> Iterator[None]:
    """Give places in memory in messages, not those in a temporary file."""
    try:
        yield
    except PretrieveError as error:
        if (text := rename(str(error))) != str(error) and type(error).__init__ is ValueError.__init__:
            raise type(error)(text) from None
        raise
