"""One process's part of a collection: the shards that are its own, each encoded unless it is there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import disk, files
from pretrieve.core.errors import CorruptError, DataError, FingerprintError
from pretrieve.core.shards import shard_name
from pretrieve.core.types import Document, FloatArray, TextEncoder
from pretrieve.index.dense import check_finite
from pretrieve.index.pseudo import full_text
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.encode.request import EncodeRequest
from pretrieve.pipeline.encode.shards import (
    KIND,
    RecordsDigest,
    check_documents,
    check_same,
    facts_of,
    named,
    numbers_in,
    read_meta,
    refuse_missing,
    sweep,
    write_shard,
)
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.usage_warnings import before_search
from pretrieve.pipeline.run.workspace import beside
from pretrieve.text import corpus
from pretrieve.text.corpus import Keep, ReadReport

_TEXTS, _CHARACTERS = 1024, 4 << 20  # encoded at once


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    """What is on disk after a run.

    Attributes:
        vectors: the folder.
        model: its model, as given.
        documents: number of documents, or of queries.
        shards: number of shards that they make.
        written: number of shards that this run wrote.
        present: number of its shards that were there before.
        missing: names of shards that are not there: those of other processes.
        shard_size: documents of a shard.
        format: format of the vectors.
        dtype: their precision.
        reading: what became of files and records.
    """

    vectors: str
    model: str
    documents: int
    shards: int
    written: int
    present: int
    missing: list[str] = field(default_factory=list)
    shard_size: int
    format: str
    dtype: str
    reading: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def describe(self) -> str:
        """In a line or two."""
        line = (
            f"{self.documents:,} texts in {self.shards:,} shards of {self.shard_size:,} in {self.vectors}: "
            f"{self.written:,} encoded, {self.present:,} found."
        )
        return f"{line}\nOf other processes, not there yet: {named(self.missing)}." if self.missing else line


def encode_part(request: EncodeRequest, listener: Listener, *, check: bool = False) -> EncodeReport:
    """Encode the shards of one process, or check all of them.

    Args:
        request: arguments of the run, checked before.
        listener: receives progress.
        check: encode nothing; read every byte that is there, and refuse a collection with missing shards.

    Raises:
        PretrieveError: any error that a user can fix: documents, model, shards of another run, disk.
    """
    options = ModelOptions(**request.described)
    for line in before_search(request.model, options):
        listener.note(line)
    run = _Run(request, listener, open_encoder(request.model, options))
    if check:
        return run.checked()
    with stoppable(f"whole shards are kept in {request.output}; run the same command again to continue"):
        return run.encoded()


class _Run:
    """One process: its encoder, and the shards that are its own."""

    def __init__(self, request: EncodeRequest, listener: Listener, encoder: TextEncoder) -> None:
        self.request, self.listener, self.encoder = request, listener, encoder
        self.output = request.output
        own = {name: getattr(request, name) for name in ("format", "dtype", "shard_size")}
        self.facts = facts_of(encoder, queries=request.queries, passages=request.passages) | own
        check_same(self.output, numbers_in(self.output), self.facts, request.model)
        self.documents = self.written = self.present = 0
        self.reading: dict[str, Any] = {}

    def encoded(self) -> EncodeReport:
        """Write the shards that are missing, of this process's part."""
        number, count = self.request.part
        place = self.output / f".writer-{number}-of-{count}"
        disk.make_folder(self.output, exist_ok=True)
        try:
            with files.lock(place):
                try:
                    sweep(self.output, self.request.part)
                    for shard, documents in self._shards():
                        if shard % count == number:
                            self._shard(shard, documents)
                        else:
                            self._pass(documents)
                finally:
                    disk.remove(place)
        finally:
            with contextlib.suppress(OSError):
                self.output.rmdir()  # where nothing was written
        return self._report()

    def checked(self) -> EncodeReport:
        """Compare all that is there with the documents.

        Raises:
            CorruptError: a shard is damaged.
            FingerprintError: a shard is of other documents.
            DataError: shards are missing.
        """
        for shard, documents in self._shards():
            path = self.output / shard_name(shard)
            if (path / files.MANIFEST).is_file():
                files.verify(path)
                self._compare(path, documents)
            else:
                self._pass(documents)
        report = self._report()
        refuse_missing(self.output, report.missing, report.shards, self.request.shard_size)
        return report

    def _shards(self) -> Iterator[tuple[int, Iterator[Document]]]:
        """The documents of each shard; they are read before the next one is asked for."""
        request, report = self.request, ReadReport()
        self.listener.stage("encode", unit="queries" if request.queries else "documents")
        found = corpus.read(
            request.inputs,
            fields=replace(request.fields, use_titles=False) if request.queries else request.fields,
            file_filter=request.file_filter,
            on_bad=request.on_bad,
            report=report,
            quarantine=beside(self.output, ".quarantine.jsonl"),
            deduplicate=not request.queries,
            keep=Keep(passages=request.passages) if request.passages else None,
            workers=None if request.part[1] == 1 else 1,  # the other parts are read at the same time
        )
        number = 0
        while (first := next(found, None)) is not None:
            yield number, chain([first], islice(found, request.shard_size - 1))
            number += 1
        self.reading = report.facts()
        for line in report.lines():
            self.listener.note(line)

    def _shard(self, number: int, documents: Iterator[Document]) -> None:
        path = self.output / shard_name(number)
        if (path / files.MANIFEST).is_file():
            try:
                files.read_manifest(path, KIND)
            except CorruptError as error:
                self.listener.note(f"{str(error).rstrip('.')}: it is encoded again.")
            else:
                self._compare(path, documents)
                return
        block = _Block(self.encoder, self.request)
        for part in _parts(documents):
            block.add(part)
            self._count(len(part))
        first = number * self.request.shard_size
        meta = {**self.facts, "first": first, "count": len(block.ids), "documents": block.fingerprint}
        write_shard(self.output, number, block.ids, block.vectors, {**meta, "shape": list(block.vectors.shape[1:])})
        self.written += 1

    def _compare(self, path: Path, documents: Iterator[Document]) -> None:
        """Refuse a shard that is there and of other documents."""
        digest = RecordsDigest()
        for part in _parts(documents):
            for document in part:
                digest.add(document)
            self._count(len(part))
        check_documents(path, read_meta(path), digest.value, digest.count)
        self.present += 1

    def _pass(self, documents: Iterable[Document]) -> None:
        for part in _parts(documents):
            self._count(len(part))

    def _count(self, number: int) -> None:
        self.documents += number
        self.listener.advance(number)

    def _report(self) -> EncodeReport:
        request, size = self.request, self.request.shard_size
        total = -(-self.documents // size)
        there = set(numbers_in(self.output))
        if more := sorted(there - set(range(total))):
            raise FingerprintError(
                f"{self.output / shard_name(more[0])} is of documents that the sources do not have ({self.documents:,}"
                " now): give the same sources and options, or choose another folder."
            )
        return EncodeReport(
            vectors=str(request.output),
            model=request.model,
            documents=self.documents,
            shards=total,
            written=self.written,
            present=self.present,
            missing=[shard_name(number) for number in range(total) if number not in there],
            shard_size=size,
            format=request.format,
            dtype=request.dtype,
            reading=self.reading,
        )


class _Block:
    """The ids and vectors of a shard, while it is encoded."""

    def __init__(self, encoder: TextEncoder, request: EncodeRequest) -> None:
        self._encode = encoder.encode_queries if request.queries else encoder.encode_documents
        self._separator: str = getattr(encoder, "separator", " ")
        self._location, self._request = encoder.location, request
        self._digest = RecordsDigest()
        self._vectors: FloatArray = np.zeros(0, np.float32)
        self.ids: list[str] = []

    def add(self, documents: list[Document]) -> None:
        """Encode some documents.

        Raises:
            DataError: the model gives values that are not finite, or that the precision cannot hold.
        """
        texts = [full_text(document, self._separator) for document in documents]
        vectors = np.asarray(self._encode(texts), np.float32)
        check_finite(vectors, texts, self._location)
        with np.errstate(over="ignore"):
            stored = vectors.astype(self._request.dtype)
        if not np.isfinite(stored).all():
            raise DataError(f"{self._location} gives values above {np.finfo(stored.dtype).max}: use --dtype float32.")
        if not self.ids:
            self._vectors = np.empty((self._request.shard_size, *stored.shape[1:]), stored.dtype)
        self._vectors[len(self.ids) : len(self.ids) + len(stored)] = stored
        self.ids += [document.id for document in documents]
        for document in documents:
            self._digest.add(document)

    @property
    def vectors(self) -> FloatArray:
        """(R, D) or (R, V, D)."""
        return self._vectors[: len(self.ids)]

    @property
    def fingerprint(self) -> str:
        """Of the documents."""
        return self._digest.value


def _parts(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Documents in lists of what is encoded at once."""
    part: list[Document] = []
    characters = 0
    for document in documents:
        part.append(document)
        characters += len(document.text)
        if len(part) == _TEXTS or characters > _CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part
