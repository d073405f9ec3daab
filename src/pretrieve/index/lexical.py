"""BM25: the variant of Lucene, as bm25s computes it (Kamphuis et al., *Which BM25 do you mean?*, ECIR 2020).

    score(q, d) = sum over the terms t of q of  idf(t) * tf / (tf + k1 * (1 - b + b * |d| / mean |d|))
    idf(t) = ln(1 + (N - df + 1/2) / (df + 1/2))

Scores are computed when the index is built and stored by term, in the arrays of bm25s (data, indices, indptr); a query
adds up a few of them. The arithmetic is implemented here, and tested to be equal to bm25s to the last bit, because
importing bm25s takes longer than a whole search may, and because it builds from lists of Python integers, which
take ten times the memory of these arrays.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.arrays import load_array
from pretrieve.core.errors import CorruptError
from pretrieve.core.files import Folder
from pretrieve.core.types import Document, FloatArray, IntArray, Rows
from pretrieve.index.analysis import Analyzer, Terms
from pretrieve.index.passages import cut
from pretrieve.index.terms import SortedTerms


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


@dataclass(frozen=True, kw_only=True)
class Lexical:
    """Scores of R documents by term.

    Attributes:
        analyzer: analyzer of documents and queries.
        vocabulary: the terms, T.
        starts: (T+1,) where each term's postings begin.
        documents: (postings,) document of each posting, int32, ascending within a term.
        weights: (postings,) its score, float32.
        size: R.
        mean_length: terms of a document, on average.
        options: k1 and b.
        passages: the same over passages; None where they are not indexed.
    """

    analyzer: Terms
    vocabulary: SortedTerms
    starts: IntArray
    documents: IntArray
    weights: FloatArray
    size: int
    mean_length: float
    options: BM25
    passages: Passages | None = None

    @staticmethod
    def build(
        analyzer: Terms,
        texts: Iterable[str],
        options: BM25 | Callable[[IntArray], BM25] = BM25(),
        *,
        passages: bool = False,
    ) -> Lexical:
        """Index texts.

        Args:
            analyzer: turns text into terms.
            texts: R texts.
            options: parameters of BM25, or what chooses them by the documents' numbers of terms (R,).
            passages: index passages too.
        """
        rows, terms = analyzer.bulk(texts)
        options = options if isinstance(options, BM25) else options(rows.lengths)
        whole = Lexical.of(analyzer, rows, terms, options)
        return replace(whole, passages=Passages.of(analyzer, rows, terms, options)) if passages else whole

    @staticmethod
    def of(analyzer: Terms, rows: Rows, terms: Sequence[str], options: BM25) -> Lexical:
        """Index texts that are analysed already.

        Args:
            analyzer: their analyzer.
            rows: R rows of term ids.
            terms: terms by id.
            options: parameters of BM25.
        """
        vocabulary, rank = SortedTerms.of(terms)
        term, document, count = _count(rows, rank)
        mean_length = float(rows.lengths.mean()) if len(rows) else 0.0
        starts = np.concatenate([[0], np.cumsum(np.bincount(term, minlength=len(terms)))]).astype(np.int64)
        saturated = _saturate(count, rows.lengths[document], mean_length, options)
        weights = (_idf(np.diff(starts), len(rows))[term] * saturated).astype(np.float32)
        return Lexical(
            analyzer=analyzer,
            vocabulary=vocabulary,
            starts=starts,
            documents=document,
            weights=weights,
            size=len(rows),
            mean_length=mean_length,
            options=options,
        )

    def describe(self) -> str:
        """The setting, as text: ``"BM25: k1 0.6, b 0.62; stop words: english (150); stemmer: english"``."""
        analyzer = self.analyzer
        words = f"; {analyzer.describe()}" if isinstance(analyzer, Analyzer) else ""
        return f"BM25: k1 {self.options.k1:g}, b {self.options.b:g}{words}"

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Score every document for every query.

        Returns:
            (Q, R) float32; 0 where no term is shared.
        """
        scores = np.zeros((len(queries), self.size), np.float32)
        for row, query in zip(scores, queries, strict=True):
            for number in self.vocabulary.numbers(self.analyzer.terms(query)):
                start, stop = self.starts[number], self.starts[number + 1]
                np.add.at(row, self.documents[start:stop], self.weights[start:stop])  # faster than += here
        return scores

    def documents_with(self, term: str) -> IntArray:
        """Numbers of the documents that have a term, ascending."""
        numbers = self.vocabulary.numbers([term])
        if not numbers:
            return np.zeros(0, np.int32)
        return np.asarray(self.documents[self.starts[numbers[0]] : self.starts[numbers[0] + 1]])

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> FloatArray:
        """Score text i for query i with the collection's statistics, as if text i were one of its documents.

        Returns:
            (Q,) float32.
        """
        rows, terms = self.analyzer.bulk(texts)
        keys = {query: self.analyzer.terms(query) for query in dict.fromkeys(queries)}
        asked = {term: self.vocabulary.numbers([term]) for term in itertools.chain.from_iterable(keys.values())}
        known = {term: found[0] for term, found in asked.items() if found}  # other terms count for the length alone
        numbers = np.array([known.get(term, -1) for term in terms], np.int64)[rows.tokens]
        scores = np.zeros(len(texts), np.float32)
        for index, query in enumerate(queries):
            key = np.array([known[term] for term in keys[query] if term in known], np.int64)
            own = numbers[rows.offsets[index] : rows.offsets[index + 1]]
            counts = (own[None, :] == key[:, None]).sum(1)
            saturated = _saturate(counts, rows.lengths[index], self.mean_length, self.options)
            scores[index] = (_idf(self.starts[key + 1] - self.starts[key], self.size) * saturated).sum()
        return scores

    def write(self, folder: Folder, prefix: str) -> None:
        """Write as arrays of an artefact.

        Raises:
            StorageError: writing to disk failed.
        """
        self.vocabulary.write(folder, prefix)
        folder.array(f"{prefix}/starts", self.starts)
        folder.array(f"{prefix}/documents", self.documents)
        folder.array(f"{prefix}/weights", self.weights)
        if self.passages is not None:
            self.passages.write(folder, f"{prefix}/passages")

    def facts(self) -> dict[str, Any]:
        """What ``open`` needs beside the arrays."""
        facts = {"size": self.size, "mean_length": self.mean_length, "k1": self.options.k1, "b": self.options.b}
        return facts if self.passages is None else facts | {"passages": self.passages.lexical.facts()}

    @staticmethod
    def open(path: Path, analyzer: Terms, facts: Mapping[str, Any]) -> Lexical:
        """Map what was written below ``path``.

        Raises:
            CorruptError: the arrays do not fit together.
        """
        vocabulary = SortedTerms.open(path)
        starts = np.asarray(load_array(path / "starts"))
        documents = np.asarray(load_array(path / "documents"))
        weights = np.asarray(load_array(path / "weights"))
        if len(starts) != len(vocabulary) + 1 or not (int(starts[-1]) == len(documents) == len(weights)):
            raise CorruptError(f"{path}: the arrays of BM25 do not fit together: make the index again.")
        return Lexical(
            analyzer=analyzer,
            vocabulary=vocabulary,
            starts=starts,
            documents=documents,
            weights=weights,
            size=int(facts["size"]),
            mean_length=facts["mean_length"],
            options=BM25(k1=facts["k1"], b=facts["b"]),
            passages=Passages.open(path / "passages", analyzer, facts["passages"]) if "passages" in facts else None,
        )


