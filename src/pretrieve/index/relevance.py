"""How relevant a hit is, from 0 to 1: where its score stands between a document taken at random and the query itself.

``0`` is the mean score of all documents, ``1`` the score of a document that says what the query says and nothing else;
both are of this query and this collection, and the same for all its hits, so that the order of hits is that of their
scores. Words of the query that no document has count for BM25 as the rarest ones would: a query whose words are mostly
unknown has no relevant hit, however rare the word is that was found.

It is no probability. Below ``NOTHING``, chosen on questions with and without an answer (``docs/log.md``), a hit is more
often one of a question that the collection does not answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.index.asked import Mode
from pretrieve.index.dense import Dense
from pretrieve.index.lexical import Lexical
from pretrieve.index.rankers import Ranker

NOTHING = 0.35  # relevance of the best hit below which nothing relevant was found


class Ranked(Protocol):
    """An index, as relevance needs it."""

    @property
    def lexical(self) -> Lexical:
        """BM25."""
        ...

    @property
    def dense(self) -> Dense | None:
        """The vectors."""
        ...

    def fused(self, mode: Mode) -> Sequence[tuple[Ranker, Lexical | Dense, float]]:
        """What is ranked by in a mode, with the weights."""
        ...


def relevance(index: Ranked, query: str, mode: Mode, scores: Sequence[float]) -> list[float]:
    """The relevance of the hits of a query, (k,) from 0 to 1.

    Args:
        index: the index.
        query: the text that was ranked by.
        mode: how.
        scores: of the hits.
    """
    rankers = index.fused(mode)
    low = high = 0.0
    for ranker, scorer, weight in rankers:
        mean, deviation = (float(values[0]) for values in ranker.moments([query]))
        own = self_score(scorer, query) if isinstance(scorer, Lexical) else float(scorer.score_pairs([query], [query])[0])
        if len(rankers) == 1:
            low, high = mean, own
        elif deviation > 0:
            high += weight * (own - mean) / deviation
    if high <= low:
        return [0.0] * len(scores)
    found: FloatArray = np.clip((np.asarray(scores) - low) / (high - low), 0.0, 1.0)
    return [round(float(value), 3) for value in found]


def self_score(lexical: Lexical, query: str) -> float:
    """The BM25 score of a document that is the query; words that no document has count as if one had them."""
    terms = lexical.analyzer.terms(query)
    known = float(lexical.score_pairs([query], [query])[0])
    unknown = sum(not len(lexical.documents_with(term)) for term in dict.fromkeys(terms))
    k1, b, mean = lexical.options.k1, lexical.options.b, max(lexical.mean_length, 1e-9)
    saturated = 1 / (k1 * ((1 - b) + b * len(terms) / mean) + 1)
    return known + unknown * float(np.log(1 + (lexical.size + 0.5) / 0.5)) * saturated
