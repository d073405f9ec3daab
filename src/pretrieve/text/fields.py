"""From the fields of a record to a document: types, characters, lengths."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

from pretrieve.core.types import Document
from pretrieve.text.characters import BadValueError, check, clean, line
from pretrieve.text.conventions import usual
from pretrieve.text.language import detect
from pretrieve.text.names import DETECT, Fields, Names, first
from pretrieve.text.records import Fault, Mark, Record

__all__ = ["DETECT", "Fields", "Names", "document_of"]

_ID_LENGTH = 512
_KEPT = 400  # characters kept of a path that is too long for an id
BY_TITLE = "with documents without text, read by their title"
JOINED = "without a text field, read as lines of name: value"
_DEPTH = 8  # lists in lists that are joined


def document_of(record: Record, names: Names) -> Document | Fault:
    """Check a record and make it a document.

    Line ends become line feeds, other control characters a space; white space around text and title goes. The language
    is detected only on request: it takes about a millisecond per document.

    Raises:
        UsageError: a field that the user named is not in the source, or a table has no text.
    """
    plan, fields = names.plan(record), record.fields
    try:
        title = _line(names.unescaped(first(fields, plan.title)), "title") if names.use_titles else ""
        text = _text(record, plan.text, names, title)
        group = detect(f"{title}\n{text}") if names.detects else _line(first(fields, plan.group), "group")
        return Document(
            id=_id(first(fields, plan.id), record.where), text=text, title=title, group=group, where=record.where
        )
    except BadValueError as error:
        return Fault(record.where, error.reason, error.detail, record.raw)


def used_names(record: Record, names: Names) -> set[str]:
    """The fields of a record that its document's id, title and text are of; the others are kept for search."""
    plan = names.plan(record)
    used = {plan.id, plan.text, plan.title} if names.use_titles else {plan.id, plan.text}
    values = ((name for name in role if first(record.fields, (name,)) is not None) for role in used)
    return {found for found in (next(names, "") for names in values) if found}


def marks_of(record: Record) -> list[Mark]:
    """Where the parts of a record's text stand, once white space before it is gone."""
    text = record.fields.get("text")
    if not record.marks or not isinstance(text, str):
        return []
    shift = text[: len(text) - len(text.lstrip())].count("\n")
    if not shift:
        return [*record.marks]
    moved = [Mark(max(0, row - shift), line and line + max(0, shift - row), path) for row, line, path in record.marks]
    return [mark for mark, after in zip(moved, [*moved[1:], None], strict=True) if after is None or after.row]


def _id(value: object, where: str) -> str:
    if value is None:
        return place_id(where)
    if isinstance(value, bytes):
        value = _decoded(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise BadValueError("id is not a string", type(value).__name__)
    if not value or value.isspace():
        raise BadValueError("empty id")
    if where.startswith(value.rpartition("#")[0] or value):  # an id of ours: the file, or a part of it
        return place_id(value)
    if len(value) > _ID_LENGTH:
        raise BadValueError("id too long", f"{len(value):,} characters")
    if not value.isprintable():
        check(value)
        raise BadValueError("id holds control characters", repr(value[:80]))
    return value


def place_id(place: str) -> str:
    """A place as an id: characters that cannot be printed are escaped; of a very long path the end is kept.

    File systems allow line ends and bytes that are no characters in names: no reason to lose the text.
    """
    if len(place) <= _ID_LENGTH and place.isprintable():
        return place
    printed = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in place)
    if len(printed) <= _ID_LENGTH:
        return printed
    return f"…{blake2b(printed.encode(), digest_size=8).hexdigest()} {printed[-_KEPT:]}"


def _text(record: Record, chosen: tuple[str, ...], names: Names, title: str) -> str:
    """The text of a record: its best field that is not empty, all of its fields, or its title."""
    value = names.unescaped(first(record.fields, chosen))
    text = clean(value if isinstance(value, str) else _joined(value, "text"))
    if not text and len(chosen) > 1:
        others = (clean(_joined(record.fields.get(name), "text")) for name in chosen[1:])
        text = next((other for other in others if other), "")
    if not text and names.joins and not chosen:
        text = clean(names.words(record))
        if text:
            names.guess(JOINED)
    if text:
        return text
    if title:
        names.guess(BY_TITLE)
        return title
    if value is None:
        raise BadValueError("no text", f"its fields: {', '.join(map(str, record.fields)) or 'none'}")
    raise BadValueError("empty document")


def _line(value: object, role: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        value = _joined(value, role) if role == "title" else value
        if not isinstance(value, str):
            raise BadValueError(f"{role} is not a string", type(value).__name__)
    return line(value)


def _joined(value: object, role: str, depth: int = 0) -> str:
    """A value as text: a number as it is written, a list of texts joined, the text of a nested object.

    Raises:
        BadValueError: it is of another type.
    """
    if value is None or value != value:  # NaN stands for nothing in tables
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return _decoded(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and depth == 0:  # in a list, a vector
        return str(value)
    if isinstance(value, Mapping) and depth < _DEPTH and (found := usual([*map(str, value)], "text")):
        return _joined(first(value, tuple(found)), role, depth + 1)
    if not isinstance(value, list | tuple) or depth >= _DEPTH:
        raise BadValueError(f"{role} is not a string", type(value).__name__)
    parts = [part for item in value if (part := _joined(item, role, depth + 1))]
    return (" " if all(len(part.split(None, 1)) == 1 for part in parts) else "\n\n").join(parts)


def _decoded(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadValueError("not UTF-8", f"byte 0x{value[error.start]:02x} at {error.start}") from None
