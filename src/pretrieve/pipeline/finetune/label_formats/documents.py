"""Documents in a record: texts, objects with text and title, and ids of documents that are elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from pretrieve.core.types import Document
from pretrieve.pipeline.finetune.label_formats.example import BadLabelError, Item, Reference
from pretrieve.pipeline.finetune.label_formats.fields import (
    DOCUMENT_ID,
    DOCUMENT_TEXT,
    DOCUMENT_TITLE,
    LabelFields,
    empty,
    id_of,
    listed,
)


def items_of(
    fields: LabelFields, names: Sequence[str], ids: Sequence[str], where: str
) -> tuple[str, list[Item | None]] | None:
    """The documents in the first of some fields.

    Args:
        fields: the record.
        names: fields of texts, objects or ids.
        ids: fields of ids alone, looked at where there is none of the others.
        where: ``file:line``.

    Returns:
        The field's name and the documents, None for each that is empty; None where there is no such field.

    Raises:
        BadLabelError: a value is no document.
    """
    if (found := fields.first(names)) is not None:
        return found[0], [item_of(value, found[0], fields, where) for value in _flat(found[1])]
    if (found := fields.first(ids)) is not None:
        return found[0], [reference(value, found[0]) for value in _flat(found[1])]
    return None


def item_of(value: object, field: str, fields: LabelFields, where: str) -> Item | None:
    """One document, or its id; None where it is empty.

    Args:
        value: a text, a whole number as id, or an object with text, and optionally title and id.
        field: the field that holds it.
        fields: the record, which takes note of what is not used in an object.
        where: ``file:line``.

    Raises:
        BadLabelError: it is something else.
    """
    if empty(value):
        return None
    if isinstance(value, str):
        return Document(id="", text=value, where=where)
    if isinstance(value, int) and not isinstance(value, bool):
        return Reference(str(value))
    if isinstance(value, dict):
        return _object(LabelFields(value, f"{field}."), fields, where)
    raise BadLabelError("not a document", f"{field}: a document is a text, an id, or an object; found {value!r:.60}")


def reference(value: object, field: str) -> Reference | None:
    """The id of a document; None where it is empty.

    Raises:
        BadLabelError: it is neither a text nor a whole number.
    """
    if empty(value):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadLabelError("not a document", f"{field}: an id is a text or a whole number; found {value!r:.60}")
    return Reference(str(value).strip())


def _object(inner: LabelFields, fields: LabelFields, where: str) -> Item | None:
    text, title = inner.first(DOCUMENT_TEXT), inner.first(DOCUMENT_TITLE)
    name = id_of(inner, DOCUMENT_ID)
    fields.adopt(inner)
    for found in (text, title):
        if found is not None and not isinstance(found[1], str):
            raise BadLabelError("not a document", f"{found[0]} of a document is a text; found {found[1]!r:.60}")
    if text is None or not text[1].strip():
        if name or text is not None:
            return Reference(name) if name and text is None else None
        raise BadLabelError("not a document", f"an object without text; its fields: {inner.listed()}")
    return Document(id=name, title=title[1] if title else "", text=text[1], where=where)


def _flat(value: object) -> list[object]:
    """The values of a field; lists by name, as of several miners, one after the other."""
    if isinstance(value, dict) and value and all(isinstance(one, list) for one in value.values()):
        return [one for part in value.values() for one in part]
    return listed(value)
