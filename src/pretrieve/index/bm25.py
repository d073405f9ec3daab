"""BM25: the variant of Lucene, as bm25s computes it (Kamphuis et al., *Which BM25 do you mean?*, ECIR 2020).

    score(q, d) = sum over the terms t of q of  idf(t) * tf / (tf + k1 * (1 - b + b * |d| / mean |d|))
    idf(t) = ln(1 + (N - df + 1/2) / (df + 1/2))

N, df and mean |d| are those of all documents of all parts that are not deleted, whichever part a document is in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pretrieve.core.types import BoolArray, Document, FloatArray, IntArray
from pretrieve.index.postings import Postings

_REMEMBERED = 1 << 16  # terms whose statistics are kept


@dataclass(frozen=True, kw_only=True)
class BM25:
    """Parameters of BM25; the defaults are those that Anserini tuned on MS MARCO passages for MRR@10.

    Of five published settings it is the strongest on average over fourteen collections (``records/lexical``). None is
    best everywhere: contracts want a small k1, short documents a large b (``choose``).

    Attributes:
        k1: how fast repeated occurrences saturate, >= 0.
        b: how much long documents are discounted, 0 to 1.
    """

    k1: float = 0.6
    b: float = 0.62


SHORT = BM25(k1=1.2, b=0.9)
SHORT_TERMS = 128  # median number of terms below which documents are short
_REPEATED = 0.5  # share of repeated titles above which documents count as passages


class Titles:
    """Counts repeated titles while documents are streamed."""

    def __init__(self) -> None:
        self._count, self._seen = 0, set[int]()

    def watch(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, and count their titles."""
        for document in documents:
            if document.title:
                self._count += 1
                self._seen.add(hash(document.title))
            yield document

    @property
    def repeated(self) -> float:
        """Share of titles that an earlier document has too, 0 to 1."""
        return 1 - len(self._seen) / self._count if self._count else 0.0


def choose(lengths: IntArray, titles: Titles) -> BM25:
    """Choose k1 and b for a collection without labels.

    Short documents (code, commands, entries) take ``SHORT``: what makes one of them longer is another subject, not more
    words for the same. Passages of longer documents, which repeat their title, do not: there, the shortest passage
    would win for its title alone. Fitted on fourteen collections, with leave-one-out evaluation.

    Args:
        lengths: (R,) terms of each document.
        titles: of the documents.
    """
    short = len(lengths) > 0 and float(np.median(lengths)) < SHORT_TERMS
    return SHORT if short and titles.repeated < _REPEATED else BM25()


class Statistics:
    """Several parts of postings as one collection, without the documents that are deleted.

    A document's number is the first number of its part and its place in the part; deleted ones keep theirs.

    Args:
        parts: the parts.
        alive: for each part (R of the part,) which documents are not deleted; None where all are alive.
        options: k1 and b.
    """

    def __init__(self, parts: Sequence[Postings], alive: Sequence[BoolArray | None], options: BM25) -> None:
        self.parts, self.options = tuple(parts), options
        self.alive = tuple(None if which is None or which.all() else which for which in alive)
        assert len(self.parts) == len(self.alive)
        self.firsts: list[int] = np.cumsum([0, *map(len, self.parts)]).tolist()
        self._frequencies: dict[str, int] = {}

    @cached_property
    def size(self) -> int:
        """Documents that are alive, N."""
        return self.firsts[-1] - sum(map(len, self._gone))

    @cached_property
    def mean_length(self) -> float:
        """Terms of a document, on average."""
        gone = (int(part.lengths[gone].sum(dtype=np.int64)) for part, gone in zip(self.parts, self._gone, strict=True))
        total = sum(part.total for part in self.parts) - sum(gone)
        return total / self.size if self.size else 0.0

    @cached_property
    def _gone(self) -> tuple[IntArray, ...]:
        """Deleted documents of each part, ascending, int32."""
        none = np.zeros(0, np.int32)
        return tuple(none if which is None else np.flatnonzero(~which).astype(np.int32) for which in self.alive)

    def frequency(self, term: str) -> int:
        """Documents alive that have a term, df."""
        found = self._frequencies.get(term)
        if found is None:
            if len(self._frequencies) >= _REMEMBERED:
                self._frequencies.clear()
            found = self._frequencies[term] = sum(self._frequency(part, term) for part in range(len(self.parts)))
        return found

    def _frequency(self, number: int, term: str) -> int:
        documents, _ = self.parts[number].list(term)
        gone, which = self._gone[number], self.alive[number]
        if which is None or not len(documents):
            return len(documents)
        if len(gone) * 16 < len(documents):
            return len(documents) - int(_contained(documents, gone).sum())
        return int(np.count_nonzero(which[documents]))

    def idf(self, terms: Sequence[str]) -> FloatArray:
        """Weights of terms, float32; 0 for those that no document has."""
        frequencies = np.array([self.frequency(term) for term in terms], np.int64)
        return np.where(frequencies > 0, idf(frequencies, self.size), np.float32(0))

    def saturate(self, counts: IntArray, lengths: IntArray) -> FloatArray:
        """What the counts of a term are worth in documents of some lengths: 0 to 1, float64."""
        return saturate(counts, lengths, self.mean_length, self.options)

    def weights(self, number: int, term: str, idf: np.floating) -> tuple[IntArray, FloatArray]:
        """Documents of a part that have a term, deleted ones included, and what it adds to their scores, float32."""
        part = self.parts[number]
        documents, counts = part.list(term)
        return documents, (idf * self.saturate(counts, part.lengths[documents])).astype(np.float32)


def saturate(counts: IntArray, lengths: IntArray, mean_length: float, options: BM25) -> FloatArray:
    """What counts of a term are worth in documents of some lengths: 0 to 1, float64."""
    k1, b = options.k1, options.b
    return np.asarray(counts / (k1 * ((1 - b) + b * lengths / (mean_length or 1.0)) + counts))


def idf(frequencies: IntArray, size: int) -> FloatArray:
    """Weights of terms by the number of documents that have them."""
    # float32, as in bm25s: equal to the last bit
    return np.asarray(np.log(1 + (size - frequencies + 0.5) / (frequencies + 0.5)), np.float32)


def places(documents: IntArray, asked: IntArray) -> tuple[IntArray, BoolArray]:
    """Where documents that are asked for stand in an ascending list, and which of them do; both int32."""
    at = np.searchsorted(documents, asked)  # of one type: another would be copied whole
    np.minimum(at, max(len(documents) - 1, 0), out=at)
    return at, documents[at] == asked if len(documents) else np.zeros(len(asked), bool)


def _contained(documents: IntArray, asked: IntArray) -> BoolArray:
    return places(documents, asked)[1]
