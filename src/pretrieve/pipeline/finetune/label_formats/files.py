"""From a file of labels to its examples: the kind of file is found by suffix and first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pretrieve.core import files
from pretrieve.core.shown import shown
from pretrieve.core.types import Document
from pretrieve.pipeline.finetune.label_formats import json_files, llamaindex, tables
from pretrieve.pipeline.finetune.label_formats.example import BadLabelError, Example
from pretrieve.pipeline.finetune.label_formats.records import example_of
from pretrieve.text.files.streams import stem
from pretrieve.text.records import Fault

_LONGEST = 1 << 26  # bytes of a line

Read = Iterator[Document | Example | Fault]


def read_examples(source: Path, notes: list[str]) -> Read:
    """Read a file of labels.

    Args:
        source: the file, perhaps compressed.
        notes: receives what a user should know of the file.

    Yields:
        Examples, faults in the place of others, and the documents of a file that brings a collection.

    Raises:
        DataError: a table has no usable header.
        StorageError: the file cannot be read.
    """
    suffix = stem(source)[1]
    with files.storage(source):
        if suffix == ".parquet":
            rows = tables.read_parquet(source)
        elif suffix in (".csv", ".tsv"):
            rows = tables.read(source, _LONGEST, notes)
        else:
            yield from _json(source)
            return
        for row in rows:
            yield row if isinstance(row, Fault) else _example(row.fields, row.where, row.raw)


def _json(source: Path) -> Read:
    for item in json_files.read(source, _LONGEST):
        if isinstance(item, Fault):
            yield item
        elif llamaindex.is_dataset(item[0]):
            yield from llamaindex.read(item[0], item[1])
        else:
            yield _example(*item)


def _example(value: object, where: str, raw: object) -> Example | Fault:
    try:
        return example_of(value, where, raw)
    except BadLabelError as error:
        return Fault(where, error.reason, shown(error.detail), raw)
