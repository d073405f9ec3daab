"""Documents of an index, and queries, as a backend keeps and takes them.

A document's words are written as BM25's saturated counts, without the weight of the term, which the query carries: it
changes with every document that comes or goes. The counts depend on the mean length of documents, which stays as it was
when the collection was filled; ``remote.py`` allows for the difference.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from pretrieve.core.types import FloatArray, IntArray
from pretrieve.index.backends import Row
from pretrieve.index.backends.facts import facts_of
from pretrieve.index.bm25 import BM25, Statistics, saturate
from pretrieve.index.compressed import open_vectors
from pretrieve.index.ids import hashes
from pretrieve.index.parts import Part
from pretrieve.index.postings import Postings

EMPTY = 0  # dimension of documents without terms: a sparse vector cannot be empty
_TERMS = 1 << 22  # terms of documents that are sorted at once
_ODD = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)
_ALL = (1 << 64) - 1


def dimension(term: bytes) -> int:
    """The dimension of a term in a sparse vector; where two share one, a backend's score is too high, never too low."""
    return 1 + int.from_bytes(hashlib.blake2b(term, digest_size=4).digest()) % (2**32 - 3)


def term_weights(terms: Sequence[str], statistics: Statistics) -> dict[int, float]:
    """A query as a sparse vector: the weight of each term that documents have."""
    found: dict[int, float] = {}
    for term, idf in zip(terms, statistics.idf(terms).tolist(), strict=True):
        if idf > 0:
            at = dimension(term.encode("utf-8", "surrogatepass"))
            found[at] = found.get(at, 0.0) + idf
    return found


def keys_of(documents: IntArray, contents: IntArray, mean_length: float) -> IntArray:
    """Keys (n,) int64 of rows: what is not the same document, content and weighting has another.

    Args:
        documents: (n,) hashes of ids, uint64.
        contents: (n, 32) of the part.
        mean_length: that words are weighted by.
    """
    held = np.ascontiguousarray(contents[:, :8]).view("<u8")[:, 0]
    weighting = int.from_bytes(hashlib.blake2b(repr(mean_length).encode(), digest_size=8).digest())
    keys = documents.astype(np.uint64) + held * np.uint64(_ODD[0]) + np.uint64(weighting * _ODD[1] & _ALL)
    return np.asarray(keys.view(np.int64))


def keys_in(part: Part, places: IntArray, mean_length: float) -> IntArray:
    """Keys (n,) of the rows of some documents of a part."""
    documents = hashes((part.ids.names[place] for place in places.tolist()), len(places))
    return keys_of(documents, np.asarray(part.contents[places]), mean_length)


def rows_of(part: Part, places: IntArray, mean_length: float, options: BM25) -> Iterator[Row]:
    """Rows of some documents of a part.

    Args:
        part: the part.
        places: of the documents, ascending.
        mean_length: that words are weighted by.
        options: of BM25.
    """
    assert part.postings is not None
    assert part.documents is not None
    vectors = open_vectors(part.path / "vectors")
    for first, last in _blocks(part.postings.lengths):
        chosen = places[(places >= first) & (places < last)]
        if not len(chosen):
            continue
        weights = _weights(part.postings, first, last, mean_length, options)
        start = 0
        for batch in part.documents.batches(select=chosen):
            here = chosen[start : start + len(batch)]
            keys, dense = keys_in(part, here, mean_length).tolist(), np.asarray(vectors[here])
            names = hashes((document.id for document in batch), len(batch)).view(np.int64).tolist()
            for at, document in enumerate(batch):
                yield Row(
                    key=keys[at],
                    document=names[at],
                    facts=facts_of(document),
                    lexical=weights.of(int(here[at]) - first) or {EMPTY: 1.0},
                    dense=dense[at],
                )
            start += len(batch)


def _blocks(lengths: IntArray) -> Iterator[tuple[int, int]]:
    """Documents ``first`` to ``last``, exclusive, that have few enough terms to be sorted at once."""
    ends = np.cumsum(lengths, dtype=np.int64) + np.arange(1, len(lengths) + 1)
    block = ends // _TERMS
    edges = [0, *(1 + np.flatnonzero(block[1:] != block[:-1])).tolist(), len(lengths)]
    yield from pairwise(edges)


class _Forward:
    """Weights of terms by document."""

    def __init__(self, dimensions: IntArray, weights: FloatArray, starts: IntArray) -> None:
        self._dimensions, self._weights, self._starts = dimensions, weights, starts

    def of(self, document: int) -> dict[int, float]:
        own = slice(int(self._starts[document]), int(self._starts[document + 1]))
        found: dict[int, float] = {}
        for at, weight in zip(self._dimensions[own].tolist(), self._weights[own].tolist(), strict=True):
            found[at] = found.get(at, 0.0) + weight
        return found


def _weights(postings: Postings, first: int, last: int, mean_length: float, options: BM25) -> _Forward:
    """The postings of documents ``first`` to ``last``, exclusive, by document."""
    listed = postings.documents
    at = np.flatnonzero((listed >= first) & (listed < last))
    at = at[np.argsort(listed[at], kind="stable")]
    documents = listed[at]
    terms, which = np.unique(np.searchsorted(postings.starts, at, "right") - 1, return_inverse=True)
    dimensions = np.array([dimension(postings.vocabulary[int(term)]) for term in terms], np.int64)
    worth = saturate(postings.counts[at], postings.lengths[documents], mean_length, options)
    starts = np.searchsorted(documents, np.arange(first, last + 1))
    return _Forward(dimensions[which], worth, starts)
