"""The documents of a corpus on disk, one JSON line each, with their offsets: streamed in, read in order or at random.

Artefact of kind ``documents``: ``records.jsonl`` (id, title, text, group; fields, place and parent where there are
any), ``offsets`` (n+1,) int64, ``MANIFEST.json``. Fingerprints are those of id, title, text and group alone: what is
kept for search makes no other documents of them.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core import files
from pretrieve.core.arrays import array_header, load_array
from pretrieve.core.blocks import Guard
from pretrieve.core.errors import DataError, FingerprintError
from pretrieve.core.manifest import guard_of
from pretrieve.core.types import Document, IntArray

_RECORDS = "records.jsonl"
_OFFSETS = "offsets"
_BATCH_BYTES = 4 << 20
_FLUSH = 8192  # offsets kept before they are written
_EXTENDED = "fields"  # in the MANIFEST: some lines hold more than what is trained on


class _Descriptor:
    """A file that stays open as long as it is used: its folder may be replaced meanwhile."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents on disk; ``documents[i]`` reads one, ``batches`` all or some of them in order.

    Attributes:
        path: the artefact's folder.
        offsets: (n+1,) int64; document i is bytes ``offsets[i]`` to ``offsets[i+1]`` of ``records.jsonl``.
        fingerprint: hash of all of it, in order.
        meta: further facts of the MANIFEST, such as the report of reading.
    """

    path: Path
    offsets: IntArray
    fingerprint: str
    meta: Mapping[str, Any]
    _records: mmap.mmap
    _file: _Descriptor
    _guard: Guard | None

    @staticmethod
    def write(
        target: Path, documents: Iterable[Document], *, meta: Mapping[str, Any] | None = None, replace: bool = False
    ) -> Documents:
        """Stream documents into an artefact and open it.

        Args:
            target: output folder.
            documents: documents, such as those of ``corpus.read``.
            meta: facts to keep in the MANIFEST; read when all documents are written, so a report may fill up meanwhile.
            replace: replace an existing artefact.

        Raises:
            DataError: there was no document at all.
            StorageError: writing to disk failed.
        """
        facts: dict[str, Any] = {}
        with files.create(target, "documents", replace=replace, meta=facts) as folder:
            count, digest = _write_records(folder, documents)
            if not count:
                raise DataError("there are no documents: nothing was written.")
            facts |= {**(meta or {}), "documents": count, "fingerprint": files.fingerprint(digest)}
            facts |= {} if digest == folder.entries[_RECORDS]["sha256"] else {_EXTENDED: True}
        return Documents.open(target)

    @staticmethod
    def open(path: Path) -> Documents:
        """Open what ``write`` made.

        Raises:
            UsageError: there is no such artefact.
            CorruptError: it is damaged.
        """
        with files.reading(path, "documents") as meta:
            with files.storage(path):
                file = _Descriptor(path / _RECORDS)
                records = mmap.mmap(file.number, 0, access=mmap.ACCESS_READ)
            guard = guard_of(path / _RECORDS, lambda start, count: os.pread(file.number, count, start))
            offsets = load_array(path / _OFFSETS)
        return Documents(path, offsets, meta["fingerprint"], meta, records, file, guard)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, and other processes, open the same folder."""
        return _reopened, (self.path.absolute(), self.fingerprint)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Document:
        """Read document ``index`` (0 to n-1; negative from the end)."""
        position = range(len(self))[index]
        start, end = int(self.offsets[position]), int(self.offsets[position + 1])
        self._check(start, end)
        return _document(self._records[start:end])

    def _check(self, start: int, end: int) -> None:
        if self._guard is not None:
            self._guard.touch(start, end)

    def __iter__(self) -> Iterator[Document]:
        for batch in self.batches():
            yield from batch

    def batches(self, size: int = 1024, select: IntArray | None = None) -> Iterator[list[Document]]:
        """Read documents in lists of at most ``size`` documents and about 4 MB.

        The file is read, not mapped: pages of a mapping would count as memory of the process.

        Args:
            size: most documents in a list, >= 1.
            select: indices to read, in this order; all by default.
        """
        indices = np.arange(len(self)) if select is None else select
        batch: list[Document] = []
        budget = _BATCH_BYTES
        for part in range(0, len(indices), _FLUSH):
            some = indices[part : part + _FLUSH]
            for start, end in zip(self.offsets[some].tolist(), self.offsets[some + 1].tolist(), strict=True):
                self._check(start, end)
                batch.append(_document(os.pread(self._file.number, end - start, start)))
                budget -= end - start
                if len(batch) >= size or budget <= 0:
                    yield batch
                    batch, budget = [], _BATCH_BYTES
        if batch:
            yield batch

    def digest(self, first: int, last: int) -> str:
        """Fingerprint of documents ``first`` to ``last``, exclusive: 16 digits of the sha256 of their plain lines."""
        sha256 = hashlib.sha256()
        if self.meta.get(_EXTENDED):
            for batch in self.batches(select=np.arange(first, last)):
                sha256.update(b"".join(map(plain_line, batch)))
            return sha256.hexdigest()[:16]
        end = int(self.offsets[last])
        for start in range(int(self.offsets[first]), end, _BATCH_BYTES):
            self._check(start, min(start + _BATCH_BYTES, end))
            sha256.update(os.pread(self._file.number, min(_BATCH_BYTES, end - start), start))
        return sha256.hexdigest()[:16]

    def sample(self, limit: int) -> IntArray:
        """Indices of evenly spaced documents that make about ``limit`` bytes together, at least one; increasing."""
        count = max(1, min(len(self), int(len(self) * limit / max(1, int(self.offsets[-1])))))
        return np.linspace(0, len(self) - 1, count).round().astype(np.int64) if count > 1 else np.zeros(1, np.int64)


