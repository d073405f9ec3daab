"""Reading labels: a BEIR folder's split, or a file in one of the usual formats (``docs/labels.md``)."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.types import Document
from pretrieve.pipeline.finetune.label_file import LabelFile
from pretrieve.pipeline.finetune.label_reader import LabelReader, Side
from pretrieve.pipeline.finetune.label_report import LabelReport
from pretrieve.pipeline.run.progress import Listener
from pretrieve.sampling.labels import Labels
from pretrieve.text import corpus as corpora
from pretrieve.text.beir import read_corpus, read_qrels, read_queries
from pretrieve.text.corpus import Fields, OnBad
from pretrieve.text.documents import Documents
from pretrieve.text.named import collection_folder
from pretrieve.text.records import Fault


@dataclass(frozen=True, kw_only=True)
class LabelSource:
    """Where labels are, and how they are read.

    Attributes:
        path: a BEIR folder, or a file.
        split: split of a BEIR folder.
        documents: sources of more documents, to find negatives in and texts of ids; for files only.
        on_bad: policy for bad records of labels and documents.
        quarantine: with ``on_bad="quarantine"``, the file that bad records of labels are written to; those of the
            documents go beside it.
    """

    path: Path
    split: str = "train"
    documents: Sequence[str] = ()
    on_bad: OnBad = "auto"
    quarantine: Path | None = None


def read_and_report(source: LabelSource, target: Path, listener: Listener) -> tuple[Labels, LabelReport]:
    """Read labels, and tell a listener what was not used as it stands.

    Args:
        source: the labels.
        target: the ``Documents`` to make of documents and queries.
        listener: receives progress and the lines of the report.

    Raises:
        PretrieveError: as ``read_labels``.
    """
    report = LabelReport()
    listener.stage("read labels", unit="queries")
    labels = read_source(source, target, report)
    listener.advance(len(labels), f"{labels.size:,} documents")
    for line in report.lines(str(source.path)):
        listener.note(line)
    if source.on_bad == "quarantine" and report.faults:
        listener.note(f"bad records of the labels are in {source.quarantine}.")
    return labels, report


def read_labels(source: Path, target: Path, *, split: str = "train", documents: Sequence[str] = ()) -> Labels:
    """Read labels without a report; a bad record is an error.

    Args:
        source: a BEIR folder, or a file.
        target: the ``Documents`` to make of documents and queries.
        split: split of a BEIR folder.
        documents: sources of more documents; for files only.

    Raises:
        PretrieveError: as ``read_source``.
    """
    return read_source(LabelSource(path=source, split=split, documents=documents), target, LabelReport())


def read_source(source: LabelSource, target: Path, report: LabelReport) -> Labels:
    """Read labels, and write documents and queries to disk; queries with the same text are merged.

    Args:
        source: the labels.
        target: the ``Documents`` to make of documents and queries.
        report: counts, filled while reading.

    Raises:
        UsageError: the source does not exist, is of an unknown format, or has no such split.
        DataError: a record is bad and ``on_bad`` is fail (the text names ``file:line``), or no query is left.
    """
    reader = LabelReader()
    with contextlib.ExitStack() as stack:
        source = replace(source, path=stack.enter_context(collection_folder(source.path, source.split)))
        policy = corpora.policy(source.on_bad, source.quarantine, stack)

        def refuse(fault: Fault) -> None:
            report.bad(fault)
            policy(fault, named=True)

        records = _records(source, reader, report, refuse)
        labels = reader.labels(Documents.write(target, records, replace=True))
    report.counts.update(reader.counts)
    report.queries, report.with_negatives = len(labels), int((labels.negatives.lengths > 0).sum())
    return labels


def _records(
    source: LabelSource, reader: LabelReader, report: LabelReport, refuse: Callable[[Fault], None]
) -> Iterator[Document]:
    """All documents, then the queries."""
    path, split = source.path, source.split
    if path.is_dir():
        if source.documents:
            raise UsageError(f"{path} is a BEIR folder with its own documents: leave --documents out.")
        yield from _beir(path, split, reader, report, refuse)
        none = f"no query of split {split!r} has a relevant document in the corpus"
    elif split != "train":
        raise UsageError(f"{path} is no BEIR folder and has no split {split!r}: leave --split out.")
    elif not path.is_file():
        raise UsageError(f"{path}: no such file or folder; give a file of labels (docs/labels.md) or a BEIR folder.")
    else:
        yield from LabelFile(path, reader, report, refuse).records(_more_documents(source, report))
        none = "no query with a positive document"
    if not len(reader):
        bad = f"; {report.faulty()}, such as {report.examples[0]}" if report.faults else ""
        raise DataError(f"{path}: {none}{bad}.")
    yield from reader.queries()


def _beir(
    folder: Path, split: str, reader: LabelReader, report: LabelReport, refuse: Callable[[Fault], None]
) -> Iterator[Document]:
    """Documents of a BEIR folder; the queries of a split go to the reader."""
    qrels = read_qrels(folder, split)  # before anything slow
    for document in read_corpus(folder):
        reader.add(document)
        yield document
    texts = read_queries(folder)
    for query, grades in qrels.items():
        if query not in texts:
            refuse(Fault(f"{folder}, split {split!r}", "no query", f"{query!r} is not among the queries"))
            continue
        numbers = {name: reader.number(name) for name in grades}
        known = {number: grades[name] for name, number in numbers.items() if number is not None}
        positives: Side = {number: math.nan for number, grade in known.items() if grade > 0}
        negatives: Side = {number: math.nan for number, grade in known.items() if grade <= 0}
        report.records += 1
        report.counts["missing"] += len(grades) - len(known)
        report.counts["without_positive"] += not positives
        if positives:
            reader.query(query, texts[query], (positives, negatives), str(folder))


def _more_documents(source: LabelSource, report: LabelReport) -> Iterator[Document]:
    """The documents of ``--documents``."""
    if source.documents:
        place = source.quarantine
        yield from corpora.read(
            source.documents,
            fields=Fields(),
            on_bad=source.on_bad,
            report=report.documents,
            quarantine=place.with_name(f"documents-{place.name}") if place is not None else None,
        )


def documents_by_id(labels: Labels) -> dict[str, int]:
    """Number of each document by its id; the first where several have one."""
    numbers: dict[str, int] = {}
    stream = itertools.chain.from_iterable(labels.records.batches(select=np.arange(labels.size)))
    for number, document in enumerate(stream):
        numbers.setdefault(document.id, number)
    return numbers
