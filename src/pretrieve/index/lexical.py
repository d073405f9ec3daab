"""Lexical search: BM25 over the postings of one part or of several (``bm25.py``, ``postings.py``).

Scores are equal to those of bm25s to the last bit, and those of several parts, some of their documents deleted, to
those of one part without them. The arithmetic is implemented here because importing bm25s takes longer than a whole
search may, and because it builds from lists of Python integers, which take ten times the memory of arrays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.files import Folder
from pretrieve.core.types import BoolArray, FloatArray, IntArray, Rows
from pretrieve.index.analysis import Analyzer, Terms
from pretrieve.index.bm25 import BM25 as BM25
from pretrieve.index.bm25 import SHORT as SHORT
from pretrieve.index.bm25 import SHORT_TERMS as SHORT_TERMS
from pretrieve.index.bm25 import Titles as Titles
from pretrieve.index.bm25 import choose as choose
from pretrieve.index.passages import PassageBuilder, PassagePostings, Passages
from pretrieve.index.postings import MEMORY, Builder, Postings
from pretrieve.index.rankers import completed, kept, remember
from pretrieve.index.scorer import Scorer
from pretrieve.index.terms import SortedTerms
from pretrieve.index.ties import Ties


@dataclass(frozen=True, kw_only=True)
class Lexical:
    """Scores of R documents by term.

    Attributes:
        analyzer: analyzer of documents and queries.
        scorer: BM25 over the postings of all parts.
        passages: the same over passages; None where they are not indexed.
    """

    analyzer: Terms
    scorer: Scorer
    passages: Passages | None = None

    @staticmethod
    def over(
        analyzer: Terms,
        parts: Sequence[Postings],
        options: BM25,
        *,
        alive: Sequence[BoolArray | None] | None = None,
        passages: Sequence[PassagePostings] | None = None,
        ties: Ties = Ties(),  # noqa: B008 - frozen
    ) -> Lexical:
        """Search several parts as one collection.

        Args:
            analyzer: analyzer of documents and queries.
            parts: the parts' postings; documents are numbered through all of them.
            options: k1 and b.
            alive: for each part (R of the part,) which documents are not deleted; None for all.
            passages: of the same parts, where they are indexed.
            ties: what decides between equal scores.
        """
        living = [None] * len(parts) if alive is None else list(alive)
        return Lexical(
            analyzer=analyzer,
            scorer=Scorer(parts, living, options, None, ties),
            passages=None if passages is None else Passages.over(analyzer, passages, options, living, ties),
        )

    @staticmethod
    def build(
        analyzer: Terms,
        texts: Iterable[str],
        options: BM25 | Callable[[IntArray], BM25] = BM25(),  # noqa: B008 - frozen
        *,
        passages: bool = False,
    ) -> Lexical:
        """Index texts in memory.

        Args:
            analyzer: turns text into terms.
            texts: R texts.
            options: parameters of BM25, or what chooses them by the documents' numbers of terms (R,).
            passages: index passages too.
        """
        rows, terms = analyzer.bulk(texts)
        options = options if isinstance(options, BM25) else options(rows.lengths)
        cut = [PassagePostings.of(rows, terms)] if passages else None
        return Lexical.over(analyzer, [Postings.of(rows, terms)], options, passages=cut)

    @staticmethod
    def of(analyzer: Terms, rows: Rows, terms: Sequence[str], options: BM25) -> Lexical:
        """Index texts that are analysed already.

        Args:
            analyzer: their analyzer.
            rows: R rows of term ids.
            terms: terms by id.
            options: parameters of BM25.
        """
        return Lexical.over(analyzer, [Postings.of(rows, terms)], options)

    @staticmethod
    def store(
        folder: Folder,
        prefix: str,
        analyzer: Analyzer,
        texts: Iterable[str],
        *,
        passages: bool = False,
        memory: int = MEMORY,
    ) -> None:
        """Index texts on disk in bounded memory; ``open``, or ``Postings.open`` and ``over``, read it.

        Args:
            folder: the artefact.
            prefix: of the arrays' names.
            analyzer: turns text into terms.
            texts: R texts.
            passages: index passages too.
            memory: bytes that analysing and sorting take, roughly.

        Raises:
            StorageError: writing to disk failed.
        """
        with contextlib.ExitStack() as stack:
            share = memory // 6 if passages else memory // 2
            builders: list[Builder | PassageBuilder] = [stack.enter_context(Builder.into(folder, prefix, share))]
            if passages:
                builders.append(stack.enter_context(PassageBuilder.into(folder, f"{prefix}/passages", 2 * share)))
            for rows, terms in analyzer.blocks(texts, memory // 2):
                for builder in builders:
                    builder.add(rows, terms)

    def with_ties(self, ties: Ties) -> Lexical:
        """The same over other ids.

        Args:
            ties: what decides between equal scores.
        """
        passages = None if self.passages is None else self.passages.parts
        alive = self.scorer.alive
        return Lexical.over(self.analyzer, self.parts, self.options, alive=alive, passages=passages, ties=ties)

    @property
    def parts(self) -> tuple[Postings, ...]:
        """Postings of the parts."""
        return self.scorer.statistics.parts

    @property
    def options(self) -> BM25:
        """k1 and b."""
        return self.scorer.statistics.options

    @property
    def size(self) -> int:
        """Documents that are not deleted."""
        return self.scorer.living

    @property
    def mean_length(self) -> float:
        """Terms of a document that is not deleted, on average."""
        return self.scorer.statistics.mean_length

    @cached_property
    def vocabulary(self) -> SortedTerms:
        """The terms of all parts, those of deleted documents too; with several parts they are merged when asked for."""
        found = [part.vocabulary for part in self.parts]
        return found[0] if len(found) == 1 else SortedTerms.union(found)[0]

    def describe(self) -> str:
        """The setting, as text: ``"BM25: k1 0.6, b 0.62; stop words: english (150); stemmer: english"``."""
        analyzer = self.analyzer
        words = f"; {analyzer.describe()}" if isinstance(analyzer, Analyzer) else ""
        return f"BM25: k1 {self.options.k1:g}, b {self.options.b:g}{words}"

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Score every document for every query.

        Returns:
            (Q, R) float32; 0 where no term is shared, and for deleted documents.
        """
        return self.scorer.scores([*map(self.analyzer.terms, queries)])

    def top(
        self, queries: Sequence[str], n: int, allowed: BoolArray | None = None
    ) -> list[tuple[IntArray, FloatArray]]:
        """Find the n best documents for each query, exactly, without scoring all of them.

        Args:
            queries: Q texts.
            n: how many; fewer come where fewer share a term with the query.
            allowed: (R,) documents that may be found; None for all.

        Returns:
            Numbers (<= n,) of documents that are not deleted, and their scores, by (score descending, id ascending).
        """
        found = list(self.scorer.top([*map(self.analyzer.terms, queries)], n, allowed))
        remember(queries, (id(self), "exact"), found)
        return found

    def score_documents(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """Score some documents for each query, as ``scores`` does.

        Args:
            queries: Q texts.
            numbers: (n,) documents of each, in any order.
        """
        asked = [*map(self.analyzer.terms, queries)]
        return completed(queries, (id(self), "exact"), numbers, lambda some: self.scorer.score_documents(asked, some))

    def moments(self, queries: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation (Q,) of the scores of all documents, as if terms occurred independently of each other."""
        asked = [*map(self.analyzer.terms, queries)]
        found = kept(queries, (id(self), "moments"), lambda: np.stack(self.scorer.moments(asked), axis=1))
        return found[:, 0], found[:, 1]

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> FloatArray:
        """Score text i for query i with the collection's statistics, as if text i were one of its documents.

        Returns:
            (Q,) float32.
        """
        if isinstance(self.analyzer, Analyzer) and len(texts) and len(set(queries)) == 1:
            return self.scorer.score_texts(self.analyzer.terms(queries[0]), partial(self.analyzer.count, texts))
        rows, terms = self.analyzer.bulk(texts)
        known = {query: self.analyzer.terms(query) for query in dict.fromkeys(queries)}
        return self.scorer.score_pairs([known[query] for query in queries], rows, terms)

    def write(self, folder: Folder, prefix: str) -> None:
        """Write what was built in memory as arrays of an artefact.

        Raises:
            StorageError: writing to disk failed.
        """
        (part,) = self.parts
        part.write(folder, prefix)
        if self.passages is not None:
            self.passages.parts[0].write(folder, f"{prefix}/passages")

    def facts(self) -> dict[str, Any]:
        """What ``open`` needs beside the arrays."""
        return {"k1": self.options.k1, "b": self.options.b, "passages": self.passages is not None}

    @staticmethod
    def open(path: Path, analyzer: Terms, facts: Mapping[str, Any]) -> Lexical:
        """Map one part that was written below ``path``.

        Raises:
            CorruptError: the arrays do not fit together.
        """
        options = BM25(k1=facts["k1"], b=facts["b"])
        passages = [PassagePostings.open(path / "passages")] if facts["passages"] else None
        return Lexical.over(analyzer, [Postings.open(path)], options, passages=passages)
