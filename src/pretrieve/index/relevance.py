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

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.index.backends.remote import Remote
from pretrieve.index.bm25 import idf
from pretrieve.index.dense import Dense
from pretrieve.index.lexical import Lexical
from pretrieve.index.rankers import Queries, Ranker, kept

NOTHING = 0.2  # relevance of the best hit below which nothing relevant was found


def relevance(
    lexical: Lexical, rankers: Sequence[tuple[Ranker, float]], queries: Queries, scores: Sequence[Sequence[float]]
) -> list[list[float | None]]:
    """The relevance of the hits of Q queries, from 0 to 1; None where one document is all there is.

    Args:
        lexical: BM25 of the documents.
        rankers: what they were ranked by, with the weight of each.
        queries: the texts that were ranked by.
        scores: of the hits of each query.
    """
    if lexical.size == 1:
        return [[None] * len(found) for found in scores]
    low: FloatArray = np.zeros(len(queries))
    high: FloatArray = np.zeros(len(queries))
    for ranker, weight in rankers:
        means, deviations = ranker.moments(queries)
        own = self_scores(lexical, ranker, queries)
        if len(rankers) == 1:
            low, high = means, own
        else:
            high += np.where(deviations > 0, weight * (own - means) / np.where(deviations > 0, deviations, 1), 0)
    return [_between(low, high, found) for low, high, found in zip(low.tolist(), high.tolist(), scores, strict=True)]


def _between(low: float, high: float, scores: Sequence[float]) -> list[float | None]:
    if high <= low:
        return [0.0] * len(scores)
    found: FloatArray = np.clip((np.asarray(scores) - low) / (high - low), 0.0, 1.0)
    return [round(float(value), 3) for value in found]


def self_scores(lexical: Lexical, ranker: Ranker, queries: Queries) -> FloatArray:
    """The scores by a ranker of documents that are the queries: (Q,); unknown words count as if one document had them.

    Args:
        lexical: BM25 of the documents.
        ranker: vectors, BM25, or BM25 of passages.
        queries: Q texts.
    """
    if isinstance(ranker, Remote):
        ranker = ranker.local
    if isinstance(ranker, Dense):
        return ranker.score_itself(queries).astype(np.float64)
    return kept(queries, (id(lexical), "itself"), lambda: _by_words(lexical, queries))


def _by_words(lexical: Lexical, queries: Queries) -> FloatArray:
    """Scores by BM25 of documents that are the queries: (Q,)."""
    known = lexical.score_pairs(queries, queries)
    statistics = lexical.scorer.statistics
    rarest = idf(np.zeros(1, np.int64), lexical.size)
    found = known.astype(np.float64)
    for place, query in enumerate(queries):
        terms = lexical.analyzer.terms(query)
        unknown = sum(statistics.frequency(term) == 0 for term in dict.fromkeys(terms))
        worth = statistics.saturate(np.ones(1, np.int64), np.array([len(terms)]))
        found[place] += unknown * float(rarest[0] * worth[0])
    return found
