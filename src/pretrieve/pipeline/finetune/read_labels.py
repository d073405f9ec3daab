"""Reading labels: a BEIR folder's split, JSONL of pairs or triplets, or DPR's files."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.types import Document, FloatArray, Rows
from pretrieve.sampling.labels import Labels
from pretrieve.text import corpus as corpora
from pretrieve.text.beir import read_corpus, read_qrels, read_queries
from pretrieve.text.corpus import Fields
from pretrieve.text.documents import Documents
from pretrieve.text.records import Fault
from pretrieve.text.streams import COMPRESSED, DamagedStreamError, lines

# Names under which files keep things; the first that is there counts.
_QUERY = ("query", "question", "anchor")
_POSITIVE = ("positive", "positives", "pos", "positive_ctxs", "document", "passage")
_NEGATIVE = ("negative", "negatives", "neg", "hard_negative_ctxs", "hard_negatives")
_TEACHER = (("positive_scores", "pos_scores"), ("negative_scores", "neg_scores"))
_LONGEST = 1 << 26  # bytes of a line
_HIGHEST = 1e6  # a teacher's score: what is beyond is a slip, and its square too much for single precision
_IDS = ("id", "_id", "passage_id", "psg_id", "docid")


_Side = dict[int, float]  # documents of a query with a teacher's scores, NaN where unknown


@dataclass(kw_only=True)
class _Found:
    """What is gathered while documents stream past."""

    numbers: dict[str, int] = field(default_factory=dict)  # of documents by id
    contents: dict[bytes, int] = field(default_factory=dict)  # first document with some content
    canonical: list[int] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)  # of queries by their text
    ids: dict[str, int] = field(default_factory=dict)  # of queries, in order
    sides: tuple[list[_Side], list[_Side]] = field(default_factory=lambda: ([], []))  # positives, negatives
    answers: list[list[str]] = field(default_factory=list)  # of queries

    def add(self, document: Document) -> int:
        """Number a document of the collection."""
        number = len(self.canonical)
        self.numbers.setdefault(document.id, number)
        self.canonical.append(self.contents.setdefault(_content(document), number))
        return number

    def ask(self, name: str, text: str, sides: Sequence[_Side], where: str, answers: Sequence[str] = ()) -> None:
        """Take a query; one that is there already gets more positives and negatives.

        Apart, a positive of one copy would be a negative for the other, and one could be held out to judge what was
        learnt from the other.
        """
        row = self.rows.setdefault(text, len(self.rows))
        if row == len(self.ids):
            if name in self.ids:
                raise DataError(f"{where}: the id {name!r} is that of another query.")
            self.ids[name] = row
            self.answers.append([])
            for every in self.sides:
                every.append({})
        self.answers[row] += [answer for answer in answers if answer not in self.answers[row]]
        for every, side in zip(self.sides, sides, strict=True):
            for number, score in side.items():
                if math.isnan(every[row].get(number, math.nan)):  # a score that is known stays
                    every[row][number] = score

    def questions(self) -> Iterator[Document]:
        """The queries, as records behind the documents."""
        for name, text in zip(self.ids, self.rows, strict=True):
            yield Document(id=f"query {name}", text=text)

    def side(self, number: int) -> tuple[Rows, FloatArray]:
        """Positives (0) or negatives (1), and a teacher's scores of them."""
        rows = self.sides[number]
        scores = [score for row in rows for score in row.values()]
        return Rows.of([list(row) for row in rows]), np.asarray(scores, np.float32)


