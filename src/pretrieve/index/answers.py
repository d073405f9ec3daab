"""Hits of what was ranked: the documents, their best sentences, and how relevant they are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Protocol

from pretrieve.core.types import Document
from pretrieve.index.dense import Dense
from pretrieve.index.hits import Hits, describe
from pretrieve.index.lexical import Lexical
from pretrieve.index.rankers import Best, Queries, Ranker
from pretrieve.index.relevance import relevance

_QUERIES = 1024  # queries that are encoded at once


class Numbered(Protocol):
    """Documents by number, deleted ones included."""

    def __getitem__(self, index: int, /) -> Document: ...


def answers(
    queries: Sequence[str],
    ranked: Iterable[Best],
    rankers: Sequence[tuple[Ranker, float]],
    numbered: Numbered,
    lexical: Lexical,
    dense: Dense | None,
) -> list[Hits]:
    """Describe the documents that were found for each of Q queries.

    Args:
        queries: Q texts.
        ranked: for each documents' numbers, best first, and their scores.
        rankers: what they were ranked by, with the weight of each.
        numbered: the documents.
        lexical: BM25 of them.
        dense: their vectors, if they were ranked by them.
    """
    made, given = [], iter(ranked)
    for some in (queries if isinstance(queries, Queries) else Queries(queries)).blocks(_QUERIES):
        best = [(numbers.tolist(), scores.tolist()) for numbers, scores in islice(given, len(some))]
        values = relevance(lexical, rankers, some, [scores for _, scores in best])
        for query, (numbers, scores), close in zip(some, best, values, strict=True):
            found = [numbered[number] for number in numbers]
            made.append(Hits(describe(query, found, scores, lexical, dense, close)))
    return made
