"""Postings of one part of an index: for each term the documents that have it, and how often.

They say nothing of BM25: its weights follow from them, from the documents' lengths and from the statistics of all
parts (``bm25.py``), so that parts can be added, merged and lose documents without being written anew.

Built in bounded memory: as many documents as fit are sorted in memory and written as a run; runs are postings of
consecutive documents, so that merging two lists puts one behind the other (``merging.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.arrays import MappedArray, load_array, map_array
from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.core.files import Folder, scratch
from pretrieve.core.types import FloatArray, IntArray, Rows
from pretrieve.index.merging import Source, merge, round_down
from pretrieve.index.terms import SortedTerms

MEMORY = 512 << 20  # bytes that building may take, by default
_TOKEN = 64  # bytes that a term of a document takes while it is sorted
_LARGEST = np.iinfo(np.int32).max  # documents of a part


@dataclass(frozen=True, kw_only=True)
class Postings:
    """For each of T terms the documents of R that have it.

    Attributes:
        vocabulary: the terms, T.
        starts: (T+1,) where each term's postings begin.
        listed: ``documents``; of a file, checked as its blocks are first read.
        counted: ``counts``, likewise.
        lengths: (R,) terms of each document, int32.
        largest: (T,) largest count of each term, int32.
        shortest: (T,) smallest ratio of length and count, float32, rounded down.
        total: sum of all lengths.
    """

    vocabulary: SortedTerms
    starts: IntArray
    listed: MappedArray
    counted: MappedArray
    lengths: IntArray
    largest: IntArray
    shortest: FloatArray
    total: int

    @property
    def documents(self) -> IntArray:
        """(postings,) document of each posting, int32, ascending within a term."""
        return self.listed.whole()

    @property
    def counts(self) -> IntArray:
        """(postings,) how often the document has the term, as small unsigned integers."""
        return self.counted.whole()

    def __len__(self) -> int:
        return len(self.lengths)

    @staticmethod
    def of(rows: Rows, terms: Sequence[str]) -> Postings:
        """Sort in memory.

        Args:
            rows: R rows of term ids.
            terms: terms by id; those that no row has are left out.

        Raises:
            UsageError: there are more documents than a part holds.
        """
        if len(rows) > _LARGEST:
            raise UsageError(f"a part of an index holds at most {_LARGEST:,} documents or passages: make several.")
        used = np.zeros(len(terms), bool)
        used[rows.tokens] = True
        vocabulary, order = SortedTerms.of([terms[number] for number in np.flatnonzero(used).tolist()])
        rank = np.zeros(len(terms), np.int32)
        rank[used] = order
        term, documents, counts = _count(rows, rank)
        starts = np.concatenate([[0], np.cumsum(np.bincount(term, minlength=len(vocabulary)))]).astype(np.int64)
        lengths = rows.lengths.astype(np.int32)
        return Postings.made(vocabulary, starts, documents, counts, lengths)

    @staticmethod
    def made(
        vocabulary: SortedTerms, starts: IntArray, documents: IntArray, counts: IntArray, lengths: IntArray
    ) -> Postings:
        """Put arrays together that are sorted already; every term has a posting."""
        return Postings(
            vocabulary=vocabulary,
            starts=starts,
            listed=MappedArray(documents),
            counted=MappedArray(counts.astype(np.min_scalar_type(int(counts.max(initial=0))))),
            lengths=lengths,
            largest=np.maximum.reduceat(counts, starts[:-1]).astype(np.int32) if len(counts) else _NONE,
            shortest=_ratios(documents, counts, lengths, starts),
            total=int(lengths.sum(dtype=np.int64)),
        )

    @staticmethod
    def build(folder: Folder, prefix: str, blocks: Iterable[tuple[Rows, Sequence[str]]], memory: int = MEMORY) -> None:
        """Write the postings of a stream of documents, in bounded memory.

        Args:
            folder: the artefact; runs lie in it for the time.
            prefix: of the arrays' names.
            blocks: rows of term ids, document after document, and terms by id. Blocks that come with the same list of
                terms are sorted together.
            memory: bytes to sort in.

        Raises:
            StorageError: writing to disk failed.
        """
        with Builder.into(folder, prefix, memory) as builder:
            for rows, terms in blocks:
                builder.add(rows, terms)

    @staticmethod
    def merge(
        folder: Folder,
        prefix: str,
        parts: Sequence[Postings],
        kept: Sequence[IntArray | None],
        memory: int = MEMORY,
    ) -> None:
        """Write the postings of several parts as one: the same bytes as if the documents that stay were built anew.

        Args:
            folder: the artefact.
            prefix: of the arrays' names.
            parts: the parts, in the order of their documents.
            kept: for each part the ascending documents that stay; None for all.
            memory: bytes to merge in.

        Raises:
            StorageError: writing to disk failed.
        """
        sources = [Source.of(part, which, memory) for part, which in zip(parts, kept, strict=True)]
        merge(folder, prefix, sources, memory)

    def list(self, term: str) -> tuple[IntArray, IntArray]:
        """The documents that have a term, ascending, and how often each has it; empty where none has it."""
        found = self.vocabulary.numbers([term])
        first, last = (int(at) for at in self.starts[found[0] : found[0] + 2]) if found else (0, 0)
        return self.listed[first:last], self.counted[first:last]

    def write(self, folder: Folder, prefix: str) -> None:
        """Write as arrays of an artefact.

        Raises:
            StorageError: writing to disk failed.
        """
        self.vocabulary.write(folder, prefix)
        for name in ("starts", "documents", "counts", "lengths", "largest", "shortest"):
            folder.array(f"{prefix}/{name}", getattr(self, name))
        folder.array(f"{prefix}/total", np.array([self.total], np.int64))

    @staticmethod
    def open(path: Path) -> Postings:
        """Map what was written below ``path``; nothing is read before it is asked for.

        Raises:
            CorruptError: the arrays do not fit together.
        """
        vocabulary = SortedTerms.open(path)
        names = ("starts", "lengths", "largest", "shortest", "total")
        arrays: dict[str, Any] = {name: load_array(path / name) for name in names}
        listed, counted = map_array(path / "documents"), map_array(path / "counts")
        starts, terms = arrays["starts"], len(vocabulary)
        fit = len(starts) == terms + 1 and int(starts[-1]) == len(listed) == len(counted)
        if not (fit and len(arrays["largest"]) == len(arrays["shortest"]) == terms and len(arrays["total"]) == 1):
            raise CorruptError(f"{path}: the arrays of BM25 do not fit together: make the index again.")
        arrays["total"] = int(arrays["total"][0])
        return Postings(vocabulary=vocabulary, listed=listed, counted=counted, **arrays)


class Builder:
    """Collects documents, and writes them as sorted runs; use ``into``.

    Args:
        runs: folder of the runs.
        memory: bytes to sort in.
    """

    def __init__(self, runs: Folder, memory: int) -> None:
        self._runs, self._limit = runs, max(1, memory // _TOKEN)
        self._names: list[str] = []
        self._terms: Sequence[str] = ()
        self._tokens: list[IntArray] = []
        self._lengths: list[IntArray] = []
        self._size = 0

    @staticmethod
    @contextlib.contextmanager
    def into(folder: Folder, prefix: str, memory: int = MEMORY) -> Iterator[Builder]:
        """Collect documents; they are written to the folder when the block ends.

        Args:
            folder: the artefact; runs lie in it for the time.
            prefix: of the arrays' names.
            memory: bytes to sort in.

        Raises:
            StorageError: writing to disk failed.
        """
        with scratch(folder.path, f"{prefix.replace('/', '-')}-runs") as runs:
            builder = Builder(runs, memory)
            yield builder
            builder._finish(folder, prefix, memory)

    def add(self, rows: Rows, terms: Sequence[str]) -> None:
        """Add documents.

        Args:
            rows: rows of term ids.
            terms: terms by id; the same list as before, where ids go on.

        Raises:
            StorageError: writing to disk failed.
        """
        if terms is not self._terms:
            self._flush()
            self._terms = terms
        tokens, lengths = rows.tokens, rows.lengths.astype(np.int32)
        first, used = 0, 0
        while first < len(lengths):
            ends = np.cumsum(lengths[first:], dtype=np.int64) + np.arange(1, len(lengths) - first + 1)
            taken = max(1, int(np.searchsorted(ends, self._limit - self._size, "right")))
            if self._size and int(ends[0]) > self._limit - self._size:
                self._flush()
                continue
            count = int(ends[taken - 1]) - taken
            self._lengths.append(lengths[first : first + taken])
            self._tokens.append(tokens[used : used + count].astype(np.int32))
            self._size += count + taken
            first, used = first + taken, used + count

    def _sorted(self) -> Postings:
        lengths = np.concatenate([*self._lengths, _NONE])
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        tokens = np.concatenate([*self._tokens, _NONE])
        self._tokens, self._lengths, self._size = [], [], 0
        return Postings.of(Rows(tokens, offsets), self._terms)

    def _flush(self) -> None:
        if self._size:
            self._names.append(f"{len(self._names):06}")
            self._sorted().write(self._runs, self._names[-1])

    def _finish(self, folder: Folder, prefix: str, memory: int) -> None:
        if not self._names:
            self._sorted().write(folder, prefix)
            return
        self._flush()
        parts = [Postings.open(self._runs.path / name) for name in self._names]
        Postings.merge(folder, prefix, parts, [None] * len(parts), memory)


_NONE = np.zeros(0, np.int32)


def _count(rows: Rows, rank: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Term, document and number of occurrences of every posting, by term and then by document."""
    size = max(len(rows), 1)
    keys = rank[rows.tokens].astype(np.int64)
    keys *= size
    keys += np.repeat(np.arange(len(rows), dtype=np.int32), rows.lengths)
    keys.sort()
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    counts = np.diff(np.append(first, len(keys)))
    term, document = np.divmod(keys[first], size)
    return term.astype(np.int32), document.astype(np.int32), counts


def _ratios(documents: IntArray, counts: IntArray, lengths: IntArray, starts: IntArray) -> FloatArray:
    """Smallest ratio of length and count of each term, rounded down to float32."""
    if not len(counts):
        return np.zeros(0, np.float32)
    return round_down(np.minimum.reduceat(lengths[documents] / counts, starts[:-1]))
