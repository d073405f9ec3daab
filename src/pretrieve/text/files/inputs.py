"""From sources to the files that are read, each with its reader."""

from __future__ import annotations

import contextlib
import difflib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pretrieve.core import files
from pretrieve.core.errors import UsageError, hyphened
from pretrieve.core.manifest import kind_of, named
from pretrieve.text.files import remote
from pretrieve.text.files.file_filter import FileFilter
from pretrieve.text.files.folders import Entry, PassedOver, files_of_archive, files_of_folder, files_of_listing, what_is
from pretrieve.text.files.report import ReadReport
from pretrieve.text.files.streams import COMPRESSED, DamagedStreamError, chunks, stem
from pretrieve.text.readers import by_content, by_scheme, by_suffix
from pretrieve.text.records import Fault, Note, Record

_ARCHIVE = ".zip"
_FSSPEC = "memory://"  # of fsspec, where memory: alone is what a Python program holds
_OTHER_ARCHIVES = (".tar", ".tgz", ".tbz", ".txz", ".7z", ".rar")
_AMBIGUOUS = (".jl",)  # JSON lines or Julia
_WITH_DOCUMENTS = ("beir", "benchmark", "documents")  # kinds of artefacts that are sources
_HEAD = 4096  # bytes by which the format of a file is recognised


@dataclass(frozen=True, slots=True)
class Input:
    """One file, or what follows a scheme, with the reader for it.

    Attributes:
        reader: module that reads it.
        argument: the file; or the text after the scheme.
        named: the user named it; else it was found in a folder or an archive.
    """

    reader: ModuleType
    argument: str | Path
    named: bool = True

    @property
    def kind(self) -> str:
        """Suffix of the file."""
        return stem(Path(self.argument))[1] if isinstance(self.argument, str) else stem(self.argument)[1]

    def records(self, limit: int, columns: tuple[str, ...] | None = None) -> Iterator[Record | Fault | Note]:
        """Read it.

        Args:
            limit: most bytes of a record.
            columns: names of the columns of tables without a header.
        """
        options = {"columns": columns} if columns and getattr(self.reader, "TABULAR", False) else {}
        with files.storage(Path(str(self.argument))) if self.named else contextlib.nullcontext():
            yield from self.reader.read(self.argument, limit, **options)


def inputs_of(source: str, chosen: FileFilter, report: ReadReport) -> Iterator[Input | Fault]:
    """The files of a source; those passed over are counted.

    Args:
        source: a file, a folder, an archive, an address, or ``scheme:name``.
        chosen: which files of folders and archives are read.
        report: receives the counts.

    Raises:
        UsageError: there is no such source, its format is unknown, or it holds no file that can be read.
    """
    scheme, colon, name = source.partition(":")
    if colon and scheme in by_scheme() and not source.startswith(_FSSPEC):
        yield Input(by_scheme()[scheme], name)
        return
    path = Path(source)
    if remote.is_remote(source):
        local = remote.local_path(source)
        if local is None:
            yield from _remote(source, chosen, report)
            return
        path = local
    if path.is_dir() or (path.is_file() and path.suffix.lower() == _ARCHIVE):
        yield from _below(path, chosen, report)
        return
    if kind := what_is(path):
        raise UsageError(f"{path} is {kind}: give a file or a folder.")
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder.{_hint(path)}")
    yield Input(_reader_of(path), path)


def _remote(source: str, chosen: FileFilter, report: ReadReport) -> Iterator[Input | Fault]:
    """The files of an address: one file, an archive, a folder, or those that match a pattern."""
    found, single = remote.remote_files(source)
    if not single:
        yield from _entries(source, files_of_listing(found, chosen), chosen, report)
    elif found[0].suffix.lower() == _ARCHIVE:
        remote.check(found[0])
        yield from _entries(source, files_of_archive(found[0], chosen), chosen, report)
    else:
        if stem(found[0])[1] not in by_suffix():
            remote.check(found[0])  # its content says what it is: what keeps it from being read is to be said
        yield Input(_reader_of(found[0]), found[0])