@dataclass(frozen=True, kw_only=True)
class Passages:
    """Scores of R documents by their best passage: a third ranker beside BM25 of the document and the vectors.

    In a long document the words of a question stand anywhere by chance; in a passage they stand together.

    Attributes:
        lexical: BM25 over the P passages of all documents.
        starts: (R,) first passage of each document.
    """

    lexical: Lexical
    starts: IntArray

    @staticmethod
    def of(analyzer: Terms, rows: Rows, terms: Sequence[str], options: BM25) -> Passages:
        """Cut documents into passages, and index them.

        Args:
            analyzer: analyzer of queries.
            rows: R rows of term ids.
            terms: terms by id.
            options: parameters of BM25.
        """
        passages, starts = cut(rows)
        return Passages(lexical=Lexical.of(analyzer, passages, terms, options), starts=starts)

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Score every document for every query by its best passage: (Q, R) float32."""
        return np.asarray(np.maximum.reduceat(self.lexical.scores(queries), self.starts, axis=1))

    def write(self, folder: Folder, prefix: str) -> None:
        """Write as arrays of an artefact.

        Raises:
            StorageError: writing to disk failed.
        """
        self.lexical.write(folder, prefix)
        folder.array(f"{prefix}/first", self.starts)

    @staticmethod
    def open(path: Path, analyzer: Terms, facts: Mapping[str, Any]) -> Passages:
        """Map what was written below ``path``.

        Raises:
            CorruptError: the arrays do not fit together.
        """
        lexical = Lexical.open(path, analyzer, facts)
        starts = np.asarray(load_array(path / "first"))
        if len(starts) and int(starts[-1]) >= lexical.size:
            raise CorruptError(f"{path}: the arrays of its passages do not fit together: make the index again.")
        return Passages(lexical=lexical, starts=starts)


def _count(rows: Rows, rank: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Term, document and number of occurrences of every posting, by term and then by document."""
    size = max(len(rows), 1)
    keys = rank[rows.tokens].astype(np.int64) * size + np.repeat(np.arange(len(rows)), rows.lengths)
    keys.sort()
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    counts = np.diff(np.append(first, len(keys)))
    term, document = np.divmod(keys[first], size)
    return term.astype(np.int32), document.astype(np.int32), counts


def _saturate(counts: IntArray, lengths: IntArray, mean_length: float, options: BM25) -> FloatArray:
    k1, b = options.k1, options.b
    return np.asarray(counts / (k1 * ((1 - b) + b * lengths / mean_length) + counts))


def _idf(frequencies: IntArray, size: int) -> FloatArray:
    # float32, as in bm25s: equal to the last bit
    return np.asarray(np.log(1 + (size - frequencies + 0.5) / (frequencies + 0.5)), np.float32)
