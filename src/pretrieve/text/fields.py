"""From the fields of a record to a document: names by convention or as given, types, characters, lengths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.types import Document
from pretrieve.text.language import detect
from pretrieve.text.records import Fault, Note, Record
from pretrieve.text.wikipedia import is_article, unescaped

_CONVENTIONS: Mapping[str, tuple[str, ...]] = {
    "id": ("_id", "id"),
    "title": ("title",),
    "text": ("text", "contents", "body"),
    "group": ("lang", "language"),
}
DETECT = "detect"  # reserved name of the group field: the language is detected from title and text
_ID_LENGTH = 512
_PATIENCE = 1000  # records among which an optional field that the user named has to occur
_CONTROL = re.compile("[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Field names of a record; None: the usual names.

    Attributes:
        id: by convention ``_id`` or ``id``; a record without one is named by its place, ``file:line``.
        title: by convention ``title``; may be absent.
        text: by convention ``text``, ``contents`` or ``body``.
        group: language or source; by convention ``lang`` or ``language``; may be absent. ``detect``: the
            language of each document is detected from its text (``text.language.detect``).
        columns: names of the columns, in order, of tables without a header.
        use_titles: whether to use titles.
        wikipedia: read HTML entities, and leave out lists, indices, outlines and pages of disambiguation.
    """

    id: str | None = None
    title: str | None = None
    text: str | None = None
    group: str | None = None
    columns: tuple[str, ...] | None = None
    use_titles: bool = True
    wikipedia: bool = False


class Names:
    """The field names of one source, checked as its records come.

    Args:
        fields: field names given by the user.
        where: the source, for messages.
        tabular: all records have the same fields, so that a missing text is a wrong name and no fault of a record.
        named: the source was named by the user; else it was found in a folder, and what it lacks may be guessed.
    """

    def __init__(self, fields: Fields, where: str, *, tabular: bool, named: bool = True) -> None:
        self.use_titles, self.detects = fields.use_titles, fields.group == DETECT
        self._wikipedia = fields.wikipedia
        self._where, self._tabular, self._named_source = where, tabular, named
        given = {role: name for role in _CONVENTIONS if (name := getattr(fields, role))}
        given = {role: name for role, name in given.items() if not (role == "group" and self.detects)}
        self._named = set(given.values())
        self._chosen = {**_CONVENTIONS, **{role: (name,) for role, name in given.items()}}
        self._present: set[str] = set()
        self._patience = _PATIENCE

    def value(self, record: Record, role: str) -> object:
        """The value of a role in a record, None if absent."""
        if record.fixed:
            return record.fields.get(role)
        for name in self._chosen[role]:
            if (value := record.fields.get(name)) is not None:
                return unescaped(value) if self._wikipedia and isinstance(value, str) and role != "id" else value
        return None

    def passes_over(self, record: Record) -> bool:
        """Whether a record is a page of Wikipedia that is no article, where such pages are left out."""
        title = self.value(record, "title") if self._wikipedia else None
        return isinstance(title, str) and not is_article(title)

    def check(self, record: Record) -> None:
        """Note the names of a record.

        Raises:
            UsageError: a field that the user named is not there.
        """
        if record.fixed or self._patience == 0:
            return
        first = not self._present
        self._present.update(map(str, record.fields))
        if first and (self._tabular or self._chosen["text"][0] in self._named):
            self._check_text()
        self._patience -= 1
        if self._tabular or self._patience == 0:
            self.check_all_seen()
            self._patience = 0

    def notes(self) -> list[Note]:
        """What was guessed or not used of this source."""
        return []

    def check_all_seen(self) -> None:
        """Report that a named field never occurred.

        Raises:
            UsageError: listing the fields that did.
        """
        for name in sorted(self._named - self._present):
            if self._present and self._patience:
                raise UsageError(f"{self._where}: no field {name!r}.{suggest(name, self._present)}")

    def _check_text(self) -> None:
        if not self._present.intersection(self._chosen["text"]):
            expected = " or ".join(self._chosen["text"])
            hint = suggest(self._chosen["text"][0], self._present)
            raise UsageError(f"{self._where}: no field {expected}; name the one with the text by --text-field.{hint}")


def document_of(record: Record, names: Names) -> Document | Fault:
    """Check a record and make it a document.

    Line ends become line feeds, other control characters a space; white space around text and title goes. The language
    is detected only on request: it takes about a millisecond per document.

    Raises:
        UsageError: a field that the user named is not in the source.
    """
    names.check(record)
    try:
        text = _text(names.value(record, "text"), record)
        title = _line(names.value(record, "title"), "title") if names.use_titles else ""
        return Document(
            id=_id(names.value(record, "id"), record.where),
            text=text,
            title=title,
            group=detect(f"{title}\n{text}") if names.detects else _line(names.value(record, "group"), "group"),
            where=record.where,
        )
    except _BadValueError as error:
        return Fault(record.where, error.reason, error.detail, record.raw)


class _BadValueError(Exception):
    """What is wrong with a value: reason and detail of a fault."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def _id(value: object, where: str) -> str:
    if value is None:
        return where
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _BadValueError("id is not a string", type(value).__name__)
    if not value.strip():
        raise _BadValueError("empty id")
    if len(value) > _ID_LENGTH:
        raise _BadValueError("id too long", f"{len(value):,} characters")
    _check_characters(value)
    if not value.isprintable():
        raise _BadValueError("id holds control characters", repr(value[:80]))
    return value


def _text(value: object, record: Record) -> str:
    if value is None:
        raise _BadValueError("no text", f"its fields: {', '.join(map(str, record.fields)) or 'none'}")
    if not isinstance(value, str):
        raise _BadValueError("text is not a string", type(value).__name__)
    text = _clean(value)
    if not text:
        raise _BadValueError("empty document")
    return text


def _line(value: object, role: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _BadValueError(f"{role} is not a string", type(value).__name__)
    return " ".join(_clean(value).split())


def _clean(value: str) -> str:
    _check_characters(value)
    if "\r" in value:
        value = value.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub(" ", value).strip()


def _check_characters(value: str) -> None:
    if "\0" in value:
        raise _BadValueError("NUL character", f"at {value.index(chr(0))}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _BadValueError("lone surrogate", f"at {error.start}") from None
