"""Writes rankings as TREC runs: ``query Q0 document rank score tag``, a line a hit.

What reads runs (trec_eval, ir-measures) orders them by scores of 32 bits and breaks ties by id, so scores fall strictly
from hit to hit. It parts columns by white space and knows no quotes, so white space in an id is written as in
addresses: ``%20``.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import zstandard

from pretrieve.core.errors import DataError
from pretrieve.core.files import HashingFile, create_file
from pretrieve.core.types import FloatArray
from pretrieve.text.files.streams import COMPRESSED

_STEP = np.float32(1e-30)  # around 0, where the next number below is too small for some readers
_GZIP = 31  # zlib's window with a gzip head, which holds no time


class _Packing(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class RunWriter:
    """Writes the lines of a run, perhaps packed.

    Attributes:
        hits: number of lines.
        escaped: ids with white space, of queries and documents.
    """

    def __init__(self, file: HashingFile, tag: str, packing: _Packing | None = None) -> None:
        self.hits = 0
        self.escaped: set[str] = set()
        self._file, self._tag, self._packing = file, tag, packing
        self._kinds: tuple[dict[str, str], dict[str, str]] = ({}, {})  # queries and documents by odd written ids

    def add(self, query: str, hits: Sequence[str], scores: FloatArray) -> None:
        """Write the ranking of a query.

        Args:
            query: its id.
            hits: ids of documents, best first.
            scores: theirs; a tie is moved down by the smallest step.

        Raises:
            DataError: two ids would be one in a run.
            StorageError: writing to disk failed.
        """
        queries, documents = self._kinds
        name = self._written(query, queries)
        self._write("".join(
            f"{name} Q0 {self._written(hit, documents)} {rank} {score:.9g} {self._tag}\n"
            for rank, (hit, score) in enumerate(zip(hits, falling_scores(scores), strict=True), start=1)
        ).encode())  # fmt: skip
        self.hits += len(hits)

    def finish(self) -> None:
        """Write what a packed file ends with."""
        if self._packing is not None:
            self._file.write(self._packing.flush())

    def _write(self, data: bytes) -> None:
        self._file.write(data if self._packing is None else self._packing.compress(data))

    def _written(self, name: str, known: dict[str, str]) -> str:
        written = written_id(name)
        if written != name:
            self.escaped.add(name)
        if "%" in written and (other := known.setdefault(written, name)) != name:
            raise DataError(f"the ids {other!r} and {name!r} are both {written} in a run: rename one of them.")
        return written


@contextlib.contextmanager
def create_run(path: Path, tag: str) -> Iterator[RunWriter]:
    """Write a run: it appears when the block ends, or not at all.

    Args:
        path: the file; packed where its name ends in ``.gz``, ``.zst``, ``.bz2`` or ``.xz``.
        tag: name of the system, without white space.

    Raises:
        StorageError: writing to disk failed.
    """
    with create_file(path) as file:
        writer = RunWriter(file, tag, _packing(path.suffix.lower()))
        yield writer
        writer.finish()


def run_stem(path: Path) -> tuple[str, str]:
    """The name of a run without its suffixes, and these: ``("a", ".run.gz")``."""
    packed = path.suffix if path.suffix.lower() in COMPRESSED else ""
    inner = Path(path.name.removesuffix(packed))
    return inner.stem, f"{inner.suffix}{packed}"


def written_id(name: str) -> str:
    """An id as it stands in a run: white space as in addresses."""
    if not any(sign.isspace() for sign in name):
        return name
    return "".join("".join(f"%{byte:02X}" for byte in sign.encode()) if sign.isspace() else sign for sign in name)


def escaped_ids(ids: Iterable[str]) -> dict[str, str]:
    """The ids with white space by what stands for them in a run, but where that is another one's own id."""
    names = set(ids)
    found = {written: name for name in names if (written := written_id(name)) != name}
    return {written: name for written, name in found.items() if written not in names}


def falling_scores(scores: FloatArray) -> list[float]:
    """Scores as numbers of 32 bits, each below the one before: a tie is moved down by the smallest step.

    Scores that are not all finite give way to negative ranks.
    """
    if not np.isfinite(scores).all():
        return [-float(rank) for rank in range(1, len(scores) + 1)]
    narrow = np.asarray(scores, dtype=np.float32)
    if (np.diff(narrow) < 0).all():
        return [float(score) for score in narrow]
    found, last = [], np.float32(np.inf)
    for score in narrow:
        last = score if score < last else min(np.nextafter(last, np.float32(-np.inf)), last - _STEP)
        found.append(float(last))
    return found


def _packing(suffix: str) -> _Packing | None:
    if suffix == ".gz":
        return zlib.compressobj(wbits=_GZIP)
    if suffix == ".zst":
        packing: _Packing = zstandard.ZstdCompressor().compressobj()
        return packing
    return {".bz2": bz2.BZ2Compressor, ".xz": lzma.LZMACompressor}[suffix]() if suffix in (".bz2", ".xz") else None
