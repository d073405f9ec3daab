"""Collects labels: documents and queries with their numbers, positives and negatives."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from pretrieve.core.errors import DataError
from pretrieve.core.types import Document, FloatArray, Rows
from pretrieve.sampling.labels import Labels
from pretrieve.text.documents import Documents

Side = dict[int, float]  # documents of a query with a teacher's scores, NaN where unknown


class LabelReader:
    """Numbers documents and queries in the order in which they are added, with their positives and negatives.

    ``document`` and ``query`` add one each and return what is new; ``labels`` returns everything. The caller writes the
    new documents, then ``queries``, to disk. A query without a positive is left out, and so is a negative that is a
    positive of the same query, or a copy of one.

    Attributes:
        counts: what was merged, contradicted or left out, by the names of ``LabelReport``; complete after ``labels``.

    Example:
        >>> reader = LabelReader()
        >>> number, new = reader.document(Document(id="d1", text="A text."))
        >>> reader.query("q1", "a question", [{number: math.nan}, {}], where="labels.jsonl:1")
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # of documents by id
        self._contents: dict[bytes, int] = {}  # first document with some content
        self._canonical: list[int] = []
        self._rows: dict[str, int] = {}  # of queries by their text
        self._ids: dict[str, int] = {}  # of queries, in order
        self._sides: tuple[list[Side], list[Side]] = ([], [])  # positives, negatives
        self._answers: list[list[str]] = []  # of queries
        self.counts = Counter[str]()

    def __len__(self) -> int:
        """Number of queries with a positive."""
        return len(self._usable())

    def add(self, document: Document) -> int:
        """Number a document of the collection, be it a copy of another or not."""
        return self._add_content(document, _content(document))

    def _add_content(self, document: Document, content: bytes) -> int:
        number = len(self._canonical)
        self._numbers.setdefault(document.id, number)
        self._canonical.append(self._contents.setdefault(content, number))
        return number

    def document(self, document: Document) -> tuple[int, Document | None]:
        """Add a document of a query.

        Args:
            document: document as given by the labels; its content's hash becomes its id where it has none.

        Returns:
            Its number, and the document to write, or None where its text is known already.
        """
        content = _content(document)
        number = self._contents.get(content)
        if number is not None:
            return number, None
        if not document.id or document.id in self._numbers:  # of another text
            document = replace(document, id=f"d{content.hex()[:16]}")
        return self._add_content(document, content), document

    def number(self, name: str) -> int | None:
        """Number of the document with an id; None where there is none."""
        return self._numbers.get(name)

    def takes(self, name: str, text: str) -> bool:
        """Whether a query can be added: its id is that of no other."""
        return text in self._rows or name not in self._ids

    def query(self, name: str, text: str, sides: Sequence[Side], where: str, answers: Sequence[str] = ()) -> None:
        """Add a query; a known one gets more positives and negatives.

        As two queries, a positive of one copy would be a negative of the other, and one copy could be held out while
        the other is trained on.

        Args:
            name: its id; the next free number where it is empty.
            text: text of the query.
            sides: its positives and its negatives.
            where: ``file:line``.
            answers: answers to the query.

        Raises:
            DataError: another query has the id.
        """
        name = name or f"q{len(self._rows)}"
        if not self.takes(name, text):
            raise DataError(f"{where}: the id {name!r} is that of another query.")
        row = self._rows.setdefault(text, len(self._rows))
        self.counts["merged"] += row < len(self._ids)
        if row == len(self._ids):
            self._ids[name] = row
            self._answers.append([])
            for every in self._sides:
                every.append({})
        self._answers[row] += [answer for answer in answers if answer not in self._answers[row]]
        for every, side in zip(self._sides, sides, strict=True):
            for number, score in side.items():
                self._add(every[row], number, score)

    def _add(self, side: Side, number: int, score: float) -> None:
        """Add a document to a side of a query; a known score is kept."""
        known = side.get(number, math.nan)
        self.counts["repeated"] += number in side
        self.counts["conflicting_scores"] += not math.isnan(known) and not math.isnan(score) and known != score
        if math.isnan(known):
            side[number] = score

    def _usable(self) -> list[int]:
        """The rows of queries with a positive."""
        return [row for row, positives in enumerate(self._sides[0]) if positives]

    def queries(self) -> Iterator[Document]:
        """The queries, as records to write after the documents."""
        usable = set(self._usable())
        for row, (name, text) in enumerate(zip(self._ids, self._rows, strict=True)):
            if row in usable:
                yield Document(id=f"query {name}", text=text)

    def labels(self, records: Documents) -> Labels:
        """Return the labels of all documents and queries.

        Args:
            records: the added documents, in order, followed by the queries.
        """
        size, usable, ids = len(self._canonical), self._usable(), list(self._ids)
        self.counts["without_positive"] += len(ids) - len(usable)
        (positives, theirs), (negatives, others) = (
            _joined([side[row] for row in usable]) for side in (self._sides[0], self._true_negatives())
        )
        known = np.isfinite(theirs).any() or np.isfinite(others).any()
        answers = [self._answers[row] for row in usable]
        return Labels(
            records=records,
            size=size,
            places=size + np.arange(len(usable)),
            ids=[ids[row] for row in usable],
            canonical=np.array(self._canonical, np.int64),
            positives=positives,
            negatives=negatives,
            teacher=(theirs, others) if known else None,
            answers=answers if any(answers) else None,
        )

    def _true_negatives(self) -> list[Side]:
        """Negatives of all queries, without their positives and copies of them."""
        kept: list[Side] = []
        for positives, negatives in zip(*self._sides, strict=True):
            relevant = {self._canonical[number] for number in positives}
            kept.append(
                {number: score for number, score in negatives.items() if self._canonical[number] not in relevant}
            )
            self.counts["contradicted"] += len(negatives) - len(kept[-1])
        return kept


def _joined(rows: Sequence[Side]) -> tuple[Rows, FloatArray]:
    """Positives or negatives of all queries, and a teacher's scores of them."""
    scores = [score for row in rows for score in row.values()]
    return Rows.of([list(row) for row in rows]), np.asarray(scores, np.float32)


def _content(document: Document) -> bytes:
    return hashlib.blake2b(f"{document.title}\0{document.text}".encode(errors="surrogatepass"), digest_size=16).digest()
