"""Reading a corpus: any sources in, clean documents out, bad records reported by ``file:line`` and reason.

Everything is streamed. Types, characters, empty texts and duplicates are checked here, for all formats.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import orjson

from pretrieve.core import files
from pretrieve.core.errors import DataError, MissingExtraError, UsageError
from pretrieve.core.types import Document
from pretrieve.text.ahead import Ahead
from pretrieve.text.fields import Fields, Names, marks_of, place_id, used_names
from pretrieve.text.files.file_filter import FileFilter
from pretrieve.text.files.inputs import Input, inputs_of
from pretrieve.text.files.report import ReadReport
from pretrieve.text.files.streams import DamagedStreamError
from pretrieve.text.kept import FieldKeeper
from pretrieve.text.parallel import processors
from pretrieve.text.parsing import Found, Parsed
from pretrieve.text.passages import line_at, passages_of
from pretrieve.text.records import Fault, Note
from pretrieve.text.seen import Seen

__all__ = ["Fields", "FileFilter", "Keep", "ReadReport", "read"]

OnBad = Literal["auto", "fail", "skip", "quarantine"]
MAX_RECORD_BYTES = 10 << 20
FILE_AND_ID = "with ids that another file has, named FILE#id"
REPEATED = "with ids that repeat, named by file and line"


def read(
    sources: Sequence[str | Path],
    *,
    fields: Fields | None = None,
    file_filter: FileFilter | None = None,
    on_bad: OnBad = "auto",
    report: ReadReport | None = None,
    quarantine: Path | None = None,
    deduplicate: bool = True,
    max_record_bytes: int = MAX_RECORD_BYTES,
    workers: int | None = None,
    keep: Keep | None = None,
) -> Iterator[Document]:
    """Read documents from files, folders, archives, ``python:`` and ``hf:`` sources, one after the other.

    Args:
        sources: sources to read.
        fields: field names; default: the usual conventions.
        file_filter: which files of folders and archives are read; default: all with a known format that are not hidden.
        on_bad: policy for bad records: fail, skip and count, or also write them to the quarantine. ``auto`` fails for a
            file that is named, and skips in folders and archives.
        report: counts, filled while reading.
        quarantine: with ``on_bad="quarantine"``, the JSON Lines file that bad records are written to, with place and
            reason; it appears when all is read, and only if there was one.
        deduplicate: drop documents with a known title and text; off for evaluation by given ids.
        max_record_bytes: maximum number of bytes of a line (JSONL, CSV, TSV, text) or of a Markdown or HTML file.
        workers: maximum number of processes that read a large collection; by default as many as there are processors.
        keep: what documents have for search: their fields and places, and passages; default: none of it.

    Raises:
        UsageError: a source does not exist or is of an unknown kind, or a named field is nowhere.
        ExtensionError: a reader of the user is invalid.
        DataError: a record is bad and the policy is to fail, or there is no good document at all.
        StorageError: a file that is named cannot be read.
    """
    assert on_bad != "quarantine" or quarantine is not None
    report = report if report is not None else ReadReport()
    fields = fields or Fields()
    chosen = file_filter or FileFilter()
    found = [(item, str(source)) for source in sources for item in inputs_of(str(source), chosen, report)]
    with contextlib.ExitStack() as stack:
        refuse = policy(on_bad, quarantine, stack)
        needs_records = on_bad == "quarantine" or keep is not None  # other processes keep none
        most = 1 if needs_records else workers or processors()
        inputs = [item for item, _ in found]
        ahead = stack.enter_context(contextlib.closing(Ahead(inputs, fields, max_record_bytes, most)))
        reader = _Reader(fields, report, deduplicate, ahead.parsed, keep)
        for item, source in found:
            if keep is not None:
                reader.keeper = FieldKeeper(
                    source, several=len(sources) > 1, is_folder=isinstance(item, Fault) or not item.named
                )
            for result in [item] if isinstance(item, Fault) else reader.documents(item):
                if isinstance(result, Document):
                    yield result
                else:
                    refuse(result, named=not isinstance(item, Fault) and item.named)
        if not report.kept:
            raise reader.refusal or DataError(f"no documents in {', '.join(map(str, sources))}: {report.summary()}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What is kept with documents for search.

    Attributes:
        passages: documents with more words are cut into passages of about so many; 0: they are not.
    """

    passages: int = 0


