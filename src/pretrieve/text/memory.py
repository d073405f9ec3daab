"""Texts that a Python program holds: lists, generators, dicts, data frames, Arrow tables, data sets, arrays.

``records_of`` makes records of them, one at a time; kinds are told apart by what they can do, so that no library is
imported here. ``holding`` lends them to the reader of ``memory:NAME`` (``readers/memory.py``) while a block runs, so
that they are checked, counted and refused as the records of a file are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrieve.core.errors import UsageError
from pretrieve.core.extras import require
from pretrieve.core.types import Document
from pretrieve.text.fields import Fields, Names, document_of, used_names
from pretrieve.text.kept import FieldKeeper
from pretrieve.text.records import Fault, Note, Record

Texts = Iterable[Any]  # texts or records: any of ``KINDS``
Sources = str | Path | Sequence[str | Path] | Texts  # files, folders and schemes, or the documents themselves
Queries = list[str] | tuple[str, ...] | Iterator[str] | npt.NDArray[np.str_]  # not one text

SCHEME = "memory"
KINDS = "a list of texts or records, a dict of texts by id, a data frame, an Arrow table, a data set or an array"
_ROWS = 256  # rows of a table turned into Python objects at once
_MISSING = ("NAType", "NaTType")  # of pandas
_NAMES = frozenset({"_id", "id", "title", "text", "contents", "body", "lang", "language", "metadata"})

_held: dict[str, Callable[[], Iterable[Record]]] = {}


@contextlib.contextmanager
def holding(name: str, records: Callable[[], Iterable[Record]]) -> Iterator[str]:
    """Let ``memory:NAME`` be read as a source while a block runs.

    Args:
        name: its name.
        records: gives the records, each time it is read.

    Yields:
        The source.
    """
    _held[name] = records
    try:
        yield f"{SCHEME}:{name}"
    finally:
        del _held[name]


def held(name: str) -> Iterable[Record]:
    """The records of ``memory:NAME``.

    Raises:
        UsageError: nothing of that name is held now.
    """
    if name not in _held:
        raise UsageError(
            f"{SCHEME}:{name} stands for texts that a Python program gave to Retriever: give them there again, or give "
            "files and folders here."
        )
    return _held[name]()


def records_of(value: object, name: str = "texts") -> Iterator[Record]:
    """Records of what a program holds, in order.

    A text's id is its place, or its key in a dict. A record has the fields of a file's (``_id`` or ``id``, ``title``,
    ``text``...); without an id it is called by its place. None, NaN and missing values of pandas are missing.

    Args:
        value: texts or records, of one of the ``KINDS``.
        name: what messages call it: ``texts[3]``.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, Mapping):
        return _by_id(value, name)
    return (_record(item, f"{name}[{number}]", number) for number, item in enumerate(items_of(value, name)))


def documents_of(
    value: object, name: str, refuse: Callable[[Fault], None], tell: Callable[[Note], None]
) -> Iterator[Document]:
    """Documents of what a program holds, checked as those of files are, with their fields; duplicates stay.

    Args:
        value: texts or records.
        name: what messages call it.
        refuse: called with each record that cannot be used.
        tell: called with what was not kept of fields.

    Raises:
        UsageError: ``value`` is of no known kind.
    """
    names = Names(Fields(), name, tabular=False)
    keeper = FieldKeeper(name, several=False, is_folder=False)
    for record in records_of(value, name):
        result = document_of(record, names)
        if isinstance(result, Document):
            yield replace(result, fields=keeper.fields(record, used_names(record, names)), place=record.where)
        else:
            refuse(result)
    for note in keeper.notes(name):
        tell(note)


def items_of(value: Any, name: str) -> Iterator[Any]:
    """What stands in a list, or the rows of a table as dicts, one at a time.

    Args:
        value: any kind but a dict.
        name: what messages call it.

    Raises:
        UsageError: it is of no known kind.
    """
    if hasattr(value, "collect") and not hasattr(value, "iter_rows"):
        raise UsageError(f"{name} is a lazy frame: give {name}.collect().")
    if hasattr(value, "iter_rows") and hasattr(value, "columns"):  # polars
        return iter(value.iter_rows(named=True))
    if hasattr(value, "iloc") and hasattr(value, "columns"):  # pandas
        return _pandas_rows(value)
    if hasattr(value, "to_pylist") and hasattr(value, "schema"):  # a table or batch of Arrow
        return _arrow_rows(value.to_batches() if hasattr(value, "to_batches") else [value])
    if hasattr(value, "read_next_batch"):  # a stream of Arrow
        return _arrow_rows(value)
    if hasattr(value, "__arrow_c_stream__") and not hasattr(value, "__iter__"):
        return _arrow_rows(_arrow_stream(value))
    if isinstance(value, str | bytes | bytearray | memoryview | set | frozenset):
        why = ", which has no order" if isinstance(value, set | frozenset) else ""
        raise UsageError(f"{name} is {_kind(value)}{why}: give {KINDS}.")
    try:
        return iter(value)
    except TypeError:
        raise UsageError(f"{name} is {_kind(value)}: give {KINDS}.") from None


def plain(value: Any) -> Any:
    """A value as Python has it: of Arrow's and NumPy's scalars the value; what is missing is None."""
    if hasattr(value, "as_py"):
        value = value.as_py()
    elif hasattr(value, "dtype") and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        value = value.item()
    if isinstance(value, str):
        return str(value)
    return None if (isinstance(value, float) and value != value) or type(value).__name__ in _MISSING else value


def _by_id(value: Mapping[Any, Any], name: str) -> Iterator[Record]:
    if "text" in value and _NAMES.issuperset(value):
        raise UsageError(f"{name} is one record: give a list of records, or a dict of texts by id.")
    for first in value.values():
        if not isinstance(first, str | Mapping) and hasattr(first, "__len__"):
            key = next(iter(value))
            raise UsageError(
                f"{name}[{key!r}] is {_kind(first)}: a dict holds a text or a record by id. Give one split of a data "
                "set; of a dict of columns, make a list of records."
            )
        break
    return (_record(item, f"{name}[{key!r}]", plain(key)) for key, item in value.items())


def _record(item: Any, where: str, identity: object) -> Record:
    if isinstance(item, Document):
        fields = {"id": item.id, "title": item.title, "text": item.text, "group": item.group}
        return Record(where, fields, fields, fixed=True, facts=lambda: item.fields)
    name = identity if not isinstance(identity, int) or isinstance(identity, bool) else str(identity)
    if not isinstance(item, Mapping):
        return Record(where, {"id": name, "text": plain(item)}, item, fixed=True)
    found = {str(key): plain(value) for key, value in item.items()}
    if found.get("_id") is None and found.get("id") is None:
        found["id"] = name
    return Record(where, found, item)


def _pandas_rows(frame: Any) -> Iterator[Any]:
    for start in range(0, len(frame), _ROWS):
        yield from frame.iloc[start : start + _ROWS].to_dict("records")


def _arrow_rows(batches: Iterable[Any]) -> Iterator[Any]:
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS):
            yield from batch.slice(start, _ROWS).to_pylist()


def _arrow_stream(value: Any) -> Iterable[Any]:
    require("parquet", f"{type(value).__name__} in memory")
    import pyarrow as pa  # a tenth of a second: only for what has no rows of its own

    reader: Iterable[Any] = pa.RecordBatchReader.from_stream(value)
    return reader


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
