"""Reading a corpus: any sources in, clean documents out, bad records reported by ``file:line`` and reason.

Everything is streamed. Types, characters, empty texts and duplicates are checked here, for all formats.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

import orjson

from pretrieve.core import files
from pretrieve.core.errors import DataError, ExtensionError, UsageError
from pretrieve.core.extensions import place
from pretrieve.core.types import Document
from pretrieve.text.fields import Fields, Names, document_of
from pretrieve.text.readers import by_scheme, by_suffix
from pretrieve.text.records import Fault, ReadReport, Record
from pretrieve.text.seen import Seen
from pretrieve.text.streams import COMPRESSED, stem

__all__ = ["Fields", "ReadReport", "read"]

OnBad = Literal["fail", "skip", "quarantine"]
MAX_RECORD_BYTES = 10 << 20


def read(
    sources: Sequence[str | Path],
    *,
    fields: Fields | None = None,
    on_bad: OnBad = "fail",
    report: ReadReport | None = None,
    quarantine: Path | None = None,
    deduplicate: bool = True,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Iterator[Document]:
    """Read documents from files, folders, BEIR folders, ``python:`` and ``hf:`` sources, one after the other.

    Args:
        sources: sources to read.
        fields: field names; default: the usual conventions.
        on_bad: policy for bad records: fail, skip and count, or also write them to the quarantine.
        report: counts, filled while reading.
        quarantine: with ``on_bad="quarantine"``, the JSON Lines file that bad records are written to, with place and
            reason; it appears when all is read, and only if there was one.
        deduplicate: drop documents with a known title and text; off for evaluation by given ids.
        max_record_bytes: maximum number of bytes of a line (JSONL, CSV, TSV, text) or of a Markdown or HTML file.

    Raises:
        UsageError: a source does not exist or is of an unknown kind, or a named field is nowhere.
        ExtensionError: a reader of the user is invalid.
        DataError: a record is bad and ``on_bad`` is ``"fail"``, or there is no good document at all.
        StorageError: a file cannot be read.
    """
    assert on_bad != "quarantine" or quarantine is not None
    report = report if report is not None else ReadReport()
    reader = _Reader(fields or Fields(), report, deduplicate)
    inputs = [item for source in sources for item in _inputs(str(source))]
    with contextlib.ExitStack() as stack:
        refuse = _policy(on_bad, quarantine, stack)
        for item in inputs:
            for result in reader.documents(item, max_record_bytes):
                if isinstance(result, Document):
                    yield result
                else:
                    refuse(result)
        if not report.kept:
            raise DataError(f"no documents in {', '.join(map(str, sources))}: {report.summary()}.")


@dataclass(frozen=True, slots=True)
class _Input:
    """One file, or what follows a scheme, with the reader for it."""

    reader: ModuleType
    argument: str | Path

    def records(self, limit: int) -> Iterator[Record | Fault]:
        with files.storage(Path(self.argument)):
            yield from self.reader.read(self.argument, limit)


class _Reader:
    """Turns records into documents, and drops duplicates."""

    def __init__(self, fields: Fields, report: ReadReport, deduplicate: bool) -> None:
        self._fields, self._report = fields, report
        self._contents = Seen() if deduplicate else None
        self._ids = Seen()

    def documents(self, item: _Input, limit: int) -> Iterator[Document | Fault]:
        names = Names(self._fields, str(item.argument), tabular=getattr(item.reader, "TABULAR", False))
        for record in item.records(limit):
            if not isinstance(record, Record | Fault):
                raise ExtensionError(
                    f"{place(item.reader.read)}: read has to give Record or Fault, not {record!r:.80}."
                )
            if isinstance(record, Record) and names.passes_over(record):
                self._report.pass_over()
                continue
            result = self._document(record, names)
            self._report.count(result)
            if result is not None:
                yield result
        names.check_all_seen()

    def _document(self, record: Record | Fault, names: Names) -> Document | Fault | None:
        """The document; a fault if the record is bad or its id is taken; None if its content was seen."""
        document = record if isinstance(record, Fault) else document_of(record, names)
        if isinstance(document, Fault):
            return document
        if self._contents is not None and not self._contents.add(f"{document.title}\0{document.text}".encode()):
            return None
        if not self._ids.add(document.id.encode()):
            return Fault(document.where, "duplicate id", repr(document.id), getattr(record, "raw", None))
        return document


def _policy(on_bad: OnBad, quarantine: Path | None, stack: contextlib.ExitStack) -> Callable[[Fault], None]:
    if on_bad == "fail":
        return _fail
    if on_bad == "skip":
        return lambda fault: None
    assert quarantine is not None
    opened: list[files.HashingFile] = []

    def put_aside(fault: Fault) -> None:
        if not opened:
            opened.append(stack.enter_context(files.create_file(quarantine)))
        opened[0].write(_quarantined(fault))

    return put_aside


def _fail(fault: Fault) -> None:
    raise DataError(f"{fault}: fix it, or skip such records with --on-bad skip (or quarantine).")


def _quarantined(fault: Fault) -> bytes:
    line = {"where": fault.where, "reason": fault.reason, "detail": fault.detail, "record": fault.raw}
    return orjson.dumps(line, default=_as_text, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def _as_text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else repr(value)


def _inputs(source: str) -> list[_Input]:
    scheme, colon, name = source.partition(":")
    if colon and scheme in by_scheme():
        return [_Input(by_scheme()[scheme], name)]
    path = Path(source)
    if path.is_dir():
        found = list(_files_below(path))
        if not found:
            raise UsageError(f"{path}: no file here or below has a known suffix ({_known()}).")
        return found
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder.{_neighbour(path)}")
    return [_Input(_reader_of(path), path)]


def _files_below(folder: Path) -> Iterator[_Input]:
    """Files with a known suffix, sorted, hidden ones passed over; of a BEIR folder only its corpus."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = sorted(name for name in names if not name.startswith("."))
        corpora = [name for name in visible if re.fullmatch(r"corpus\.jsonl(\.gz|\.zst)?", name)]
        if corpora:
            folders.clear()
        for name in corpora[:1] or visible:
            path = Path(parent, name)
            if stem(path)[1] in by_suffix():
                yield _Input(_reader_of(path), path)


def _reader_of(path: Path) -> ModuleType:
    suffix = stem(path)[1]
    if suffix not in by_suffix():
        raise UsageError(f"{path}: unknown suffix {suffix or path.suffix!r}; known are {_known()}.")
    return by_suffix()[suffix]


def _known() -> str:
    return f"{', '.join(sorted(by_suffix()))}, each also with {' or '.join(COMPRESSED)}"


def _neighbour(path: Path) -> str:
    with contextlib.suppress(OSError):
        close = difflib.get_close_matches(path.name, [near.name for near in path.parent.iterdir()], n=1)
        return f" Did you mean {str(path.with_name(close[0]))!r}?" if close else ""
    return ""
