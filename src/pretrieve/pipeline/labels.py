"""Reading labels: a BEIR folder's split, JSONL of pairs or triplets, or DPR's files."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.types import Document, FloatArray, Rows
from pretrieve.evaluation.collection import read_corpus, read_qrels, read_queries
from pretrieve.text import corpus as corpora
from pretrieve.text.corpus import Fields
from pretrieve.text.documents import Documents
from pretrieve.text.labels import Labels
from pretrieve.text.records import Fault
from pretrieve.text.streams import DamagedStreamError, lines

# Names under which files keep things; the first that is there counts.
_QUERY = ("query", "question", "anchor")
_POSITIVE = ("positive", "positives", "pos", "positive_ctxs", "document", "passage")
_NEGATIVE = ("negative", "negatives", "neg", "hard_negative_ctxs", "hard_negatives")
_TEACHER = (("positive_scores", "pos_scores"), ("negative_scores", "neg_scores"))
_LONGEST = 1 << 26  # bytes of a line
_IDS = ("id", "_id", "passage_id", "psg_id", "docid")


@dataclass(kw_only=True)
class _Found:
    """What is gathered while documents stream past."""

    numbers: dict[str, int] = field(default_factory=dict)  # of documents by id
    contents: dict[bytes, int] = field(default_factory=dict)  # first document with some content
    canonical: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    positives: list[list[int]] = field(default_factory=list)
    negatives: list[list[int]] = field(default_factory=list)
    teacher: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))

    def add(self, document: Document) -> int:
        """Number a document of the collection."""
        number = len(self.canonical)
        self.numbers.setdefault(document.id, number)
        self.canonical.append(self.contents.setdefault(_content(document), number))
        return number


def read_labels(
    source: Path,
    target: Path,
    *,
    split: str = "train",
    documents: Sequence[str] = (),
    prompts: tuple[str, str] = ("", ""),
) -> Labels:
    """Read labels, and put documents and queries on disk.

    Args:
        source: a BEIR folder, or a file: JSONL (plain or compressed) or JSON of queries with positives and, maybe,
            negatives and scores of a teacher.
        target: the ``Documents`` to make of documents and queries.
        split: of a BEIR folder.
        documents: sources of more documents to find negatives in; for files only.
        prompts: what the model has put before queries and documents; kept as the last two records.

    Raises:
        UsageError: the source is not there or not known, or has no such split.
        DataError: a line cannot be used; the text names ``file:line``.
    """
    found = _Found()
    if source.is_dir():
        if documents:
            raise UsageError(f"{source} is a BEIR folder and brings its documents: leave --documents out.")
        records = _beir(source, split, found)
    else:
        records = _pairs(source, documents, found)
    ends = (Document(id=f"prompt {number}", text=text) for number, text in enumerate(prompts))
    written = Documents.write(target, itertools.chain(records, ends), replace=True)
    size = len(written) - len(found.queries) - len(prompts)
    known = [name for name, scores in zip(("positives", "negatives"), found.teacher, strict=True) if _any(scores)]
    return Labels(
        records=written,
        size=size,
        places=size + np.arange(len(found.queries)),
        ids=found.ids,
        canonical=np.array(found.canonical, np.int64),
        positives=Rows.of(found.positives),
        negatives=Rows.of(found.negatives),
        teacher=(_scores(found.teacher[0]), _scores(found.teacher[1])) if known else None,
    )


def _any(scores: Sequence[float]) -> bool:
    return bool(np.isfinite(_scores(scores)).any()) if scores else False


def _scores(values: Sequence[float]) -> FloatArray:
    return np.asarray(values, np.float32)


def _beir(folder: Path, split: str, found: _Found) -> Iterator[Document]:
    qrels = read_qrels(folder, split)  # before anything slow
    for document in read_corpus(folder):
        found.add(document)
        yield document
    texts = read_queries(folder)
    for query, grades in qrels.items():
        if query not in texts:
            raise DataError(f"{folder}: query {query!r} of split {split!r} is not among the queries.")
        known = {found.numbers[name]: grade for name, grade in grades.items() if name in found.numbers}
        positives = [number for number, grade in known.items() if grade > 0]
        if positives:
            found.ids.append(query)
            found.queries.append(texts[query])
            found.positives.append(positives)
            found.negatives.append([number for number, grade in known.items() if grade <= 0])
            yield Document(id=f"query {query}", text=texts[query])
    if not found.ids:
        raise DataError(f"{folder}: no query of split {split!r} has a relevant document in the corpus.")


def _pairs(source: Path, documents: Sequence[str], found: _Found) -> Iterator[Document]:
    if not source.is_file():
        raise UsageError(f"{source}: no such file or folder; give JSONL of pairs, DPR's file, or a BEIR folder.")
    for document in corpora.read(documents, fields=Fields()) if documents else ():
        found.add(document)
        yield document
    for record, where in _records(source):
        yield from _example(record, where, found)
    if not found.ids:
        raise DataError(f"{source} holds no query with a positive document.")
    for name, text in zip(found.ids, found.queries, strict=True):
        yield Document(id=f"query {name}", text=text)


def _example(record: Mapping[str, Any], where: str, found: _Found) -> Iterator[Document]:
    """Take one query, and give the documents that were not there yet."""
    query = str(_first(record, _QUERY) or "").strip()
    if not query:
        raise DataError(f"{where}: no query; name it {_or(_QUERY)}.")
    sides: list[list[int]] = []
    for names in (_POSITIVE, _NEGATIVE):
        numbers = []
        for item in _listed(_first(record, names)):
            document = _document(item, where)
            number = found.contents.get(_content(document))
            if number is None:
                number = found.add(document)
                yield document
            numbers.append(number)
        if names is _POSITIVE and not numbers:
            raise DataError(f"{where}: no positive document; name it {_or(names)}.")
        sides.append(numbers)
    found.ids.append(str(_first(record, ("query_id", *_IDS)) or f"q{len(found.ids)}"))
    found.queries.append(query)
    found.positives.append(sides[0])
    found.negatives.append(sides[1])
    for side, fields, kept in zip(sides, _TEACHER, found.teacher, strict=True):
        scores = _listed(_first(record, fields))
        if scores and len(scores) != len(side):
            raise DataError(f"{where}: {len(scores)} {fields[0]} for {len(side)} documents.")
        try:
            kept += [float(score) for score in scores] or [np.nan] * len(side)
        except (TypeError, ValueError):
            raise DataError(f"{where}: {fields[0]} are not numbers.") from None


def _records(source: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Objects of a file: one a line, or one array of them (as DPR's)."""
    if source.suffix == ".json":
        try:
            values = orjson.loads(source.read_bytes())
        except ValueError as error:
            raise DataError(f"{source}: not JSON ({error}).") from None
        pairs: Iterator[tuple[Any, str]] = ((value, f"{source}, entry {n}") for n, value in enumerate(values))
    else:
        pairs = ((_loaded(line, where), where) for line, where in _lines(source))
    for value, where in pairs:
        if not isinstance(value, dict):
            raise DataError(f"{where}: a JSON object was expected.")
        yield value, where


