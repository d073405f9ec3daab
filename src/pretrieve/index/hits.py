"""The display of a hit: its best sentence, with the query's words marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pretrieve.core.types import Document
from pretrieve.index.analysis import Analyzer
from pretrieve.index.dense import Dense
from pretrieve.index.lexical import Lexical
from pretrieve.text.sentences import sentence_starts

_SENTENCES = 64  # maximum number of sentences of a document to compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One document found.

    Attributes:
        rank: 1 for the best.
        score: comparable within one query only.
        id: the document's id.
        title: its title, may be empty.
        sentence: the sentence of its text that answers the query best.
        marks: (first, last + 1) characters of the query's words in ``sentence``.
        text: the document's text.
    """

    rank: int
    score: float
    id: str
    title: str
    sentence: str
    marks: list[tuple[int, int]]
    text: str

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(first, last + 1) characters of the sentences of a text, without the white space around them."""
    starts = sentence_starts(text)
    ends = [*starts[1:], len(text)]
    return [(start, start + len(text[start:end].rstrip())) for start, end in zip(starts, ends, strict=True)]


def describe(
    query: str, documents: Sequence[Document], scores: Sequence[float], lexical: Lexical, dense: Dense | None
) -> list[Hit]:
    """Make hits of ranked documents, best first.

    A document's best sentence has the highest BM25 score; where none shares a word with the query, and there are
    vectors, it has the nearest vector.
    """
    analyzer = lexical.analyzer
    assert isinstance(analyzer, Analyzer)
    query_terms = frozenset(analyzer.terms(query))
    hits = []
    for rank, (document, score) in enumerate(zip(documents, scores, strict=True), start=1):
        sentence = _best_sentence(query, document, lexical, dense)
        marks = analyzer.spans(sentence, query_terms)
        hits.append(
            Hit(
                rank=rank,
                score=float(score),
                id=document.id,
                title=document.title,
                sentence=sentence,
                marks=marks,
                text=document.text,
            )
        )
    return hits


def _best_sentence(query: str, document: Document, lexical: Lexical, dense: Dense | None) -> str:
    spans = sentence_spans(document.text)[:_SENTENCES]
    if not spans:
        return document.title
    sentences = [document.text[start:stop] for start, stop in spans]
    scores = lexical.score_pairs([query] * len(sentences), sentences)
    if not scores.any() and dense is not None and len(sentences) > 1:
        scores = dense.score_pairs([query] * len(sentences), sentences)
    return sentences[int(np.argmax(scores))]
