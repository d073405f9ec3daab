"""Reading the documents of a run: fields, bad records, and the check that a resumed run has the same ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from pretrieve.core import files
from pretrieve.core.types import Document
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.progress import Listener, counted
from pretrieve.pipeline.run.run import Run
from pretrieve.pipeline.run.workspace import beside
from pretrieve.text import corpus
from pretrieve.text.corpus import Fields, FileFilter, Keep, OnBad, ReadReport
from pretrieve.text.documents import Documents

DOCUMENTS = "documents"  # in the workspace
READING = "reading"  # in the MANIFEST of documents: what became of files and records


class NamesSources(Protocol):
    """A request that specifies how documents are read."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Files, folders, ``python:...`` or ``hf:...``."""
        ...

    @property
    def on_bad(self) -> OnBad:
        """Policy for unreadable records."""
        ...

    @property
    def fields(self) -> Fields:
        """Field names of the sources."""
        ...

    @property
    def file_filter(self) -> FileFilter:
        """The files that are read in folders."""
        ...


class ReadsSources(NamesSources, Protocol):
    """A request that reads documents for an output."""

    @property
    def output(self) -> Path:
        """Folder or file for the result."""
        ...


class SharesDocuments(ReadsSources, Protocol):
    """A request of a run whose documents may be shared."""

    @property
    def shared(self) -> Path | None:
        """Folder of documents and tokens shared by several runs, or None."""
        ...


def documents_of(run: Run, request: SharesDocuments) -> Documents:
    """Read the documents of a run into its workspace, or into the folder shared with other runs.

    A resumed run reads them again, to check that they are the same; those of a shared folder are read once, and the
    caller checks the sources.

    Args:
        run: the run.
        request: names the sources and how they are read.

    Raises:
        DataError: a record is bad and ``on_bad`` is fail, or there is no document.
        UsageError: a source is missing, or of an unknown kind.
        FingerprintError: a run is resumed with other documents.
    """
    return processes.current().opened(lambda: _documents(run, request), Documents.open)


def _documents(run: Run, request: SharesDocuments) -> Documents:
    if request.shared is not None:
        return _shared_documents(run, request, request.shared)
    target, again = run.workspace / DOCUMENTS, run.workspace / "documents-again"
    before = run.resume and (target / files.MANIFEST).is_file()
    documents = read_request(request, again if before or run.finished else target, run.listener)
    try:
        run.same_data("documents", documents.fingerprint)
    finally:
        shutil.rmtree(again, ignore_errors=True)
    return Documents.open(target) if before else documents


def _shared_documents(run: Run, request: ReadsSources, shared: Path) -> Documents:
    """Documents shared by several runs; the first one writes them, while the others wait."""
    target = shared / DOCUMENTS
    with files.lock(shared / "locks" / DOCUMENTS, wait=True):
        there = (target / files.MANIFEST).is_file()
        documents = Documents.open(target) if there else read_request(request, target, run.listener)
    run.same_data("documents", documents.fingerprint)
    return documents


def read_request(request: ReadsSources, target: Path, listener: Listener) -> Documents:
    """Read the sources of a request into a folder; quarantined records go beside its output.

    Args:
        request: names the sources and how they are read.
        target: folder for the documents.
        listener: receives progress.

    Raises:
        DataError: a record is bad and ``on_bad`` is fail, or there is no document.
        UsageError: a source is missing, or of an unknown kind.
    """
    return read_documents(
        request.sources,
        target,
        listener,
        fields=request.fields,
        file_filter=request.file_filter,
        on_bad=request.on_bad,
        quarantine=beside(request.output, ".quarantine.jsonl"),
        replace=True,
    )


def fields_of(
    *,
    text: str | None,
    title: str | None,
    identity: str | None,
    group: str | None,
    titles: bool,
    wikipedia: bool = False,
    columns: str | None = None,
) -> Fields:
    """Names of fields as given by the user; None: the usual conventions."""
    return Fields(
        text=text,
        title=title,
        id=identity,
        group=group,
        use_titles=titles,
        wikipedia=wikipedia,
        columns=tuple(name.strip() for name in columns.split(",")) if columns else None,
    )


def filter_of(include: Sequence[str] | None, exclude: Sequence[str] | None, *, ignore: bool) -> FileFilter:
    """The files of folders that are read, as given by the user."""
    return FileFilter(include=tuple(include or ()), exclude=tuple(exclude or ()), ignore=ignore)


def source_words(request: NamesSources) -> list[str]:
    """Command-line options that read the sources as the request does."""
    words = ["--on-bad", request.on_bad] if request.on_bad != "auto" else []
    return words + filter_words(request.file_filter) + field_words(request.fields)


def filter_words(file_filter: FileFilter) -> list[str]:
    """Command-line options of the files that are read in folders."""
    words: list[str] = []
    for pattern in file_filter.include:
        words += ["--include", pattern]
    for pattern in file_filter.exclude:
        words += ["--exclude", pattern]
    return words + ([] if file_filter.ignore else ["--no-ignore"])


def field_words(fields: Fields) -> list[str]:
    """Command-line options of the fields that differ from the conventions."""
    words: list[str] = []
    for name in ("text", "title", "id", "group"):
        words += [f"--{name}-field", value] if (value := getattr(fields, name)) else []
    words += ["--columns", ",".join(fields.columns)] if fields.columns else []
    words += [] if fields.use_titles else ["--without-titles"]
    return words + (["--wikipedia"] if fields.wikipedia else [])


def read_documents(
    sources: Sequence[str],
    target: Path,
    listener: Listener,
    *,
    fields: Fields,
    file_filter: FileFilter = FileFilter(),  # noqa: B008 - frozen
    on_bad: OnBad,
    quarantine: Path | None = None,
    replace: bool = False,
    keep: Keep | None = None,
) -> Documents:
    """Read sources into documents on disk, and report dropped records.

    Args:
        sources: files, folders and other sources.
        target: folder for the documents.
        listener: receives progress.
        fields: names of the fields.
        file_filter: the files that are read in folders.
        on_bad: policy for unreadable records.
        quarantine: file for bad records.
        replace: replace documents that are there.
        keep: what documents have for search; default: none of it, as for training.

    Raises:
        DataError: a record is bad and ``on_bad`` is fail, or there is no document.
        UsageError: a source is missing, or of an unknown kind.
    """
    listener.stage("read", unit="documents")
    report = ReadReport()
    found = corpus.read(
        sources,
        fields=fields,
        file_filter=file_filter,
        on_bad=on_bad,
        report=report,
        quarantine=quarantine,
        keep=keep,
    )
    facts: dict[str, Any] = {}

    def read() -> Iterator[Document]:
        yield from counted(found, listener)
        facts[READING] = report.facts()

    documents = Documents.write(target, read(), meta=facts, replace=replace)
    for line in report.lines():
        listener.note(line)
    return documents
