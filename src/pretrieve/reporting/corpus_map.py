"""The map of a corpus: documents as points whose vectors are projected to two dimensions, with clusters and neighbours.

Vectors are those of a model, or without one of word counts (latent semantic indexing).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import svds

from pretrieve.core.shown import shown
from pretrieve.core.types import FloatArray, IntArray, TextEncoder
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store

MOST_POINTS = 5_000
SECONDS = 60.0  # about what encoding may take
_DIMENSIONS = 48  # of vectors of word counts
_CLUSTERS, _SOURCES = 10, 10
_NEAREST = 6
_CHARACTERS, _TITLE = 400, 90  # of a text and a title that are shown
_ENCODED = 1_000  # characters of a text that a model encodes
_FEWEST = 3  # documents of a map
_TRIED = 8  # texts that are encoded to find how long one takes


@dataclass(frozen=True, kw_only=True)
class CorpusMap:
    """Points, names of clusters and sources, and what has to be said.

    Attributes:
        documents: (P,) place in the store of each point.
        points: lists by name, one value a point.
        clusters: names.
        sources: names.
        notes: what was sampled, and how.
    """

    documents: IntArray
    points: dict[str, list[Any]]
    clusters: list[str]
    sources: list[str]
    notes: list[str]


def corpus_map(
    store: Store, documents: Documents, first: Sequence[int], most: int, encoder: TextEncoder | None, seed: int
) -> CorpusMap:
    """Make the map of a corpus.

    Args:
        store: the documents' tokens.
        documents: the documents.
        first: places in the store of documents that are on the map in any case.
        most: number of points at most.
        encoder: model whose vectors are shown; None: vectors of word counts.
        seed: of clusters.
    """
    notes: list[str] = []
    if encoder is not None:
        most = min(most, _affordable(encoder, store, documents))
    chosen = _chosen(len(store), first, most)
    counts = _counts(store, chosen)
    vectors = _word_vectors(counts, seed) if encoder is None else _encoded(encoder, store, documents, chosen)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-12)
    clusters, names = _clusters(unit, counts, store, seed)
    sources, source_names = _sources(store, documents, chosen)
    places = _projected(unit)
    what = "of word counts (latent semantic indexing; --model gives those of a model)" if encoder is None else (
        f"of {shown(encoder.location)}, from the first {_ENCODED:,} characters of each")  # fmt: skip
    notes.append(
        f"The map has {len(chosen):,} of {len(store):,} documents, evenly spaced, those of the shown pairs first; "
        f"vectors {what}, projected on their two main directions (PCA): near points are alike, far ones may be too."
    )
    notes.append(f"Clusters are those of k-means on the vectors, named by their words. Texts are cut at {_CHARACTERS}.")
    shown_documents = [documents[int(store.origins[place])] for place in chosen]
    points = {
        "x": places[:, 0].round(4).tolist(),
        "y": places[:, 1].round(4).tolist(),
        "title": [_short(one.title or one.text or one.id, _TITLE) for one in shown_documents],
        "text": [_short(one.text, _CHARACTERS) for one in shown_documents],
        "length": np.diff(store.documents)[chosen].tolist(),
        "cluster": clusters,
        "source": sources,
        "near": _near(unit),
    }
    return CorpusMap(documents=chosen, points=points, clusters=names, sources=source_names, notes=notes)


def enough(store: Store) -> bool:
    """Whether a corpus has a map."""
    return len(store) >= _FEWEST


def _short(text: str, most: int) -> str:
    one = shown(" ".join(text[: 4 * most].split()))
    return one if len(one) <= most else f"{one[: most - 1]}…"


def _chosen(count: int, first: Sequence[int], most: int) -> IntArray:
    """Places of the points, ascending."""
    kept = list(dict.fromkeys(int(place) for place in first))[:most]
    rest = np.setdiff1d(np.arange(count), kept)
    room = min(most - len(kept), len(rest))
    spaced = rest[np.linspace(0, len(rest) - 1, room).round().astype(np.int64)] if room > 0 else rest[:0]
    return np.sort(np.concatenate([np.array(kept, np.int64), spaced]))


def _text(store: Store, documents: Documents, place: int) -> str:
    one = documents[int(store.origins[place])]
    return f"{one.title} {one.text}".strip()[:_ENCODED]


def _affordable(encoder: TextEncoder, store: Store, documents: Documents) -> int:
    texts = [_text(store, documents, int(place)) for place in np.linspace(0, len(store) - 1, _TRIED)]
    encoder.encode_documents(texts)  # the first call sets things up
    began = time.perf_counter()
    encoder.encode_documents(texts)
    each = (time.perf_counter() - began) / len(texts)
    return max(int(SECONDS / max(each, 1e-9)), 50)


def _encoded(encoder: TextEncoder, store: Store, documents: Documents, chosen: IntArray) -> FloatArray:
    """Vectors (P, D); of several vectors of a document their mean."""
    found = encoder.encode_documents([_text(store, documents, int(place)) for place in chosen])
    vectors: FloatArray = (found.mean(axis=1) if found.ndim == 3 else found).astype(np.float64)
    return vectors


def _counts(store: Store, chosen: IntArray) -> csr_matrix:
    """Weights (P, V) of tokens: logarithm of the count, times how rare the token is; rows of length 1."""
    tokens, starts, ends = np.asarray(store.tokens), store.starts[chosen], store.ends[chosen]
    rows = np.repeat(np.arange(len(chosen)), ends - starts)
    ids = np.concatenate([tokens[start:stop] for start, stop in zip(starts, ends, strict=True)]).astype(np.int64)
    keep = store.lettered[ids]
    shape = (len(chosen), len(store.lettered))
    counts = csr_matrix((np.ones(int(keep.sum())), (rows[keep], ids[keep])), shape=shape)
    counts.sum_duplicates()
    frequencies = np.bincount(counts.indices, minlength=shape[1])
    rarity = np.log((1 + len(chosen)) / (1 + frequencies))
    counts.data = np.log1p(counts.data) * rarity[counts.indices]
    norms = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
    counts.data /= np.repeat(np.maximum(norms, 1e-12), np.diff(counts.indptr))
    return counts


def _word_vectors(counts: csr_matrix, seed: int) -> FloatArray:
    rank = min(_DIMENSIONS, min(counts.shape) - 1)
    start = np.random.default_rng(seed).normal(size=min(counts.shape))
    left, sizes, _ = svds(counts, k=rank, v0=start)
    vectors: FloatArray = left * sizes
    return vectors


def _projected(vectors: FloatArray) -> FloatArray:
    """Places (P, 2) between 0 and 1 on the two main directions, each with a sign that does not depend on chance."""
    centred = vectors - vectors.mean(axis=0)
    _, directions = np.linalg.eigh(centred.T @ centred)
    places = centred @ directions[:, :-3:-1]
    if places.shape[1] < 2:
        places = np.column_stack([places, np.zeros(len(places))])
    places *= np.where(np.abs(places.max(axis=0)) >= np.abs(places.min(axis=0)), 1.0, -1.0)
    low, high = places.min(axis=0), places.max(axis=0)
    scaled: FloatArray = (places - low) / np.maximum(high - low, 1e-12)
    return scaled


def _near(unit: FloatArray) -> list[list[int]]:
    count = min(_NEAREST, len(unit) - 1)
    found: list[list[int]] = []
    for first in range(0, len(unit), 500):
        scores = unit[first : first + 500] @ unit.T
        scores[np.arange(len(scores)), np.arange(first, first + len(scores))] = -np.inf
        found += np.argsort(-scores, axis=1, kind="stable")[:, :count].tolist()
    return found


def _clusters(unit: FloatArray, counts: csr_matrix, store: Store, seed: int) -> tuple[list[int], list[str]]:
    """The cluster of each point, and a name for each: its words that are heavier there than elsewhere."""
    number = int(np.clip(len(unit) // 8, 1, _CLUSTERS))
    _, labels = kmeans2(unit, number, iter=25, minit="++", seed=seed, missing="warn") if number > 1 else (
        None, np.zeros(len(unit), int))  # fmt: skip
    everywhere = np.asarray(counts.mean(axis=0)).ravel()
    names = []
    for label in range(number):
        inside = counts[np.flatnonzero(labels == label)]
        if not inside.shape[0]:
            names.append("empty")
            continue
        heavier = np.asarray(inside.mean(axis=0)).ravel() - everywhere
        words = [store.decode([int(token)]).strip() for token in np.argsort(-heavier)[:12] if heavier[token] > 0]
        whole = [word for word in dict.fromkeys(words) if len(word) > 2 and word[0].isalnum()]
        names.append(shown(", ".join(whole[:3])) or f"cluster {label + 1}")
    return [int(label) for label in labels], names


def _sources(store: Store, documents: Documents, chosen: IntArray) -> tuple[list[int], list[str]]:
    """The source of each point: its group, or its file; the many small ones are one."""
    groups = len(store.group_names) > 1
    raw = [
        store.group_names[int(store.groups[place])] if groups else _file(documents[int(store.origins[place])].id)
        for place in chosen
    ]
    common = [name for name, _ in Counter(raw).most_common(_SOURCES)]
    if len(set(raw)) > _SOURCES:
        common = [*common[: _SOURCES - 1], "others"]
    known = {name: number for number, name in enumerate(common)}
    return [known.get(name, len(common) - 1) for name in raw], [shown(name) for name in common]


def _file(identity: str) -> str:
    """The file of a document whose id is that of a file and a number in it; all others have one source."""
    file, mark, number = identity.rpartition("#")
    return file if mark and number.isdecimal() else "documents"
