"""What is kept with a document for search: its further fields as plain values, and its place.

Numbers, texts, booleans, dates (``text/dates.py``) and lists of these; nested objects become fields with dots in their
names, other nested values JSON. What is too much or too large to be kept is counted by name.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from pretrieve.core.types import FieldValue, Scalar
from pretrieve.text.characters import BadValueError, clean
from pretrieve.text.dates import iso_date, written
from pretrieve.text.records import Note, Record

MOST_FIELDS = 64  # of a document
LONGEST_NAME = 100  # characters
LONGEST_VALUE = 4_096  # characters of a text
MOST_ITEMS = 256  # of a list
MOST_CHARACTERS = 16_384  # of all fields of a document
TOO_LONG = "with fields that are too long to be kept"
TOO_MANY = f"with more than {MOST_FIELDS} fields, the rest not kept"
NOT_PLAIN = "with fields that are no plain values, not kept"
_DEPTH = 4  # objects in objects that become names with dots
_NODES = 10_000  # values of a nested one
_NAMED = 8  # fields that a note names
_LINE = re.compile(r"(.*):(\d+)", re.DOTALL)


class _NotKeptError(Exception):
    """A value that is not kept, with the reason."""


class FieldKeeper:
    """Keeps the further fields of the records of one source, and counts what it cannot keep.

    Args:
        source: the source as given, which places are below.
        several: it is one of several, so that places begin with its name.
        is_folder: it is a folder or an archive.
    """

    def __init__(self, source: str, *, several: bool, is_folder: bool) -> None:
        self._root = source.rstrip("/") + "/" if is_folder else source.rpartition("/")[0] + "/" * ("/" in source)
        self._before = source.rstrip("/") + "/" if several and is_folder else ""
        self._left_out: dict[str, Counter[str]] = {}

    def fields(self, record: Record, used: Collection[str]) -> dict[str, FieldValue]:
        """The fields to keep of a record.

        Args:
            record: the record.
            used: names of its fields that the document has already.
        """
        given = (record.facts() if record.facts is not None else {}) if record.fixed else record.fields
        kept: dict[str, FieldValue] = {}
        budget = MOST_CHARACTERS
        named = {str(key): value for key, value in given.items() if key not in used}
        for number, (name, value) in enumerate(self._flat(named)):
            if number >= _NODES:  # values that are used many times may be endless
                self._leave_out(TOO_MANY, name)
                break
            found = None if name in used else self._kept(name, value)
            if found is None:
                continue
            budget -= len(name) + _size(found)
            if len(kept) >= MOST_FIELDS or budget < 0:
                self._leave_out(TOO_MANY if len(kept) >= MOST_FIELDS else TOO_LONG, name)
                budget += len(name) + _size(found)
            else:
                kept[name] = found
        return kept

    def place(self, where: str, line: int) -> str:
        """``file:line`` below the source, or the file alone where no line is known.

        Args:
            where: of the record, ``file:line`` or ``file#part``.
            line: line of the file, or 0.
        """
        found = _LINE.fullmatch(where)
        file = found[1] if found else re.sub(r"#\d+\Z", "", where)
        line = line or (int(found[2]) if found else 0)
        if self._root and file.startswith(self._root):
            file = self._before + file[len(self._root) :]
        return f"{file}:{line}" if line else file

    def notes(self, where: str) -> Iterator[Note]:
        """What was not kept of a file, once a reason; forgotten then."""
        for reason, names in self._left_out.items():
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            common = [f"{name} ({count:,})" for name, count in names.most_common(_NAMED)]
            yield Note(where, reason, ", ".join(common) + more)
        self._left_out = {}

    def _kept(self, name: str, value: object) -> FieldValue | None:
        try:
            if len(name) > LONGEST_NAME or not name.isprintable():
                raise _NotKeptError(TOO_LONG if len(name) > LONGEST_NAME else NOT_PLAIN)
            return _plain(value)
        except _NotKeptError as error:
            self._leave_out(str(error), name)
        except BadValueError:
            self._leave_out(NOT_PLAIN, name)
        return None

    def _leave_out(self, reason: str, name: str) -> None:
        self._left_out.setdefault(reason, Counter())[f"{name[:LONGEST_NAME]}"] += 1

    def _flat(self, fields: Mapping[str, object], depth: int = 0) -> Iterator[tuple[str, object]]:
        """Names and values, nested objects with dots in their names."""
        for name, value in fields.items():
            if isinstance(value, Mapping) and value and depth < _DEPTH:
                inner = {f"{name}.{key}": item for key, item in value.items()}
                yield from self._flat(inner, depth + 1)
            else:
                yield name, value


def _plain(value: Any) -> FieldValue | None:
    """A value as it is kept; None for what is missing.

    Raises:
        BadValueError: it holds characters that no text has.
        _NotKeptError: it is of another kind, or too long.
    """
    if hasattr(value, "tolist"):  # of NumPy
        value = value.tolist()
    if isinstance(value, list | tuple | set | frozenset):
        return _listed([*value])
    if isinstance(value, Mapping):
        return _json(value) if value else None
    return _scalar(value)


def _listed(items: Sequence[Any]) -> FieldValue | None:
    if len(items) > MOST_ITEMS:
        raise _NotKeptError(TOO_LONG)
    if any(isinstance(item, Mapping | list | tuple) for item in items):
        return _json(items)
    found = [kept for item in items if (kept := _scalar(item)) is not None]
    if sum(map(_size, found)) > MOST_CHARACTERS:
        raise _NotKeptError(TOO_LONG)
    return found or None


def _scalar(value: Any) -> Scalar | None:
    if isinstance(value, bytes):
        value = value.decode(errors="surrogateescape")
    if isinstance(value, str):
        if len(value) > LONGEST_VALUE:
            raise _NotKeptError(TOO_LONG)
        text = clean(value)
        return iso_date(text) or text or None
    if value is None or value != value:  # NaN stands for nothing in tables
        return None
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | Decimal):
        return _number(value)
    if isinstance(value, datetime.date):
        return written(value)
    if isinstance(value, datetime.time):
        return value.isoformat()
    raise _NotKeptError(NOT_PLAIN)


def _number(value: float | Decimal) -> Scalar | None:
    """A number as JSON has it; a whole one that is too long for 64 bits as text."""
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else str(value)
    return float(value) if abs(value) != float("inf") else None


def _json(value: Any) -> str:
    """A nested value as JSON.

    Raises:
        _NotKeptError: it is too long, or cannot be written.
    """
    stack, nodes = [value], 0
    while stack:  # counted first: values that are used many times may be endless
        item = stack.pop()
        nodes += 1
        if nodes > _NODES:
            raise _NotKeptError(TOO_LONG)
        if isinstance(item, Mapping | list | tuple):
            stack += item.values() if isinstance(item, Mapping) else item
    try:
        found = orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # nested too deep, or half of a surrogate pair
        raise _NotKeptError(NOT_PLAIN) from None
    if len(found) > LONGEST_VALUE:
        raise _NotKeptError(TOO_LONG)
    return found


def _size(value: FieldValue) -> int:
    if isinstance(value, str):
        return len(value)
    return 8 if isinstance(value, bool | int | float) else sum(map(_size, value))