class _Reader:
    """Turns the records of files into documents, drops duplicates, and counts.

    Attributes:
        keeper: keeps the fields of the source that is read.
    """

    def __init__(
        self,
        fields: Fields,
        report: ReadReport,
        deduplicate: bool,
        parsed: Callable[[Input, Names], Iterator[Parsed]],
        keep: Keep | None = None,
    ) -> None:
        self._fields, self._report, self._parsed = fields, report, parsed
        self._keep, self.keeper = keep, None if keep is None else FieldKeeper("", several=False, is_folder=False)
        self._contents = Seen() if deduplicate else None
        self._ids = Seen()
        self._file_ids: Seen | None = None  # of the file that is read, if it was found in a folder
        self.refusal: UsageError | None = None  # the first file of a folder that lacks its fields

    def documents(self, item: Input) -> Iterator[Document | Fault]:
        """The documents and faults of an input; those of a file in a folder never end the reading.

        Raises:
            UsageError: a field is missing in a file that was named.
        """
        characters = 0
        try:
            for result in self._documents(item):
                characters += len(result.text) if isinstance(result, Document) else 0
                yield result
        except MissingExtraError as error:
            if item.named:
                raise
            self.refusal = self.refusal or error
            self._report.ignore(f"{item.kind}: needs {error.extra}")
            return
        except (UsageError, OSError, DamagedStreamError) as error:
            if item.named:
                raise
            self.refusal = self.refusal or (error if isinstance(error, UsageError) else None)
            yield self._count(_fault_of(item, error))
        self._report.finish(str(item.argument), characters)

    def _documents(self, item: Input) -> Iterator[Document | Fault]:
        tabular = getattr(item.reader, "TABULAR", False)
        names = Names(self._fields, str(item.argument), tabular=tabular, named=item.named)
        names.keeps = self.keeper is not None
        self._file_ids = None if item.named else Seen()
        none = True
        for found in self._parsed(item, names):
            none = False
            if isinstance(found, (Found, Fault)):
                result = self._document(found, names) if isinstance(found, Found) else found
                self._report.count(result)
                if isinstance(result, Document) and self.keeper is not None:
                    assert isinstance(found, Found)
                    yield from self._kept(result, found, names, self.keeper)
                elif result is not None:
                    yield result
            elif isinstance(found, Note):
                self._report.note(found)
            else:
                self._report.pass_over()
        for note in [*names.notes(), *([] if self.keeper is None else self.keeper.notes(names.where))]:
            self._report.note(note)
        names.check_all_seen()
        if none and not item.named:
            yield self._count(Fault(str(item.argument), "empty file"))

    def _kept(self, document: Document, found: Found, names: Names, keeper: FieldKeeper) -> Iterator[Document]:
        """The document with its fields and place, or its passages."""
        record = found.record
        assert self._keep is not None
        assert record is not None
        marks = marks_of(record)
        document = replace(document, fields=keeper.fields(record, used_names(record, names)))
        words = self._keep.passages
        parts = passages_of(document, marks, words) if words else [(document, line_at(marks, 0))]
        if len(parts) > 1:
            self._report.cut += 1
            self._report.passages += len(parts)
        parent = place_id(record.parent) if words and record.parent else ""
        for part, line in parts:
            if part.parent and not self._ids.add(part.id):
                part = replace(part, id=f"{part.id}~")  # the id of another document
                self._ids.add(part.id)
            place = keeper.place(record.where, line or record.line)
            yield replace(part, place=place, parent=parent or part.parent)

    def _count(self, fault: Fault) -> Fault:
        self._report.count(fault)
        return fault

    def _document(self, found: Found, names: Names) -> Document | Fault | None:
        """The document; a fault if its id is taken; None if its content was seen."""
        document = found.document
        if self._ids.has(document.id):
            if self._contents is not None and self._contents.has((document.title, document.text)):
                return None
            other = self._other_id(found, names)
            if other is None:
                raw = found.record.raw if found.record is not None else None
                return Fault(document.where, "duplicate id", repr(document.id), raw)
            document = replace(document, id=other)
        if self._contents is not None and not self._contents.add((document.title, document.text)):
            return None
        self._ids.add(document.id)
        if self._file_ids is not None:
            self._file_ids.add(document.id)
        return document

    def _other_id(self, found: Found, names: Names) -> str | None:
        """Another id for a document whose id is taken without a mistake: by another file of a folder, or by a guess."""
        document = found.document
        guessed = found.guessed_id if found.record is None else names.guessed_id(found.record)
        if guessed and not self._ids.has(document.where):
            names.guess(REPEATED)
            return place_id(document.where)
        name = place_id(f"{names.where}#{document.id}")
        if self._file_ids is None or self._file_ids.has(document.id) or self._ids.has(name):
            return None
        names.guess(FILE_AND_ID)
        self._file_ids.add(document.id)
        return name


def _fault_of(item: Input, error: Exception) -> Fault:
    """The fault of a file in a folder that could not be read, or lacks its fields."""
    if isinstance(error, DamagedStreamError):
        return error.fault(str(item.argument))
    if isinstance(error, OSError):
        return Fault(str(item.argument), "unreadable", error.strerror or str(error))
    return Fault(str(item.argument), "no text field", str(error).removeprefix(f"{item.argument}: "))


def policy(on_bad: OnBad, quarantine: Path | None, stack: contextlib.ExitStack) -> Callable[..., None]:
    """What is done with faults: a function that takes one, and whether its file was ``named``, not found in a folder.

    Args:
        on_bad: the policy.
        quarantine: with ``on_bad="quarantine"``, the file that bad records are written to.
        stack: closes the quarantine.

    Raises:
        DataError: from the function, where the policy is to fail.
    """
    opened: list[files.HashingFile] = []

    def refuse(fault: Fault, *, named: bool) -> None:
        if on_bad == "fail" or (on_bad == "auto" and named):
            raise DataError(f"{fault}: fix it, or skip such records with --on-bad skip (or quarantine).")
        if on_bad != "quarantine":
            return
        assert quarantine is not None
        if not opened:
            opened.append(stack.enter_context(files.create_file(quarantine)))
        opened[0].write(_quarantined(fault))

    return refuse


def _quarantined(fault: Fault) -> bytes:
    line = {"where": fault.where, "reason": fault.reason, "detail": fault.detail, "record": fault.raw}
    return orjson.dumps(line, default=_as_text, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def _as_text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else repr(value)
