"""A file of labels: its records become documents and queries of a ``LabelReader``, ids become documents."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from pretrieve.core.errors import DataError
from pretrieve.core.types import Document
from pretrieve.pipeline.finetune.label_formats.example import Example, Item, Reference, Scored
from pretrieve.pipeline.finetune.label_formats.files import read_examples
from pretrieve.pipeline.finetune.label_reader import LabelReader, Side
from pretrieve.pipeline.finetune.label_report import LabelReport
from pretrieve.text.records import Fault

# A text that is rather the id of a document: one word with a digit.
_LIKE_ID = re.compile(r"(?=.*\d)[\w.:/#-]{1,64}", re.ASCII)


class LabelFile:
    """One reading of a file.

    Args:
        path: the file.
        reader: takes documents and queries.
        report: takes counts.
        refuse: takes bad records, and raises or not.
    """

    def __init__(self, path: Path, reader: LabelReader, report: LabelReport, refuse: Callable[[Fault], None]) -> None:
        self._path, self._reader, self._report, self._refuse = path, reader, report, refuse
        self._collection = 0  # documents that stand before the labels
        self._unnamed = False  # they are named by their places
        self._texts = self._like_ids = 0  # documents that labels give as a text, and those that look like ids
        self._example = ""

    def records(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Further documents, then the new ones of the labels; the queries go to the reader.

        Raises:
            DataError: a record is bad and none is skipped, or the documents are ids that nobody knows.
        """
        for document in documents:
            self._collection = self._reader.add(document) + 1
            self._unnamed |= document.id == document.where
            yield document
        for item in read_examples(self._path, self._report.notes):
            if isinstance(item, Document):
                self._reader.add(item)
                yield item
                continue
            taken = item if isinstance(item, Fault) else self._take(item)
            if isinstance(taken, Fault):
                self._refuse(taken)
            else:
                yield from taken
        self._check_ids()

    def _take(self, example: Example) -> list[Document] | Fault:
        """Add an example to the reader; return its new documents, or why it cannot be used."""
        if not self._reader.takes(example.name, example.query):
            detail = f"{example.name!r} is that of another query"
            return Fault(example.where, "query id taken", detail, example.raw)
        counts = Counter(example.counts)
        positives = self._resolved(example.positives, counts, tolerant=example.collection)
        negatives = self._resolved(example.negatives, counts, tolerant=example.collection or bool(self._collection))
        for side in (positives, negatives):
            if isinstance(side, Reference):
                return Fault(example.where, "unknown document id", self._remedy(side), example.raw)
        assert not isinstance(positives, Reference)
        assert not isinstance(negatives, Reference)
        new: list[Document] = []
        sides = [self._numbered(side, counts, new) for side in (positives, negatives)]
        self._report.good(example.unused, counts)
        self._reader.query(example.name, example.query, sides, example.where, example.answers)
        return new

    def _resolved(
        self, side: Sequence[Scored], counts: Counter[str], *, tolerant: bool
    ) -> list[tuple[Document | int, float]] | Reference:
        """Documents, or their numbers where they are known by id; an unknown id, unless it may be left out."""
        found: list[tuple[Document | int, float]] = []
        for scored in side:
            number = self._number(scored.item)
            if number is not None:
                counts["by_id"] += bool(self._collection)
                found.append((number, scored.score))
            elif isinstance(scored.item, Document):
                found.append((scored.item, scored.score))
            elif tolerant:
                counts["missing"] += 1
            else:
                return scored.item
        return found

    def _number(self, item: Item) -> int | None:
        """The number of a document that is given by its id, also by a text that is one."""
        if isinstance(item, Reference):
            return self._reader.number(item.id)
        number = self._reader.number(item.text) if self._collection and not item.title else None
        return number if number is not None and number < self._collection else None

    def _numbered(
        self, side: Sequence[tuple[Document | int, float]], counts: Counter[str], new: list[Document]
    ) -> Side:
        """A side by numbers; new documents are added to the reader and to the list."""
        found: Side = {}
        for item, score in side:
            number = item if isinstance(item, int) else self._add(item, new)
            counts["repeated"] += number in found
            found.setdefault(number, score)
        return found

    def _add(self, document: Document, new: list[Document]) -> int:
        self._texts += 1
        if not document.title and _LIKE_ID.fullmatch(document.text):
            self._like_ids += 1
            self._example = self._example or document.text
        number, written = self._reader.document(document)
        new += [written] if written is not None else []
        return number

    def _remedy(self, unknown: Reference) -> str:
        if not self._collection:
            return f"{unknown.id!r}: give the documents with these ids as --documents SOURCE"
        if self._unnamed:
            return f"{unknown.id!r}: documents of --documents have no ids; name them _id or id"
        return f"{unknown.id!r} is not among --documents"

    def _check_ids(self) -> None:
        """Refuse, or report, texts that look like ids.

        Raises:
            DataError: all do.
        """
        if not self._like_ids:
            return
        if self._like_ids == self._texts > 1:
            remedy = (
                "they are not among --documents" if self._collection else "give the documents as --documents SOURCE"
            )
            raise DataError(f"{self._path}: documents look like ids, such as {self._example!r}: {remedy}.")
        self._report.notes.append(
            f"{self._like_ids:,} documents are one word with a digit, such as {self._example!r}, and read as texts; if "
            "they are ids, give their documents as --documents SOURCE."
        )
