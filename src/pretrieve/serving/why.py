"""Why a document was found: the terms that it shares with the query, and the tokens that are near each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pretrieve.core.types import IntArray
from pretrieve.index.analysis import Analyzer
from pretrieve.index.find import Result
from pretrieve.index.index import Index
from pretrieve.models.bag import Bag

_TOKENS = 256  # of a query or a document that are compared
_TEXT = 2_000  # characters of a document, behind its title and its best sentence, that tokens are taken from
_PAIRS = 8


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term of the query that the document has.

    Attributes:
        term: as it is indexed.
        word: as the query has it.
        score: what it adds to BM25.
        share: of the document's score by BM25, 0 to 1.
    """

    term: str
    word: str
    score: float
    share: float


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A token of the query and the nearest one of the document.

    Attributes:
        query: the token of the query.
        hit: the one of the document.
        similarity: cosine of their vectors.
    """

    query: str
    hit: str
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Why:
    """Why a document was found.

    Attributes:
        terms: what the query and the document share, by score.
        tokens: the pairs that add most to the similarity of a static model; none for another model.
    """

    terms: Sequence[Term]
    tokens: Sequence[Pair]

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def explain(index: Index, result: Result) -> list[Why]:
    """For each hit, why it was found.

    Args:
        index: the index.
        result: what was found in it.
    """
    terms = shared_terms(index, result.query.text, np.array(result.numbers, np.int64))
    encoder = None if result.asked.mode == "lexical" or index.dense is None else index.dense.encoder
    if not isinstance(encoder, Bag):
        return [Why(terms=found, tokens=()) for found in terms]
    texts = [f"{hit.title} {hit.sentence} {hit.text[:_TEXT]}" for hit in result.hits]
    pairs = nearest_tokens(encoder, result.query.text, texts)
    return [Why(terms=found, tokens=near) for found, near in zip(terms, pairs, strict=True)]


def shared_terms(index: Index, query: str, numbers: IntArray) -> list[list[Term]]:
    """For each document, the terms of a query that it has.

    Args:
        index: the index.
        query: text.
        numbers: (n,) documents.
    """
    analyzer, scorer = index.lexical.analyzer, index.lexical.scorer
    assert isinstance(analyzer, Analyzer)
    terms = analyzer.terms(query)
    different = list(dict.fromkeys(terms))
    alone = [[term] * terms.count(term) for term in different]  # a repeated term counts as often
    added = scorer.score_documents(alone, [numbers] * len(alone))
    words = {term: _word(analyzer, query, term) for term in different}
    found = []
    for place in range(len(numbers)):
        scores = {term: float(row[place]) for term, row in zip(different, added, strict=True) if row[place] > 0}
        total = sum(scores.values())
        ordered = sorted(scores, key=lambda term: (-scores[term], term))
        found.append([Term(term=term, word=words[term], score=scores[term], share=scores[term] / total)
                      for term in ordered])  # fmt: skip
    return found


def _word(analyzer: Analyzer, query: str, term: str) -> str:
    """A term as the query has it first."""
    spans = analyzer.spans(query, frozenset({term}))
    return query[slice(*spans[0])] if spans else term


def nearest_tokens(encoder: Bag, query: str, texts: Sequence[str]) -> list[list[Pair]]:
    """For each text, the nearest token of each of the query's, those first that add most to the score.

    Args:
        encoder: a static model.
        query: text.
        texts: of documents.
    """
    names, vectors = encoder.tokens(query, _TOKENS)
    lengths = np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    found: list[list[Pair]] = []
    for text in texts:
        others, rows = encoder.tokens(text, _TOKENS)
        if not names or not others:
            found.append([])
            continue
        products = vectors @ rows.T
        cosines = products / lengths[:, None] / np.maximum(np.linalg.norm(rows, axis=1), 1e-12)
        nearest = cosines.argmax(axis=1)
        own = np.arange(len(names))
        order = np.argsort(-products[own, nearest], kind="stable")[:_PAIRS].tolist()
        found.append([Pair(query=names[at], hit=others[nearest[at]], similarity=float(cosines[at, nearest[at]]))
                      for at in order if cosines[at, nearest[at]] > 0])  # fmt: skip
    return found
