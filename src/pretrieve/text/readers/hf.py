"""Data sets of the Hugging Face hub, ``hf:name``, streamed by the ``datasets`` library (extra ``hub``)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence

from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.extras import require
from pretrieve.text.records import Fault, Record

SCHEME = "hf"
TABULAR = True


def read(name: str, limit: int, columns: Sequence[str] | None = None) -> Iterator[Record | Fault]:
    """Read the rows of a data set.

    Args:
        name: ``name`` or ``name@split``; the split is ``train`` by default.
        limit: rows are as long as they are; not used.
        columns: not used: a data set names its columns.

    Raises:
        MissingExtraError: the ``datasets`` library is not installed.
        UsageError: no name.
        DataError: the data set cannot be had.
    """
    require("hub", f"hf:{name}")
    name, _, split = name.partition("@")
    if not name:
        raise UsageError("hf: needs the name of a data set, e.g. hf:BeIR/scifact@corpus.")
    datasets = importlib.import_module("datasets")
    try:
        rows = iter(datasets.load_dataset(name, split=split or "train", streaming=True))
        for number, fields in enumerate(rows, start=1):
            yield Record(f"hf:{name}:{number}", fields, fields)
    except (OSError, ValueError, RuntimeError) as error:  # what the library raises for its many ways to fail
        raise DataError(f"hf:{name}: the data set cannot be read ({str(error).splitlines()[0]}).") from None
