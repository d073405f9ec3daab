"""The records of a JSON file, read value by value, so that its size does not matter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson

from pretrieve.text.files.streams import DamagedStreamError, not_utf8, text_chunks
from pretrieve.text.formats.json_shape import RECORD, Shape, shape_of
from pretrieve.text.formats.json_values import JsonValues
from pretrieve.text.records import Fault, Note, Record

_SAMPLED = 1000  # members by which the shape of a large object is known
UNUSED = "with lists of records that are not read"


class JsonFile:
    """The records of one file, with places that are all different.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a record.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._notes: list[Note] = []
        self._line, self._on_line = 0, 0

    def records(self) -> Iterator[Record | Fault | Note]:
        """All records and faults."""
        values = self._values()
        try:
            for item in self._top(values):
                yield from self._flush()
                yield item
        except DamagedStreamError as error:
            yield error.fault(f"{self._path}:{values.line}")
        else:
            if values.cut:
                yield Fault(f"{self._path}:{values.line}", "malformed JSON", "the file ends inside a value")
        yield from self._flush()

    def _values(self) -> JsonValues:
        def chunks() -> Iterator[bytes]:
            for chunk in text_chunks(self._path):
                if isinstance(chunk, Note):
                    self._notes = [chunk]
                else:
                    yield chunk

        return JsonValues(chunks(), self._limit)

    def _flush(self) -> Iterator[Note]:
        yield from self._notes
        self._notes = []

    def _top(self, values: JsonValues) -> Iterator[Record | Fault | Note]:
        first = True
        while character := values.peek():
            if character == b"[":
                yield from self._container(values)
            elif character == b"{" and first:
                yield from self._object(values)
            elif character == b"{":
                yield from self._record(values)
            else:
                yield Fault(f"{self._path}:{values.line}", "malformed JSON", "a list or an object was expected")
                return
            first = False

    def _object(self, values: JsonValues) -> Iterator[Record | Fault | Note]:
        """The records of the first object of a file."""
        line = values.line
        if not values.whole():
            yield from self._long_object(values)
            return
        data = values.value() or b""
        if values.peek():  # another follows
            yield self._record_of(data, line)
            return
        try:
            shape = shape_of(orjson.loads(data))
        except orjson.JSONDecodeError:
            shape = RECORD
        if shape == RECORD:
            yield self._record_of(data, line)
        else:
            yield from self._shaped(JsonValues(iter([data]), self._limit, line), shape)

    def _long_object(self, values: JsonValues) -> Iterator[Record | Fault | Note]:
        """The records of an object that is longer than a record may be: it is looked through before it is read."""
        ahead = self._values()
        ahead.peek()
        shape = shape_of(_sample(ahead))
        if shape == RECORD:
            yield from self._record(values)
            return
        yield from self._shaped(values, shape)

    def _shaped(self, values: JsonValues, shape: Shape) -> Iterator[Record | Fault | Note]:
        if shape.unused:
            yield Note(str(self._path), UNUSED, ", ".join(shape.unused))
        yield from self._below(values, shape.keys)

    def _below(self, values: JsonValues, keys: tuple[str, ...]) -> Iterator[Record | Fault]:
        """The records of the list or object that some keys lead to."""
        if not keys:
            yield from self._container(values)
            return
        values.peek()
        for _ in values.items():
            if _text(values.key()) == keys[0]:
                yield from self._below(values, keys[1:])
            else:
                values.value()

    def _container(self, values: JsonValues) -> Iterator[Record | Fault]:
        """The records of the list, or of the object that names them, that begins here."""
        named = values.peek() == b"{"
        for _ in values.items():
            yield from self._record(values, _text(values.key()) if named else None)

    def _record(self, values: JsonValues, name: str | None = None) -> Iterator[Record | Fault]:
        line = values.line
        data = values.value()
        if data is not None:
            yield self._record_of(data, line, name)
        elif not values.cut:
            yield Fault(self._where(line), "too long", f"more than {self._limit:,} bytes")

    def _record_of(self, data: bytes, line: int, name: str | None = None) -> Record | Fault:
        where = self._where(line)
        try:
            value = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            return json_fault(where, data, error)
        if isinstance(value, str) or (name is not None and isinstance(value, list)):
            value = {"text": value}
        if not isinstance(value, dict):
            return Fault(where, "not an object", f"a JSON {type(value).__name__}", data)
        return Record(where, value if name is None else {"id": name, **value}, data)

    def _where(self, line: int) -> str:
        """The place of a record; several on a line are numbered from the second on."""
        self._on_line = self._on_line + 1 if line == self._line else 1
        self._line = line
        return f"{self._path}:{line}" + (f"#{self._on_line}" if self._on_line > 1 else "")


def json_fault(where: str, data: bytes, error: orjson.JSONDecodeError) -> Fault:
    """The fault of bytes that are not JSON: in their characters, or in their form."""
    try:
        data.decode()
    except UnicodeDecodeError as decoding:
        return not_utf8(where, data, decoding)
    if "surrogate" in error.msg:
        return Fault(where, "lone surrogate", f"column {error.colno}", data)
    return Fault(where, "malformed JSON", f"{error.msg} at column {error.colno}", data)


def _sample(values: JsonValues, depth: int = 0) -> dict[str, object]:
    """An object with the first of its members, and the first element of each list that is too long."""
    found: dict[str, object] = {}
    values.peek()
    for _ in values.items():
        key = _text(values.key())
        begins = values.peek()
        if len(found) >= _SAMPLED:
            values.value()
        elif begins in (b"", b"]", b"}"):
            continue
        elif values.whole():
            found[key] = _decoded(values.value())
        elif begins == b"[":
            found[key] = _first(values)
        elif begins == b"{" and depth < 3:
            found[key] = _sample(values, depth + 1)
        else:
            values.value()
            found[key] = "too long"
    return found


def _first(values: JsonValues) -> list[object]:
    found: list[object] = []
    for _ in values.items():
        value = values.value()
        if not found:
            found.append(_decoded(value))
    return found


def _decoded(data: bytes | None) -> object:
    try:
        return orjson.loads(data or b"null")
    except orjson.JSONDecodeError:
        return None


def _text(data: bytes | None) -> str:
    """A key as text; one that is not JSON is given as it is."""
    value = _decoded(data)
    return value if isinstance(value, str) else (data or b"").decode(errors="replace")
