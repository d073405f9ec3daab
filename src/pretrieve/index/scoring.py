"""Scores of vectors for vectors: a document of several vectors has the score of the best."""

from __future__ import annotations

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray, Similarity
from pretrieve.index.compressed import Compressed, Vectors, blocks
from pretrieve.index.rankers import ROUGH

_GATHERED = 1 << 13  # documents whose vectors are gathered at once


def ready(vectors: FloatArray, similarity: Similarity) -> FloatArray:
    """Vectors as float32, of length one where compared by cosine."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if similarity == "cosine":
        vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return vectors


def best_scores(queries: FloatArray, documents: FloatArray) -> FloatArray:
    """Score every document for every query by its best vector, exactly.

    Args:
        queries: (Q, D).
        documents: (R, D), or (R, V, D).

    Returns:
        (Q, R).
    """
    if documents.ndim == 2:
        return _products(queries, documents)
    count, views, size = documents.shape
    return np.asarray(_products(queries, documents.reshape(-1, size)).reshape(-1, count, views).max(axis=2))


def _products(queries: FloatArray, documents: FloatArray) -> FloatArray:
    """(Q, R); for one query by ``einsum``, which takes half the time of the product of a matrix and a vector."""
    if len(queries) == 1:
        return np.asarray(np.einsum("rd,d->r", documents, queries[0])[None])
    return np.asarray(queries @ documents.T)


def all_scores(queries: FloatArray, documents: Vectors) -> FloatArray:
    """Score every document of a part for every query, (Q, R); what is stored smaller is read in blocks."""
    if not isinstance(documents, Compressed):
        return best_scores(queries, documents[:])
    scores = np.empty((len(queries), len(documents)), np.float32)
    for start, some in blocks(documents):
        scores[:, start : start + len(some)] = best_scores(queries, some)
    return scores


def exact_places(queries: FloatArray, documents: Vectors, n: int, may: BoolArray | None) -> list[IntArray]:
    """Places of the n best documents of a part for each query, and of those that may be, by rounding.

    Args:
        queries: (Q, D).
        documents: (R, D) or (R, V, D).
        n: how many.
        may: (R,) documents that are allowed; None: all.
    """
    chosen = None if may is None else np.flatnonzero(may)
    count = len(documents) if chosen is None else len(chosen)
    if n >= count:
        return [np.arange(count) if chosen is None else chosen for _ in queries]
    if chosen is not None and count * 2 < len(documents):
        scores = np.concatenate([best_scores(queries, np.asarray(documents[some]))
                                 for some in np.array_split(chosen, -(-count // _GATHERED))], axis=1)  # fmt: skip
    else:
        scores = all_scores(queries, documents)
        scores = scores if chosen is None else scores[:, chosen]
    found: list[IntArray] = []
    for row in scores:
        least = np.partition(row, count - n)[count - n] - 2 * ROUGH * float(np.abs(row).max())
        places = np.flatnonzero(row >= least)
        found.append(places if chosen is None else chosen[places])
    return found


def pair_scores(queries: FloatArray, documents: FloatArray) -> FloatArray:
    """Score document i, (Q, D) or (Q, V, D), for query i, (Q, D): (Q,)."""
    if documents.ndim == 2:
        return np.asarray(np.einsum("qd,qd->q", queries, documents))
    return np.asarray(np.einsum("qd,qvd->qv", queries, documents).max(axis=1))