def _lines(source: Path) -> Iterator[tuple[bytes, str]]:
    try:
        for item in lines(source, _LONGEST):
            if isinstance(item, Fault):
                raise DataError(f"{item.where}: {item.reason} {item.detail}".rstrip() + ".")
            if item[1].strip():
                yield item[1], f"{source}:{item[0]}"
    except DamagedStreamError as error:
        fault = error.fault(str(source))
        raise DataError(f"{source}: {fault.reason} ({fault.detail}): fetch it again.") from None


def _loaded(line: bytes, where: str) -> Any:
    try:
        return orjson.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}).") from None


def _document(item: object, where: str) -> Document:
    if isinstance(item, str) and item.strip():
        return _named(Document(id="", text=item, where=where))
    if isinstance(item, dict) and str(item.get("text") or "").strip():
        title = str(item.get("title") or "")
        return _named(Document(id=str(_first(item, _IDS) or ""), title=title, text=str(item["text"]), where=where))
    raise DataError(f"{where}: a document is a text, or an object with a text and maybe a title; found {item!r:.60}.")


def _named(document: Document) -> Document:
    """A document without an id is called by its content."""
    if document.id:
        return document
    name = f"d{_content(document).hex()[:16]}"
    return Document(id=name, title=document.title, text=document.text, where=document.where)


def _content(document: Document) -> bytes:
    return hashlib.blake2b(f"{document.title}\0{document.text}".encode(errors="surrogatepass"), digest_size=16).digest()


def _first(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _listed(value: object) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _or(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def documents_by_id(labels: Labels) -> dict[str, int]:
    """Number of each document by its id; the first where several have one."""
    numbers: dict[str, int] = {}
    stream = itertools.chain.from_iterable(labels.records.batches(select=np.arange(labels.size)))
    for number, document in enumerate(stream):
        numbers.setdefault(document.id, number)
    return numbers
