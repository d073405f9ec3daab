"""Passages: overlapping windows of a document's terms (Callan, *Passage-level evidence*, SIGIR 1994)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrieve.core.arrays import load_array
from pretrieve.core.errors import CorruptError
from pretrieve.core.files import Folder
from pretrieve.core.types import BoolArray, FloatArray, IntArray, Rows
from pretrieve.index.analysis import Terms
from pretrieve.index.bm25 import BM25
from pretrieve.index.postings import MEMORY, Builder, Postings
from pretrieve.index.scorer import Scorer, units_of
from pretrieve.index.ties import Ties

SIZE, STRIDE = 50, 25  # terms of a passage, and from one to the next


def cut(rows: Rows, size: int = SIZE, stride: int = STRIDE) -> tuple[Rows, IntArray]:
    """Cut rows into overlapping windows; the last window of a row ends with it, and a short row is one window.

    Args:
        rows: R rows.
        size: terms of a window, at most.
        stride: terms from the start of a window to that of the next.

    Returns:
        P windows, row after row, and (R,) the first window of each row.
    """
    lengths = rows.lengths
    counts = np.maximum(-(-(lengths - size) // stride), 0) + 1
    starts = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(rows)), counts)
    first = (np.arange(len(owner)) - starts[owner]) * stride
    taken = np.minimum(lengths[owner] - first, size)
    offsets = np.concatenate([[0], np.cumsum(taken)]).astype(np.int64)
    places = np.repeat(rows.offsets[owner] + first - offsets[:-1], taken) + np.arange(offsets[-1])
    return Rows(rows.tokens[places], offsets), starts


@dataclass(frozen=True, kw_only=True)
class PassagePostings:
    """Postings of the passages of one part.

    Attributes:
        postings: of its P passages.
        starts: (R,) first passage of each document, int32.
    """

    postings: Postings
    starts: IntArray

    @staticmethod
    def of(rows: Rows, terms: Sequence[str]) -> PassagePostings:
        """Cut documents into passages, and sort their terms in memory.

        Args:
            rows: R rows of term ids.
            terms: terms by id.
        """
        passages, starts = cut(rows)
        return PassagePostings(postings=Postings.of(passages, terms), starts=starts.astype(np.int32))

    @staticmethod
    def merge(
        folder: Folder,
        prefix: str,
        parts: Sequence[PassagePostings],
        kept: Sequence[IntArray | None],
        memory: int = MEMORY,
    ) -> None:
        """Write the passages of several parts as one, as ``Postings.merge`` does.

        Args:
            folder: the artefact.
            prefix: of the arrays' names.
            parts: the parts, in the order of their documents.
            kept: for each part the ascending documents that stay; None for all.
            memory: bytes to merge in.

        Raises:
            StorageError: writing to disk failed.
        """
        stay = [
            None if which is None else units_of(part.starts, len(part.postings), which)[0]
            for part, which in zip(parts, kept, strict=True)
        ]
        Postings.merge(folder, prefix, [part.postings for part in parts], stay, memory)
        counts = [part.counts if which is None else part.counts[which] for part, which in zip(parts, kept, strict=True)]
        sizes = np.concatenate([*counts, np.zeros(0, np.int32)])
        folder.array(f"{prefix}/first", (np.cumsum(sizes) - sizes).astype(np.int32))

    @property
    def counts(self) -> IntArray:
        """(R,) passages of each document."""
        return np.diff(self.starts, append=np.int32(len(self.postings)))

    def write(self, folder: Folder, prefix: str) -> None:
        """Write as arrays of an artefact.

        Raises:
            StorageError: writing to disk failed.
        """
        self.postings.write(folder, prefix)
        folder.array(f"{prefix}/first", self.starts)

    @staticmethod
    def open(path: Path) -> PassagePostings:
        """Map what was written below ``path``.

        Raises:
            CorruptError: the arrays do not fit together.
        """
        postings, starts = Postings.open(path), np.asarray(load_array(path / "first"))
        if len(starts) and int(starts[-1]) >= len(postings):
            raise CorruptError(f"{path}: the arrays of its passages do not fit together: make the index again.")
        return PassagePostings(postings=postings, starts=starts)


class PassageBuilder:
    """Cuts documents into passages as they come; use ``into``."""

    def __init__(self, builder: Builder) -> None:
        self._builder, self._sizes = builder, [np.zeros(0, np.int32)]

    @staticmethod
    @contextlib.contextmanager
    def into(folder: Folder, prefix: str, memory: int = MEMORY) -> Iterator[PassageBuilder]:
        """Collect documents; their passages are written to the folder when the block ends.

        Args:
            folder: the artefact.
            prefix: of the arrays' names.
            memory: bytes to sort in.

        Raises:
            StorageError: writing to disk failed.
        """
        with Builder.into(folder, prefix, memory) as builder:
            made = PassageBuilder(builder)
            yield made
        sizes = np.concatenate(made._sizes)
        folder.array(f"{prefix}/first", (np.cumsum(sizes) - sizes).astype(np.int32))

    def add(self, rows: Rows, terms: Sequence[str]) -> None:
        """Add documents, as ``Builder.add``.

        Raises:
            StorageError: writing to disk failed.
        """
        passages, starts = cut(rows)
        self._sizes.append(np.diff(starts, append=len(passages)).astype(np.int32))
        self._builder.add(passages, terms)


@dataclass(frozen=True, kw_only=True)
class Passages:
    """Scores of R documents by their best passage: a third ranker beside BM25 of the document and the vectors.

    In a long document the words of a question stand anywhere by chance; in a passage they stand together.

    Attributes:
        analyzer: analyzer of queries.
        scorer: BM25 over the P passages of all documents.
        parts: of which.
    """

    analyzer: Terms
    scorer: Scorer
    parts: tuple[PassagePostings, ...]

    @staticmethod
    def over(
        analyzer: Terms,
        parts: Sequence[PassagePostings],
        options: BM25,
        alive: Sequence[BoolArray | None],
        ties: Ties = Ties(),  # noqa: B008 - frozen
    ) -> Passages:
        """Rank the documents of several parts.

        Args:
            analyzer: analyzer of queries.
            parts: their passages.
            options: k1 and b.
            alive: for each part (R of the part,) which documents are not deleted; None for all.
            ties: what decides between equal scores.
        """
        starts = [part.starts for part in parts]
        scorer = Scorer([part.postings for part in parts], alive, options, starts, ties)
        return Passages(analyzer=analyzer, scorer=scorer, parts=tuple(parts))

    @property
    def size(self) -> int:
        """Passages of all documents, P; those of deleted documents do not count."""
        return self.scorer.statistics.size

    @property
    def mean_length(self) -> float:
        """Terms of a passage, on average."""
        return self.scorer.statistics.mean_length

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Score every document for every query by its best passage: (Q, R) float32."""
        return self.scorer.scores([*map(self.analyzer.terms, queries)])

    def top(
        self, queries: Sequence[str], n: int, allowed: BoolArray | None = None
    ) -> list[tuple[IntArray, FloatArray]]:
        """As ``Lexical.top``, by the best passage."""
        return list(self.scorer.top([*map(self.analyzer.terms, queries)], n, allowed))

    def score_documents(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """As ``Lexical.score_documents``, by the best passage."""
        return self.scorer.score_documents([*map(self.analyzer.terms, queries)], numbers)

    def moments(self, queries: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """As ``Lexical.moments``, of each document's best passage for each term."""
        return self.scorer.moments([*map(self.analyzer.terms, queries)])

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> FloatArray:
        """Score text i for query i by its best passage: (Q,) float32."""
        rows, terms = self.analyzer.bulk(texts)
        passages, starts = cut(rows)
        if not len(starts):
            return np.zeros(0, np.float32)
        owners = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(passages)))
        asked = [*map(self.analyzer.terms, queries)]
        scores = self.scorer.score_pairs([asked[owner] for owner in owners.tolist()], passages, terms)
        return np.asarray(np.maximum.reduceat(scores, starts))
