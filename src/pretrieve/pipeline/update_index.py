"""Changing an index on disk, for the command line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrieve.core import files
from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.files import storage
from pretrieve.index.compaction import compact
from pretrieve.index.filling import complete
from pretrieve.index.index import Changes, Index
from pretrieve.index.opening import CALLED, open_parts
from pretrieve.index.storing import told
from pretrieve.index.updating import delete, update
from pretrieve.index.vector_options import VectorOptions
from pretrieve.index.writing import writing
from pretrieve.pipeline.index import FILES, PASSAGES, READ_WITH
from pretrieve.pipeline.open_index import open_index
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.sources import READING, field_words, filter_words, read_documents
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.workspace import beside
from pretrieve.text.corpus import Fields, FileFilter, Keep, OnBad

_ADVICE = "the index is as it was, or updated as a whole; run the same command again"


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How the documents of an update are read.

    Attributes:
        sources: as for training.
        fields: names of the fields.
        file_filter: the files that are read in folders.
        on_bad: policy for unreadable records.
        passages: words of the passages that long documents are cut into, to be checked; 0: as the index has them.
    """

    sources: Sequence[str]
    fields: Fields
    file_filter: FileFilter = FileFilter()  # noqa: RUF009 - frozen
    on_bad: OnBad = "auto"
    passages: int = 0


@dataclass(frozen=True, kw_only=True)
class Updated:
    """An index after an update.

    Attributes:
        index: the index.
        changes: what was done.
        reading: report of reading the documents.
    """

    index: Index
    changes: Changes
    reading: Mapping[str, Any] | None = None


def update_index(
    path: Path,
    reading: Reading,
    listener: Listener,
    *,
    remove: bool,
    model: str | None = None,
    described: Mapping[str, Any] | None = None,
) -> Updated:
    """Read documents, add them to an index, and replace those whose ids are there.

    Args:
        path: the index.
        reading: the documents.
        listener: receives progress.
        remove: remove all other documents of the index.
        model: its model, to be checked; default: its own.
        described: usage of that model.

    Raises:
        UsageError: there is no index, or it was read with other fields.
        FingerprintError: the model is another one.
        LockedError: another process changes the index.
        PretrieveError: sources are invalid, or writing failed.
    """
    with writing(path), stoppable(_ADVICE), files.scratch(path.resolve().parent, path.name) as folder:
        meta = files.load_manifest(path, "index")["meta"]
        check_fields(path, reading.fields, meta.get(READ_WITH))
        check_passages(path, reading.passages, meta.get(PASSAGES, 0))
        if remove:
            note_other_files(path, reading.file_filter, meta.get(FILES), listener)
        opened = _opened(path, model, described)
        documents = read_documents(
            reading.sources,
            folder.path / "documents",
            listener,
            fields=reading.fields,
            file_filter=reading.file_filter,
            on_bad=reading.on_bad,
            quarantine=beside(path, ".quarantine.jsonl"),
            keep=Keep(passages=meta.get(PASSAGES, 0)),
        )
        listener.stage("index", len(documents), "documents")
        assert opened.dense is not None
        changes = update(path, open_parts(path, opened.dense.encoder), documents, remove=remove)
        listener.advance(len(documents))
        return Updated(
            index=Index.open(path, opened.dense.encoder), changes=changes, reading=documents.meta.get(READING)
        )


def delete_from_index(path: Path, names: Path) -> Changes:
    """Delete the documents whose ids are in a file, one a line; no model is opened.

    Raises:
        UsageError: there is no index, or it lacks one of the ids.
        DataError: the file cannot be read as ids.
        LockedError: another process changes the index.
        StorageError: reading or writing failed.
    """
    wanted = _ids(names)
    with writing(path), stoppable(_ADVICE):
        return delete(path, open_parts(path, with_model=False), wanted)


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """What merging the parts of an index did.

    Attributes:
        merged: number of parts that were merged into one.
        documents: number of documents in the index.
        dropped: number of deleted documents whose data is gone.
        measured: for each array of vectors how it is searched now, if the search is approximate.
        notes: the same for people.
    """

    merged: int
    documents: int
    dropped: int
    measured: Mapping[str, Any]
    notes: tuple[str, ...]

    def describe(self) -> str:
        """In some lines."""
        if not self.merged:
            return "\n".join(["there is one part without deleted documents.", *self.notes])
        line = f"{self.merged:,} parts merged into one. {self.documents:,} documents; {self.dropped:,} deleted ones"
        return "\n".join([f"{line} dropped.", *self.notes])

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        return {"merged": self.merged, "documents": self.documents, "dropped": self.dropped, "vectors": self.measured}