def _reopened(path: Path, fingerprint: str) -> Documents:
    """The documents that another process opened.

    Raises:
        FingerprintError: others have replaced them since.
    """
    documents = Documents.open(path)
    if documents.fingerprint != fingerprint:
        raise FingerprintError(
            f"{path} holds documents {documents.fingerprint}, but {fingerprint} was opened: open it again."
        )
    return documents


def _document(line: bytes) -> Document:
    return Document(**orjson.loads(line))


def _write_records(folder: files.Folder, documents: Iterable[Document]) -> tuple[int, str]:
    """Write the lines; returns their number, and the sha256 of the plain ones."""
    count = position = written = 0
    plain = hashlib.sha256()
    with folder.open(_RECORDS) as records, folder.open(_OFFSETS) as offsets:
        offsets.write(array_header(np.dtype(np.int64), (-1,)))
        lines: list[bytes] = []
        ends = [0]
        for document in documents:
            lines.append(record_line(document))
            plain.update(plain_line(document) if _is_extended(document) else lines[-1])
            position += len(lines[-1])
            ends.append(position)
            count += 1
            if len(ends) >= _FLUSH or position - written > _BATCH_BYTES:
                _flush(records, lines, offsets, ends)
                written = position
        _flush(records, lines, offsets, ends)
    return count, plain.hexdigest()


def record_line(document: Document) -> bytes:
    """A document as its line of ``records.jsonl``."""
    record: dict[str, object] = _plain(document)
    if _is_extended(document):
        further = {"fields": dict(document.fields), "place": document.place, "parent": document.parent}
        record |= {name: value for name, value in further.items() if value}
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def plain_line(document: Document) -> bytes:
    """The line of a document without fields, place and parent: what fingerprints are of."""
    return orjson.dumps(_plain(document), option=orjson.OPT_APPEND_NEWLINE)


def _plain(document: Document) -> dict[str, object]:
    return {"id": document.id, "title": document.title, "text": document.text, "group": document.group}


def _is_extended(document: Document) -> bool:
    return bool(document.fields or document.place or document.parent)


def _flush(records: files.HashingFile, lines: list[bytes], offsets: files.HashingFile, ends: list[int]) -> None:
    records.write(b"".join(lines))
    offsets.write(np.asarray(ends, dtype=np.int64).tobytes())
    lines.clear()
    ends.clear()
