"""Where the records of a JSON object are: it is one, holds a list of them, or names each by its id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from pretrieve.text.conventions import is_known, usual

_COLLECTIONS = ("corpus", "documents", "docs", "passages", "data", "records", "articles", "items", "rows", "results")
_DEEPEST = 3  # objects around the records
_WORDS = 3  # words of most values where an object names texts by id


class Shape(NamedTuple):
    """Where the records of an object are.

    Attributes:
        kind: the object is a record; or it holds a list of them, or an object that names them.
        keys: the way to that list or object.
        unused: keys whose lists of objects are not read.
    """

    kind: Literal["record", "list", "mapping"]
    keys: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


RECORD = Shape("record")


def shape_of(value: Mapping[str, object], depth: int = 0) -> Shape:
    """Where the records of an object are; of a large one, a sample will do."""
    if _is_record(value):
        return RECORD
    lists = [key for key, found in value.items() if _is_objects(found)]
    chosen = [key for key in _COLLECTIONS if key in value and isinstance(value[key], list | Mapping)] or lists[:1]
    if chosen:
        unused = tuple(key for key in lists if key != chosen[0])
        return _below(chosen[0], value[chosen[0]], unused, depth)
    if _names_records(value):
        return Shape("mapping")
    objects = [key for key, found in value.items() if isinstance(found, Mapping)]
    inner = [_below(key, value[key], (), depth) for key in objects]
    return next((found for found in inner if found.kind == "list" or len(inner) == 1), RECORD)


def _below(key: str, value: object, unused: tuple[str, ...], depth: int) -> Shape:
    if not isinstance(value, Mapping):
        return Shape("list", (key,), unused)
    inner = shape_of(value, depth + 1) if depth < _DEEPEST else RECORD
    return RECORD if inner.kind == "record" else Shape(inner.kind, (key, *inner.keys), (*unused, *inner.unused))


def _is_record(value: Mapping[str, object]) -> bool:
    """Whether an object has a text of its own; lists of objects are one only beside an id or a title."""
    texts = [value[name] for name in usual(list(value), "text")]
    whole = [found for found in texts if found and not _is_objects(found) and not isinstance(found, Mapping)]
    named = usual(list(value), "id") or usual(list(value), "title")
    return bool(whole) or bool(texts and named)


def _names_records(value: Mapping[str, object]) -> bool:
    """Whether an object names texts, or objects with a text, by their ids."""
    if not value or any(map(is_known, value)):
        return False
    found = list(value.values())
    if all(isinstance(item, Mapping) for item in found):
        return any(isinstance(item, Mapping) and usual(list(item), "text") for item in found)
    if len(found) < 2 or not all(isinstance(item, str | list) for item in found):
        return False
    lines = [" ".join(map(str, item)) if isinstance(item, list) else str(item) for item in found]
    return 2 * sum(len(line.split(None, _WORDS)) >= _WORDS for line in lines) > len(lines)


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
