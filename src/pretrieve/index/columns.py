"""The fields of the documents of one part as columns on disk, memory-mapped, for filters.

A column has its distinct values once (``entries``: text without case, and the number or date that it is), and for each
document the numbers of its values: one number a document, or, where few documents have the field or some have lists,
pairs of document and value. ``file``, ``line``, ``id``, ``title`` and ``parent`` are columns of every document, unless
it has a field of that name.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core.arrays import array_header, load_array
from pretrieve.core.errors import CorruptError
from pretrieve.core.files import Folder, storage
from pretrieve.core.types import BoolArray, Document, FieldValue, FloatArray, IntArray, Scalar
from pretrieve.index.field_values import folded, number_of, span_of

OWN = ("file", "line", "id", "title", "parent")  # of every document
MOST_COLUMNS = 1_000  # further names can be shown, and not filtered by
_REMEMBERED = 1 << 20  # distinct values of a column that are told apart; later ones may stand there twice
_DENSE = 0.25  # share of documents from which a column has a number for each
_NAMES, _DATA = "names.json", "data"
_ALIGNED = 64  # bytes that arrays in the file begin at a multiple of
_END = b"\xff"  # between texts: in no UTF-8
NO_DATE = np.iinfo(np.int64).min
_STRING, _NUMBER, _BOOLEAN = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One field of R documents, with E values.

    Attributes:
        size: R.
        codes: (R,) the value of each document, -1 without one; or (P,) that of each pair.
        documents: (P,) the document of each pair, ascending; None where there is a code for each document.
        kinds: (E,) 0 text, 1 number, 2 boolean.
        texts: UTF-8 of all values, each with an end mark.
        ends: (E+1,) where the texts begin and end.
        numbers: (E,) the value as a number, NaN if it is none.
        dates: (E,) the value as microseconds since 1970, ``NO_DATE`` if it is no date.
    """

    size: int
    codes: IntArray
    documents: IntArray | None
    kinds: IntArray
    texts: IntArray
    ends: IntArray
    numbers: FloatArray
    dates: IntArray

    def __len__(self) -> int:
        return len(self.kinds)

    def mask(self, values: BoolArray) -> BoolArray:
        """The documents that have one of some values.

        Args:
            values: (E,) which.

        Returns:
            (R,).
        """
        table = np.append(values, False)  # the last is what -1 takes
        if self.documents is None:
            return np.asarray(table[self.codes])
        found = np.zeros(self.size, bool)
        found[self.documents[table[self.codes]]] = True
        return found

    def of(self, documents: IntArray) -> IntArray:
        """The values that some documents have, one after the other.

        Args:
            documents: (n,) numbers of different documents.
        """
        if self.documents is None:
            codes = self.codes[documents]
            return np.asarray(codes[codes >= 0])
        starts, stops = (np.searchsorted(self.documents, documents, side) for side in ("left", "right"))
        pieces = [self.codes[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]
        return np.concatenate(pieces) if pieces else self.codes[:0]

    def text(self, entry: int) -> bytes:
        """The UTF-8 of a value."""
        return bytes(self.texts[self.ends[entry] : self.ends[entry + 1] - 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The fields of R documents, in memory or mapped.

    Attributes:
        size: R.
        names: the names of the fields, in the order in which they came, with the number of documents that have them.
        left_out: names that are no columns, since there are too many.
    """

    size: int
    names: Mapping[str, int]
    left_out: int
    _columns: Mapping[str, Column]

    def __getitem__(self, name: str) -> Column | None:
        """A column; None where no document has the field."""
        return self._columns.get(name)

    def values(self, name: str, document: int) -> tuple[bytes, ...]:
        """The values of a document in a column, as they are compared; none where it lacks the field."""
        column = self._columns.get(name)
        if column is None:
            return ()
        if column.documents is None:
            codes = [code for code in [int(column.codes[document])] if code >= 0]
        else:
            first, last = np.searchsorted(column.documents, [document, document + 1])
            codes = column.codes[first:last].tolist()
        return tuple(sorted(column.text(code) for code in codes))

    @staticmethod
    def of(documents: Iterable[Document]) -> Columns:
        """The columns of documents, in memory."""
        builder = _Builder()
        for document in documents:
            builder.add(document)
        made = {name: column.made(builder.size) for name, column in builder.columns.items()}
        return Columns(size=builder.size, names=builder.names(), left_out=builder.left_out, _columns=made)

    @staticmethod
    def write(folder: Folder, prefix: str, documents: Iterable[Document]) -> Columns:
        """Write the columns of documents into an artefact.

        Args:
            folder: the artefact.
            prefix: folder in it.
            documents: read once, in order.

        Raises:
            StorageError: writing to disk failed.
        """
        columns = Columns.of(documents)
        named: list[dict[str, Any]] = []
        with folder.open(f"{prefix}/{_DATA}") as file:
            file.write(array_header(np.dtype(np.uint8), (-1,)))
            place = 0
            for name, count in columns.names.items():
                arrays = {}
                for part in _ARRAYS:
                    if (values := getattr(columns._columns[name], part)) is not None:
                        data = np.ascontiguousarray(values).tobytes()
                        file.write(data.ljust(-(-len(data) // _ALIGNED) * _ALIGNED, b"\0"))
                        arrays[part] = [values.dtype.newbyteorder("<").str, len(values), place]
                        place += -(-len(data) // _ALIGNED) * _ALIGNED
                named.append({"name": name, "documents": count, "arrays": arrays})
        facts = {"size": columns.size, "left_out": columns.left_out, "columns": named}
        folder.write(f"{prefix}/{_NAMES}", orjson.dumps(facts))
        return columns

    @staticmethod
    def open(path: Path) -> Columns:
        """Map the columns of an artefact: one file, so that an open index does not depend on what is there later.

        Raises:
            CorruptError: they are damaged.
        """
        with storage(path):
            text = (path / _NAMES).read_bytes()
        data = np.asarray(load_array(path / _DATA))
        try:
            facts: dict[str, Any] = orjson.loads(text)
            size, left_out = int(facts["size"]), int(facts["left_out"])
            names = {str(one["name"]): int(one["documents"]) for one in facts["columns"]}
            columns = {str(one["name"]): _opened(data, one["arrays"], size) for one in facts["columns"]}
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise CorruptError(f"{path}: the fields cannot be read: make the index again.") from None
        return Columns(size=size, names=names, left_out=left_out, _columns=columns)


_ARRAYS = ("codes", "documents", "kinds", "texts", "ends", "numbers", "dates")


def _opened(data: IntArray, arrays: Mapping[str, Any], size: int) -> Column:
    """One column.

    Raises:
        ValueError: its arrays do not fit together.
    """
    found: dict[str, Any] = {"documents": None}
    for part, (kind, length, place) in arrays.items():
        dtype = np.dtype(kind)
        found[part] = data[place : place + length * dtype.itemsize].view(dtype)
        if dtype.hasobject or len(found[part]) != length:
            raise ValueError(part)
    rows = size if found["documents"] is None else len(found["documents"])
    sizes = {len(found["ends"]) - 1, len(found["numbers"]), len(found["dates"]), len(found["kinds"])}
    if len(found["codes"]) != rows or len(sizes) > 1:
        raise ValueError("of other sizes")
    return Column(size=size, **found)


def own_fields(document: Document) -> Iterator[tuple[str, FieldValue]]:
    """The fields that every document has, where they say something: file, line, id, title, parent."""
    file, _, line = document.place.rpartition(":")
    if document.place:
        yield "file", file if line.isdecimal() and file else document.place
        if line.isdecimal() and file:
            yield "line", int(line)
    yield "id", document.id
    if document.title:
        yield "title", document.title
    if document.parent:
        yield "parent", document.parent


class _Builder:
    """Gathers the fields of documents."""

    def __init__(self) -> None:
        self.columns: dict[str, _Growing] = {}
        self.size = self.left_out = 0

    def add(self, document: Document) -> None:
        """Add the next document."""
        own = {name: value for name, value in own_fields(document) if name not in document.fields}
        for name, value in [*document.fields.items(), *own.items()]:
            if name not in self.columns:
                if len(self.columns) >= MOST_COLUMNS and name not in OWN:
                    self.left_out += 1
                    continue
                self.columns[name] = _Growing()
            self.columns[name].add(self.size, value)
        self.size += 1

    def names(self) -> dict[str, int]:
        """The names, and how many documents have each."""
        return {name: column.count for name, column in self.columns.items()}


class _Growing:
    """A column that is being gathered."""

    def __init__(self) -> None:
        self.count = 0
        self._single = True
        self._entries: dict[tuple[int, str], int] = {}
        self._documents, self._codes = array("i"), array("i")
        self._kinds, self._numbers, self._dates = array("b"), array("d"), array("q")
        self._texts, self._ends = bytearray(), array("q", [0])

    def add(self, number: int, value: FieldValue) -> None:
        """Add the values of a document."""
        values: Sequence[Scalar] = [value] if isinstance(value, str | int | float) else value
        found = list(dict.fromkeys(map(self._code, values)))
        self.count += bool(found)
        self._single &= len(found) <= 1
        for code in found:
            self._documents.append(number)
            self._codes.append(code)

    def _code(self, value: Scalar) -> int:
        kind = _BOOLEAN if isinstance(value, bool) else _STRING if isinstance(value, str) else _NUMBER
        text = folded(value if isinstance(value, str) else orjson.dumps(value).decode())
        known = self._entries.get((kind, text))
        if known is not None:
            return known
        code = len(self._kinds)
        if len(self._entries) < _REMEMBERED:
            self._entries[kind, text] = code
        number = float(value) if kind == _NUMBER else number_of(text) if kind == _STRING else None
        span = span_of(text.upper()) if kind == _STRING and len(text) >= len("2025-01-31") else None
        self._kinds.append(kind)
        self._numbers.append(float("nan") if number is None else number)
        self._dates.append(NO_DATE if span is None else span[0])
        self._texts += text.encode() + _END
        self._ends.append(len(self._texts))
        return code

    def made(self, size: int) -> Column:
        """The column of so many documents."""
        documents, codes = np.frombuffer(self._documents, np.int32), np.frombuffer(self._codes, np.int32)
        pairs = not self._single or len(documents) < _DENSE * size
        small = np.min_scalar_type(-max(1, len(self._kinds)))
        if not pairs:
            every = np.full(size, -1, small)
            every[documents] = codes
            codes = every
        return Column(
            size=size,
            codes=codes.astype(small),
            documents=documents if pairs else None,
            kinds=np.frombuffer(self._kinds, np.int8),
            texts=np.frombuffer(bytes(self._texts), np.uint8),
            ends=np.frombuffer(self._ends, np.int64),
            numbers=np.frombuffer(self._numbers, np.float64),
            dates=np.frombuffer(self._dates, np.int64),
        )