def compact_index(path: Path) -> Compacted:
    """Merge the parts of an index into one, without deleted documents.

    Raises:
        UsageError: there is no index.
        LockedError: another process changes the index.
        StorageError: writing failed.
    """
    with writing(path), stoppable(_ADVICE):
        before = files.load_manifest(path, "index")["meta"]["parts"]
        merged = compact(path, whole=True)
        complete(path)
        meta = files.load_manifest(path, "index")["meta"]
    measured = meta["parts"][0].get("measured", {})
    options = VectorOptions.of(meta)
    return Compacted(
        merged=merged,
        documents=meta["parts"][0]["documents"],
        dropped=sum(one["deleted"] for one in before),
        measured=measured,
        notes=tuple(line for name, found in measured.items() for line in told(CALLED[name], found, options)),
    )


def watch_index(sources: Sequence[str], seconds: float, again: Callable[[], Updated]) -> Iterator[Updated]:
    """Update an index whenever files of its sources change, until a signal stops it.

    Args:
        sources: files and folders.
        seconds: between two looks.
        again: updates the index.

    Yields:
        Each update that changed something.

    Raises:
        UsageError: a source is no file or folder.
        PretrieveError: the first update failed; a later one is tried again when the files have changed.
    """
    for source in sources:
        if not Path(source).exists():
            raise UsageError(f"{source}: --watch looks at files and folders; this is none.")
    seen = _state(sources)
    yield again()
    while True:
        time.sleep(seconds)
        now = _state(sources)
        if now == seen:
            continue
        seen = now
        updated = again()
        if updated.changes.new or updated.changes.changed or updated.changes.removed:
            yield updated


def _state(sources: Sequence[str]) -> list[tuple[str, int, int]]:
    """Names, sizes and times of all files."""
    found = []
    for path in (path for source in sources for path in _below(Path(source))):
        try:
            facts = path.stat()
        except OSError:  # removed meanwhile
            continue
        found.append((str(path), facts.st_size, facts.st_mtime_ns))
    return sorted(found)


def _below(source: Path) -> Iterator[Path]:
    """A source and all below it; a folder that is removed meanwhile has nothing."""
    yield source
    for folder, folders, names in os.walk(source):
        yield from (Path(folder) / name for name in (*folders, *names))


def check_fields(path: Path, fields: Fields, before: list[str] | None) -> None:
    """Refuse other fields than an index was read with.

    Args:
        path: the index.
        fields: names of the fields of the update.
        before: options that named them when it was built; None: not known.

    Raises:
        UsageError: they are others; the text names both.
    """
    now = field_words(fields)
    if before is not None and before != now:
        said, given = (" ".join(words) or "no options of fields" for words in (before, now))
        raise UsageError(f"{path} was read with {said}, and this update with {given}: give the same, or index again.")


def note_other_files(path: Path, file_filter: FileFilter, before: list[str] | None, listener: Listener) -> None:
    """Note that an update reads other files of folders than were read when an index was built.

    Args:
        path: the index.
        file_filter: files that the update reads.
        before: options that chose files when it was built; None: not known.
        listener: receives the note.
    """
    now = filter_words(file_filter)
    if before is not None and before != now:
        said, given = (" ".join(words) or "no --include or --exclude" for words in (before, now))
        listener.note(f"{path} was built with {said}, this update has {given}: what it does not read is removed.")


def check_passages(path: Path, asked: int, there: int) -> None:
    """Refuse other passages than an index has.

    Args:
        path: the index.
        asked: words of a passage; 0: as the index has them.
        there: words of its passages; 0: whole documents.

    Raises:
        UsageError: they are others; the text names both.
    """
    if asked not in (0, there):
        said = f"passages of {there} words" if there else "whole documents"
        raise UsageError(
            f"--passages: {path} has {said}, and this update asks for passages of {asked} words: leave --passages out, "
            "or build again with --overwrite."
        )


def _opened(path: Path, model: str | None, described: Mapping[str, Any] | None) -> Index:
    given = {name: value for name, value in (described or {}).items() if value is not None}
    if model is None:
        if given:
            raise UsageError(f"{path} knows how its model is used: leave --{next(iter(given)).replace('_', '-')} out.")
        return open_index(path)
    from pretrieve.models.text_encoder import ModelOptions, open_encoder

    return Index.open(path, open_encoder(model, ModelOptions(**given)))


def _ids(path: Path) -> list[str]:
    try:
        with storage(path):
            lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8; a file of ids has one id a line.") from None
    if not (found := [line for line in lines if line.strip()]):
        raise DataError(f"{path} holds no ids: give one a line.")
    return found
