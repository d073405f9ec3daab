"""The output of readers: records with named fields, faults with place and reason, and notes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Mark(NamedTuple):
    """Where a part of a record's text stands in its file.

    Attributes:
        row: line of the text at which the part begins, from 0.
        line: line of the file, from 1; 0 if it is not known.
        path: headings that it stands below.
    """

    row: int
    line: int
    path: tuple[str, ...] = ()


@dataclass(slots=True)  # not frozen: that takes three times as long to make
class Record:
    """One record of a source.

    Attributes:
        where: ``file:line`` for messages, and the id of a record that has none.
        fields: values by field name.
        raw: the record as it was, for the quarantine.
        fixed: the fields are ours (``id``, ``title``, ``text``), as text formats give them, not the user's to name.
        headerless: the fields are the numbered columns of a table that seems to have no header.
        line: line of the file where it begins, if ``where`` does not say it.
        marks: where the parts of its text stand, in order.
        parent: id of the document that it is a part of, if its reader cut one.
        facts: gives further fields of a record whose fields are ours, such as author and date; called only for search.
    """

    where: str
    fields: Mapping[str, object]
    raw: object = None
    fixed: bool = False
    headerless: bool = False
    line: int = 0
    marks: Sequence[Mark] = ()
    parent: str = ""
    facts: Callable[[], Mapping[str, object]] | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """A record, or the rest of a file, that cannot be used.

    Attributes:
        where: ``file:line``.
        reason: one of a few words that faults are counted by.
        detail: further detail for the message.
        raw: the raw content.
    """

    where: str
    reason: str
    detail: str = ""
    raw: object = None

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader guessed, replaced or left out while it read a file: no fault, but counted and reported.

    Attributes:
        where: ``file:line``, or the file.
        reason: one of a few phrases that notes are counted by, such as ``read as windows-1252 (guessed)``.
        detail: further detail for the message.
    """

    where: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f" ({self.detail})" if self.detail else "")
