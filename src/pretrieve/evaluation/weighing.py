"""The fusion weight of vectors, cross-validated on labelled queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.evaluation.benchmark import Ranking, evaluate_rankings
from pretrieve.index.fuse import WEIGHTS
from pretrieve.index.index import Index
from pretrieve.index.rankers import Queries
from pretrieve.text.beir import Collection

EVEN = 1.0  # equal weights: the default where queries do not decide
_FOLDS = 5
_QUERIES = 1024  # queries that are encoded at once


def weigh(index: Index, collection: Collection, metric: str, measures: Any, depth: int) -> tuple[FloatArray, float]:
    """Evaluate hybrid search on labelled queries, with the weight for each fifth chosen on the other four.

    Args:
        index: index of the collection's documents, with vectors.
        collection: documents and Q labelled queries.
        metric: name of the metric.
        measures: the metric, from ``parse_metrics``.
        depth: number of hits that it uses.

    Returns:
        Each query's value (Q,) at a weight chosen on other queries, and the weight chosen on all of them.
    """
    hits: list[list[Ranking]] = [[] for _ in WEIGHTS]
    for queries, found in _ranked(index, collection, depth):
        for place, rankings in enumerate(found):
            hits[place] += zip(queries, rankings, strict=True)
    values = np.stack([evaluate_rankings(iter(rankings), collection, measures)[metric] for rankings in hits])
    return cross_fitted(values), WEIGHTS[choose_weight(values)]


def choose_weight(values: FloatArray) -> int:
    """Choose the weight nearest to even whose mean is within a standard error of the best one's.

    Args:
        values: of each weight (``fuse.WEIGHTS``) and query, (weights, Q).

    Returns:
        Its index.
    """
    means = values.mean(axis=1)
    best = int(np.argmax(means))
    errors = (values[best] - values).std(axis=1) / np.sqrt(values.shape[1])
    good = np.flatnonzero(means >= means[best] - errors)
    return int(good[np.argmin(np.abs(np.log2(np.array(WEIGHTS)[good] / EVEN)))])


def cross_fitted(values: FloatArray) -> FloatArray:
    """Take each query's value (Q,) at the weight that the queries of the other folds choose; values: (weights, Q)."""
    folds = np.arange(values.shape[1]) % _FOLDS
    found = np.zeros(values.shape[1])
    for fold in np.unique(folds):
        others = values[:, folds != fold]
        found[folds == fold] = values[choose_weight(others) if others.size else WEIGHTS.index(EVEN)][folds == fold]
    return found


def _ranked(index: Index, collection: Collection, depth: int) -> Iterator[tuple[list[str], list[list[list[str]]]]]:
    """Blocks of queries, and for each weight their hits; candidates are found and scored once."""
    assert index.dense is not None
    ids = [document.id for document in collection.documents]
    names, texts = list(collection.queries), list(collection.queries.values())
    start = 0
    for some in Queries(texts).blocks(_QUERIES):
        for found in index.candidates([index.words, index.dense], some, depth):
            hits = [[[ids[number] for number in numbers.tolist()] for numbers, _ in found.best((1.0, weight), depth)]
                    for weight in WEIGHTS]  # fmt: skip
            yield names[start : start + len(found.queries)], hits
            start += len(found.queries)
