"""CSV, TSV and Parquet: one record a row, fields named by the header as in JSON.

A TSV without a header, as MS MARCO's triples, holds query, positive and perhaps negative; its first row is a record.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from pretrieve.core.errors import DataError
from pretrieve.core.shown import shown
from pretrieve.pipeline.finetune.label_formats.fields import LIST, LIST_ID, POSITIVE, POSITIVE_ID, QUERY
from pretrieve.text.files.streams import stem, text_lines
from pretrieve.text.formats.arrow import rows_of
from pretrieve.text.readers import by_suffix
from pretrieve.text.records import Fault, Note, Record

_ROWS = 256  # rows turned into Python objects at once
_KNOWN = {*QUERY, *POSITIVE, *POSITIVE_ID, *LIST, *LIST_ID}
_COLUMNS = ("query", "positive", "negative")  # of a table without a header
_WORDS = 3  # a header's cell is shorter


def read(path: Path, limit: int, notes: list[str]) -> Iterator[Record | Fault]:
    """Read the rows of a CSV or TSV.

    Args:
        path: the file, perhaps compressed.
        limit: most bytes of a line.
        notes: receives what a user should know.

    Raises:
        DataError: no column is a query, or two have one name.
    """
    suffix = stem(path)[1]
    header = _first_row(path, limit, "\t" if suffix == ".tsv" else ",")
    if header is not None and not _KNOWN.intersection(name.strip().casefold() for name in header):
        yield from _without_header(path, limit, header, notes)
        return
    repeated = sorted({name for name in header or () if (header or []).count(name) > 1})
    if repeated:
        raise DataError(f"{path}:1: two columns are named {shown(repeated[0])!r}: give each its own name.")
    yield from _told(by_suffix()[suffix].read(path, limit), notes)


def _told(items: Iterator[Record | Fault | Note], notes: list[str]) -> Iterator[Record | Fault]:
    for item in items:
        if isinstance(item, Note):
            notes.append(f"{item.reason}{f' ({item.detail})' if item.detail else ''}.")
        else:
            yield item


def _first_row(path: Path, limit: int, delimiter: str) -> list[str] | None:
    """The cells of the first line that is not blank; None where it cannot be read."""
    for item in text_lines(path, limit):
        if isinstance(item, Fault):
            return None
        if isinstance(item, tuple) and item[1].strip():
            if delimiter == "\t":
                return item[1].split("\t")
            csv.field_size_limit(limit)
            try:
                return next(csv.reader([item[1]]))
            except csv.Error:
                return None
    return None


def _without_header(path: Path, limit: int, first: Sequence[str], notes: list[str]) -> Iterator[Record | Fault]:
    """The rows of a TSV whose first row is no header."""
    shape = f"{len(first)} columns" if len(first) > 1 else "one column"
    named = f"{path}:1: no column is named query, question or anchor (found: {shown(', '.join(first)):.200})"
    if stem(path)[1] != ".tsv" or len(first) not in (2, 3) or not any(len(cell.split()) >= _WORDS for cell in first):
        parted = "" if len(first) > 1 else ", parted by commas in .csv and by tabs in .tsv"
        raise DataError(f"{named}: name the columns in the first line{parted}, as in docs/labels.md.")
    notes.append(f"no header: {shape} are read as {', '.join(_COLUMNS[: len(first)])}, the first row too.")
    columns = _COLUMNS[: len(first)]
    yield from _told(by_suffix()[".tsv"].read(path, limit, columns=columns), notes)


def read_parquet(path: Path) -> Iterator[Record | Fault]:
    """Read the rows of a Parquet file, lists of texts and objects included.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    return rows_of(path, _rows)


def _rows(path: Path, file: IO[bytes]) -> Iterator[Record | Fault]:
    import pyarrow as pa  # a tenth of a second: only for Parquet
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(file, pre_buffer=False).iter_batches(_ROWS, use_threads=False):
            rows: list[dict[str, Any]] = batch.to_pylist()
            for fields in rows:
                number += 1
                yield Record(f"{path}:{number}", fields, fields)
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Fault(f"{path}:{number + 1}", "damaged Parquet", str(error).splitlines()[0] if str(error) else "")
