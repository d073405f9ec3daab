"""What a record of a file of labels says, whatever its format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pretrieve.core.types import Document


class BadLabelError(Exception):
    """A record that cannot be used: reason and detail of a fault.

    Attributes:
        reason: one of a few words that faults are counted by.
        detail: further detail for the message.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True)
class Reference:
    """A document that a record names by its id alone.

    Attributes:
        id: id of the document.
    """

    id: str


Item = Document | Reference


@dataclass(frozen=True, slots=True)
class Scored:
    """A document of a query.

    Attributes:
        item: the document, or its id.
        score: a teacher's score of it, NaN where unknown.
    """

    item: Item
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A query of a file with its documents.

    Attributes:
        query: its text.
        where: ``file:line``.
        name: its id; empty where the record has none.
        positives: documents that are relevant to it.
        negatives: documents that are not.
        answers: strings that answer it.
        collection: the file brings the documents too, and those that it lacks are left out.
        unused: names of fields that are not used.
        counts: what was left out or decided, by the names of ``LabelReport``.
        raw: the record as it was.
    """

    query: str
    where: str
    name: str = ""
    positives: Sequence[Scored] = ()
    negatives: Sequence[Scored] = ()
    answers: Sequence[str] = ()
    collection: bool = False
    unused: Sequence[str] = ()
    counts: Counter[str] = field(default_factory=Counter)
    raw: object = None