def _below(root: Path, chosen: FileFilter, report: ReadReport) -> Iterator[Input | Fault]:
    """The files of a folder or an archive, and of archives in a folder.

    Raises:
        UsageError: as ``_entries``, or the folder is an artefact of pretrieve that holds no documents.
    """
    if (kind := kind_of(root)) is not None and kind not in _WITH_DOCUMENTS:
        raise UsageError(f"{root} is {named(kind)} of pretrieve: give the documents that it was made of.")
    entries = files_of_folder(root, chosen) if root.is_dir() else files_of_archive(root, chosen)
    yield from _entries(str(root), entries, chosen, report)


def _entries(
    root: str, entries: Iterator[Entry], chosen: FileFilter, report: ReadReport, *, inner: bool = False
) -> Iterator[Input | Fault]:
    """What was found in a folder or an archive, with the readers; archives in it are opened.

    Raises:
        UsageError: there is nothing to read, and it is not ``inner``: an archive inside a folder.
    """
    some = False
    for entry in entries:
        if isinstance(entry, PassedOver):
            report.ignore(entry.reason, folder=entry.folder)
        elif isinstance(entry, Fault):
            some = True
            report.count(entry)
            report.files += 1
            yield entry
        elif not isinstance(entry, zipfile.Path) and entry.suffix.lower() == _ARCHIVE:
            some = True
            yield from _entries(str(entry), files_of_archive(entry, chosen), chosen, report, inner=True)
        elif (reader := _known_reader(entry)) is not None:
            some = True
            yield Input(reader, entry, named=False)
        else:
            report.ignore(stem(entry)[1] or "no suffix")
    if not some and not inner:
        raise UsageError(f"{root}: no file here or below can be read. {report.files_summary()}. Known are {_known()}.")


def _known_reader(path: Path) -> ModuleType | None:
    """The reader of a file in a folder: by its suffix; by its content only where it has none."""
    suffix = stem(path)[1]
    if suffix in by_suffix():
        return by_suffix()[suffix]
    return None if suffix.lstrip(".").isalpha() and suffix not in _AMBIGUOUS else _recognised(path)


def _reader_of(path: Path) -> ModuleType:
    """The reader of a file that was named: by its suffix, else by its content.

    Raises:
        UsageError: its format is not known.
    """
    suffix = stem(path)[1]
    if suffix in by_suffix():
        return by_suffix()[suffix]
    if suffix in _OTHER_ARCHIVES:
        raise UsageError(f"{path} is an archive: unpack it, and give the folder.")
    reader = _recognised(path)
    if reader is None:
        raise UsageError(f"{path}: unknown suffix {suffix or path.suffix!r}; known are {_known()}.")
    return reader


def _recognised(path: Path) -> ModuleType | None:
    with contextlib.suppress(OSError, DamagedStreamError):
        return by_content(next(chunks(path), b"")[:_HEAD])
    return None


def _known() -> str:
    return f"{', '.join(sorted(by_suffix()))}, each also with {', '.join(COMPRESSED)}, and {_ARCHIVE}"


def _hint(path: Path) -> str:
    """What the user may have meant by a path that is not there."""
    name = str(path)
    if option := hyphened(name):
        return f" It begins with a long dash: write {option}."
    if name[0] == "~":
        return f" The shell expands ~ without quotes only; meant is {str(path.expanduser())!r}."
    if any(sign in name for sign in "*?[") and path.parent.is_dir():
        return f" Give the folder, and --include {path.name!r}."
    with contextlib.suppress(OSError):
        close = difflib.get_close_matches(path.name, [near.name for near in path.parent.iterdir()], n=1)
        return f" Did you mean {str(path.with_name(close[0]))!r}?" if close else ""
    return ""
