"""Reading labels: a BEIR folder's split, JSONL of pairs or triplets, or DPR's files."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.types import Document
from pretrieve.pipeline.finetune.label_reader import LabelReader, Side, named
from pretrieve.sampling.labels import Labels
from pretrieve.text import corpus as corpora
from pretrieve.text.beir import read_corpus, read_qrels, read_queries
from pretrieve.text.corpus import Fields
from pretrieve.text.documents import Documents
from pretrieve.text.records import Fault
from pretrieve.text.streams import COMPRESSED, DamagedStreamError, lines

# Field names in label files; the first one present counts.
_QUERY = ("query", "question", "anchor")
_POSITIVE = ("positive", "positives", "pos", "positive_ctxs", "document", "passage")
_NEGATIVE = ("negative", "negatives", "neg", "hard_negative_ctxs", "hard_negatives")
_TEACHER = (("positive_scores", "pos_scores"), ("negative_scores", "neg_scores"))
_LONGEST = 1 << 26  # bytes of a line
_HIGHEST = 1e6  # maximum absolute teacher score; larger ones are mistakes, and overflow when squared
_IDS = ("id", "_id", "passage_id", "psg_id", "docid")


def read_labels(
    source: Path,
    target: Path,
    *,
    split: str = "train",
    documents: Sequence[str] = (),
) -> Labels:
    """Read labels, and write documents and queries to disk; queries with the same text are merged.

    Args:
        source: a BEIR folder, or a file: JSONL (plain or compressed) or JSON of queries with positives and, optionally,
            negatives and a teacher's scores.
        target: the ``Documents`` to make of documents and queries.
        split: split of a BEIR folder.
        documents: sources of more documents to find negatives in; for files only.

    Raises:
        UsageError: the source does not exist, is of an unknown format, or has no such split.
        DataError: a line cannot be used; the text names ``file:line``.
    """
    reader = LabelReader()
    if source.is_dir():
        if documents:
            raise UsageError(f"{source} is a BEIR folder with its own documents: leave --documents out.")
        records = _beir(source, split, reader)
    elif split != "train":
        raise UsageError(f"{source} is no BEIR folder and has no split {split!r}: leave --split out.")
    else:
        records = _pairs(source, documents, reader)
    return reader.labels(Documents.write(target, records, replace=True))


def _beir(folder: Path, split: str, reader: LabelReader) -> Iterator[Document]:
    """Documents of a BEIR folder, then the queries of a split."""
    qrels = read_qrels(folder, split)  # before anything slow
    for document in read_corpus(folder):
        reader.add(document)
        yield document
    texts = read_queries(folder)
    for query, grades in qrels.items():
        if query not in texts:
            raise DataError(f"{folder}: query {query!r} of split {split!r} is not among the queries.")
        numbers = {name: reader.number(name) for name in grades}
        known = {number: grades[name] for name, number in numbers.items() if number is not None}
        positives: Side = {number: math.nan for number, grade in known.items() if grade > 0}
        negatives: Side = {number: math.nan for number, grade in known.items() if grade <= 0}
        if positives:
            reader.query(query, texts[query], (positives, negatives), str(folder))
    if not len(reader):
        raise DataError(f"{folder}: no query of split {split!r} has a relevant document in the corpus.")
    yield from reader.queries()


def _pairs(source: Path, documents: Sequence[str], reader: LabelReader) -> Iterator[Document]:
    """Documents of sources and of a file of labels, then its queries."""
    if not source.is_file():
        raise UsageError(f"{source}: no such file or folder; give JSONL of pairs, DPR's file, or a BEIR folder.")
    for document in corpora.read(documents, fields=Fields()) if documents else ():
        reader.add(document)
        yield document
    for record, where in _records(source):
        yield from _take(_example(record, where), reader)
    if not len(reader):
        raise DataError(f"{source} holds no query with a positive document.")
    yield from reader.queries()


@dataclass(frozen=True, kw_only=True)
class _Example:
    """A query of a file: its positives, then its negatives, each with a teacher's scores (NaN where unknown)."""

    name: str
    query: str
    sides: tuple[Sequence[Document], Sequence[Document]]
    scores: tuple[Sequence[float], Sequence[float]]
    answers: Sequence[str]
    where: str


def _take(example: _Example, reader: LabelReader) -> list[Document]:
    """Add an example to the reader; return its new documents."""
    new: list[Document] = []
    sides: list[Side] = []
    for documents, scores in zip(example.sides, example.scores, strict=True):
        side: Side = {}
        for document, score in zip(documents, scores, strict=True):
            number, written = reader.document(document)
            new += [written] if written is not None else []
            side[number] = score
        sides.append(side)
    reader.query(example.name, example.query, sides, example.where, example.answers)
    return new


def _example(record: Mapping[str, Any], where: str) -> _Example:
    """Read one query of a file.

    Raises:
        DataError: it has no text or no positives, or a document or a score is none.
    """
    query = _first(record, _QUERY)
    if not isinstance(query, str) or not query.strip():
        raise DataError(f"{where}: no query; name it {_or(_QUERY)}, and give a text.")
    positives, negatives = (
        [_document(item, where) for item in _listed(_first(record, names))] for names in (_POSITIVE, _NEGATIVE)
    )
    if not positives:
        raise DataError(f"{where}: no positive document; name it {_or(_POSITIVE)}.")
    return _Example(
        name=_id(record, ("query_id", *_IDS)),
        query=query.strip(),
        sides=(positives, negatives),
        scores=(
            _scores(record, _TEACHER[0], len(positives), where),
            _scores(record, _TEACHER[1], len(negatives), where),
        ),
        answers=[str(answer) for answer in _listed(record.get("answers"))],
        where=where,
    )


def _scores(record: Mapping[str, Any], names: Sequence[str], count: int, where: str) -> list[float]:
    """A teacher's scores of so many documents, NaN where the record has none."""
    scores = _listed(_first(record, names))
    if scores and len(scores) != count:
        raise DataError(f"{where}: {len(scores)} {names[0]} for {count} documents.")
    try:
        known = [float(score) for score in scores] or [math.nan] * count
    except (TypeError, ValueError):
        raise DataError(f"{where}: {names[0]} are not numbers.") from None
    if any(abs(score) > _HIGHEST for score in known):
        raise DataError(f"{where}: {names[0]} have one beyond {_HIGHEST:g}.")
    return known


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
        return named(Document(id="", text=item, where=where))
    if isinstance(item, dict) and str(item.get("text") or "").strip():
        title = str(item.get("title") or "")
        return named(Document(id=_id(item, _IDS), title=title, text=str(item["text"]), where=where))
    raise DataError(f"{where}: a document is a text, or an object with text and optional title; found {item!r:.60}.")


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
