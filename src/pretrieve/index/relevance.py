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
from pretrieve.index.asked import Mode
from pretrieve.index.backends.remote import Remote
from pretrieve.index.bm25 import idf
from pretrieve.index.dense import Dense
from pretrieve.index.index import Index
from pretrieve.index.lexical import Lexical
from pretrieve.index.rankers import Queries, Ranker

NOTHING = 0.2  # relevance of the best hit below which nothing relevant was found


def relevance(index: Index, query: Queries, mode: Mode, scores: Sequence[float]) -> list[float]:
    """The relevance of the hits of a query, (k,) from 0 to 1.

    Args:
        index: the index.
        query: the text that was ranked by, alone in a batch.
        mode: how.
        scores: of the hits.
    """
    rankers = _rankers(index, mode)
    low = high = 0.0
    for ranker, weight in rankers:
        mean, deviation = (float(values[0]) for values in ranker.moments(query))
        own = self_score(index.lexical, ranker, query)
        if len(rankers) == 1:
            low, high = mean, own
        elif deviation > 0:
            high += weight * (own - mean) / deviation
    if high <= low:
        return [0.0] * len(scores)
    found: FloatArray = np.clip((np.asarray(scores) - low) / (high - low), 0.0, 1.0)
    return [round(float(value), 3) for value in found]


def _rankers(index: Index, mode: Mode) -> Sequence[tuple[Ranker, float]]:
    """What a mode ranks by."""
    if mode == "dense" and index.dense is not None:
        return [(index.dense, 1.0)]
    found = index.rankers()
    return found[:1] if mode == "lexical" else found


def self_score(lexical: Lexical, ranker: Ranker, query: Queries) -> float:
    """The score by a ranker of a document that is the query; for BM25, unknown words count as if one document had them.

    Args:
        lexical: BM25 of the documents.
        ranker: vectors, BM25, or BM25 of passages.
        query: the query, alone in a batch.
    """
    ranker = ranker.local if isinstance(ranker, Remote) else ranker
    if isinstance(ranker, Dense):
        return float(ranker.score_itself(query)[0])
    terms = lexical.analyzer.terms(query[0])
    statistics = lexical.scorer.statistics
    known = float(lexical.score_pairs(query, query)[0])
    unknown = sum(statistics.frequency(term) == 0 for term in dict.fromkeys(terms))
    rarest = idf(np.zeros(1, np.int64), lexical.size)
    worth = statistics.saturate(np.ones(1, np.int64), np.array([len(terms)]))
    return known + unknown * float(rarest[0] * worth[0])