def read_labels(
    source: Path,
    target: Path,
    *,
    split: str = "train",
    documents: Sequence[str] = (),
) -> Labels:
    """Read labels, and put documents and queries on disk; queries with the same text are one.

    Args:
        source: a BEIR folder, or a file: JSONL (plain or compressed) or JSON of queries with positives and, maybe,
            negatives and scores of a teacher.
        target: the ``Documents`` to make of documents and queries.
        split: of a BEIR folder.
        documents: sources of more documents to find negatives in; for files only.

    Raises:
        UsageError: the source is not there or not known, or has no such split.
        DataError: a line cannot be used; the text names ``file:line``.
    """
    found = _Found()
    if source.is_dir():
        if documents:
            raise UsageError(f"{source} is a BEIR folder and brings its documents: leave --documents out.")
        records = _beir(source, split, found)
    elif split != "train":
        raise UsageError(f"{source} is no BEIR folder and has no split {split!r}: leave --split out.")
    else:
        records = _pairs(source, documents, found)
    written = Documents.write(target, itertools.chain(records, found.questions()), replace=True)
    size = len(found.canonical)
    (positives, theirs), (negatives, others) = found.side(0), found.side(1)
    known = np.isfinite(theirs).any() or np.isfinite(others).any()
    return Labels(
        records=written,
        size=size,
        places=size + np.arange(len(found.ids)),
        ids=list(found.ids),
        canonical=np.array(found.canonical, np.int64),
        positives=positives,
        negatives=negatives,
        teacher=(theirs, others) if known else None,
        answers=found.answers if any(found.answers) else None,
    )


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
            negatives = [number for number, grade in known.items() if grade <= 0]
            sides = [dict.fromkeys(side, math.nan) for side in (positives, negatives)]
            found.ask(query, texts[query], sides, str(folder))
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


def _example(record: Mapping[str, Any], where: str, found: _Found) -> Iterator[Document]:
    """Take one query, and give the documents that were not there yet."""
    query = _first(record, _QUERY)
    if not isinstance(query, str) or not query.strip():
        raise DataError(f"{where}: no query; name it {_or(_QUERY)}, and give a text.")
    sides = []
    for names, fields in zip((_POSITIVE, _NEGATIVE), _TEACHER, strict=True):
        numbers: list[int] = []
        for item in _listed(_first(record, names)):
            document = _document(item, where)
            number = found.contents.get(_content(document))
            if number is None:
                if document.id in found.numbers:  # of another text
                    document = _named(replace(document, id=""))
                number = found.add(document)
                yield document
            numbers.append(number)
        if names is _POSITIVE and not numbers:
            raise DataError(f"{where}: no positive document; name it {_or(names)}.")
        scores = _listed(_first(record, fields))
        if scores and len(scores) != len(numbers):
            raise DataError(f"{where}: {len(scores)} {fields[0]} for {len(numbers)} documents.")
        try:
            known = [float(score) for score in scores] or [math.nan] * len(numbers)
        except (TypeError, ValueError):
            raise DataError(f"{where}: {fields[0]} are not numbers.") from None
        if any(abs(score) > _HIGHEST for score in known):
            raise DataError(f"{where}: {fields[0]} have one beyond {_HIGHEST:g}.")
        sides.append(dict(zip(numbers, known, strict=True)))
    answers = [str(answer) for answer in _listed(record.get("answers"))]
    found.ask(_id(record, ("query_id", *_IDS)) or f"q{len(found.rows)}", query.strip(), sides, where, answers)


def _records(source: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """Objects of a file: one a line, or one array of them (as DPR's)."""
    if source.name.removesuffix(source.suffix if source.suffix in COMPRESSED else "").endswith(".json"):
        values = _loaded(b"\n".join(line for line, _ in _lines(source)), str(source))
        if not isinstance(values, list):
            raise DataError(f"{source}: an array was expected, as DPR's files are; name lines of JSON .jsonl.")
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
        return _named(Document(id=_id(item, _IDS), title=title, text=str(item["text"]), where=where))
    raise DataError(f"{where}: a document is a text, or an object with a text and maybe a title; found {item!r:.60}.")


def _named(document: Document) -> Document:
    """A document without an id is called by its content."""
    if document.id:
        return document
    return replace(document, id=f"d{_content(document).hex()[:16]}")


def _content(document: Document) -> bytes:
    return hashlib.blake2b(f"{document.title}\0{document.text}".encode(errors="surrogatepass"), digest_size=16).digest()


def _first(record: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((record[name] for name in names if record.get(name) is not None), None)


def _id(record: Mapping[str, Any], names: Sequence[str]) -> str:
    found = _first(record, names)
    return "" if found is None else str(found)


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
