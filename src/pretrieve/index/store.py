"""An index and its collection: filling it, bringing it up to date, and opening it for search.

A document's words are written as BM25's saturated counts, without the weight of the term, which the query carries: it
changes with every document that comes or goes. The counts depend on the mean length of documents, which is kept as it
was when the collection was filled; ``remote.py`` allows for the difference, and all is written anew where it is large.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core.errors import StorageError, UsageError
from pretrieve.core.types import Document, IntArray
from pretrieve.index.analysis import Analyzer
from pretrieve.index.backends import Address, Row
from pretrieve.index.backends.milvus import Milvus
from pretrieve.index.backends.remote import EMPTY, MANY, Remote, dimension, fact, number_fact, term_weights
from pretrieve.index.bm25 import saturate
from pretrieve.index.columns import own_fields
from pretrieve.index.compressed import open_vectors
from pretrieve.index.dense import Dense
from pretrieve.index.field_values import folded
from pretrieve.index.ids import Members
from pretrieve.index.lexical import Lexical
from pretrieve.index.opening import Opened, open_parts
from pretrieve.index.postings import Postings
from pretrieve.index.pseudo import full_text
from pretrieve.index.rankers import Ranker
from pretrieve.index.writing import writing
from pretrieve.text.language import detect

_BATCH = 256  # documents that are written together: the server takes 64 MiB at most
_FACTS = 4_000  # values of a document's fields that are kept
_DRIFT = 1.05  # change of the mean length from which all is written anew
_LARGEST = 1 << 53


def state_of(opened: Opened) -> str:
    """What tells one version of an index from another."""
    return hashlib.blake2b(opened.state, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Store:
    """The collection of an opened index; reached when it is first asked.

    Attributes:
        path: the index.
        address: of the collection.
        state: of the index, when it was opened.
        mean_length: of its documents.
    """

    path: Path
    address: Address
    state: str
    mean_length: float

    @staticmethod
    def of(path: Path, opened: Opened) -> Store | None:
        """That of an index; None where it has none."""
        address = Address.of(opened.meta, path)
        if address is None:
            return None
        return Store(path, address, state_of(opened), opened.lexical.mean_length)

    @cached_property
    def backend(self) -> Milvus:
        """The collection, checked.

        Raises:
            MissingExtraError: pymilvus is not installed.
            StorageError: it cannot be reached, is missing, or is of another version of the index.
            UsageError: it is another's.
        """
        found = Milvus.connect(self.address)
        found.check()
        if found.facts().get("state") != self.state:
            raise StorageError(
                f"{self.address.describe()} holds another version of {self.path}: if no `pretrieve index` is changing "
                f"it now, bring it up to date: pretrieve index DOCUMENTS -o {self.path} --update"
            )
        return found

    @cached_property
    def factor(self) -> float:
        """By how much a score of words may exceed that of the collection."""
        return max(1.0, self.mean_length / (float(self.backend.facts()["mean_length"]) or 1.0))

    def words(self, local: Ranker, lexical: Lexical, members: Members) -> Remote:
        """BM25 whose best documents come from the collection.

        Args:
            local: the same over the folder.
            lexical: the analyzer and the statistics.
            members: the documents.
        """
        statistics, terms = lexical.scorer.statistics, lexical.analyzer.terms
        return Remote(
            field="lexical",
            local=local,
            members=members,
            backend=lambda: self.backend,
            vectors=lambda queries: [term_weights(terms(query), statistics) for query in queries],
            factor=lambda: self.factor,
        )

    def vectors(self, dense: Dense, members: Members) -> Remote:
        """Vectors whose best documents come from the collection."""
        return Remote(field="dense", local=dense, members=members, backend=lambda: self.backend, vectors=dense.queries)


def check_store(address: Address, *, replace: bool) -> None:
    """Refuse a collection that a new index cannot have, before it is built.

    Args:
        address: of the collection.
        replace: whether one that is there may be replaced.

    Raises:
        PretrieveError: as ``Milvus.connect`` and ``Milvus.create``.
    """
    backend = Milvus.connect(address)
    try:
        if backend.exists():
            backend.check()
            if not replace:
                raise UsageError(f"{address.describe()} exists: give another name, or --overwrite.")
    finally:
        backend.close()


def fill(path: Path) -> None:
    """Fill the collection of an index that was built just now.

    Raises:
        PretrieveError: as ``refill``.
    """
    with writing(path):
        refill(path, new=True)


def refill(path: Path, *, new: bool = False) -> None:
    """Bring the collection of an index up to date, if it has one; the caller holds the lock.

    Args:
        path: the index.
        new: the index was built just now: what is in the collection is of another.

    Raises:
        PretrieveError: as ``Milvus.connect``; the index itself is whole.
    """
    opened = open_parts(path, with_model=False)
    address = Address.of(opened.meta, path)
    if address is None:
        return
    backend = Milvus.connect(address)
    try:
        _refill(opened, backend, new=new)
    finally:
        backend.close()


def _refill(opened: Opened, backend: Milvus, *, new: bool) -> None:
    lexical = opened.lexical
    facts = {"k1": repr(lexical.options.k1), "b": repr(lexical.options.b), "model": opened.meta["model"]["fingerprint"]}
    there = backend.exists()
    if there:
        backend.check()
    known = backend.facts() if there else {}
    mean = float(known.get("mean_length", 0.0))
    fits = mean > 0 and max(lexical.mean_length / mean, mean / (lexical.mean_length or mean)) <= _DRIFT
    if new or not fits or any(known.get(name) != text for name, text in facts.items()):
        backend.create(_vectors(opened)[0].shape[-1], replace=True)
        mean = lexical.mean_length or 1.0
    backend.keep_facts({**facts, "mean_length": repr(mean), "state": "changing"})
    keys, contents = _wanted(opened)
    stored, held = backend.contents()
    backend.delete(stored[~np.isin(stored, keys)])
    order = np.argsort(stored)
    places = np.searchsorted(stored[order], keys)
    same = np.zeros(len(keys), bool)
    if len(stored):
        at = order[np.minimum(places, len(stored) - 1)]
        same = (stored[at] == keys) & (held[at] == contents)
    missing = np.flatnonzero(~same)
    for start in range(0, len(missing), _BATCH):
        chosen = missing[start : start + _BATCH]
        backend.write(list(_rows(opened, opened.members.numbers[chosen], keys[chosen], contents[chosen], mean)))
    backend.keep_facts({"state": state_of(opened)})


def _vectors(opened: Opened) -> list[Any]:
    found = [open_vectors(part.path / "vectors") for part in opened.parts if part.documents is not None]
    if found[0].ndim != 2:
        raise UsageError("a model with several vectors a document cannot be kept in Milvus: leave --store out.")
    return found


def _wanted(opened: Opened) -> tuple[IntArray, IntArray]:
    """Key and content of each document that is there, in order of their numbers."""
    keys, contents = [], []
    for part in opened.parts:
        if part.documents is not None:
            hashed, order = part.ids.hashed
            own = np.empty(len(part), np.int64)
            own[order] = np.ascontiguousarray(hashed).view(np.int64)
            keys.append(own)
            contents.append(np.ascontiguousarray(np.asarray(part.contents[:])[:, :8]).view(np.int64)[:, 0])
    numbers = opened.members.numbers
    return np.concatenate(keys)[numbers], np.concatenate(contents)[numbers]


def _rows(opened: Opened, numbers: IntArray, keys: IntArray, contents: IntArray, mean: float) -> Iterator[Row]:
    analyzer = opened.lexical.analyzer
    assert isinstance(analyzer, Analyzer)
    documents = [opened.collection[number] for number in numbers.tolist()]
    postings = Postings.of(*replace(analyzer, detect=detect).bulk(map(full_text, documents)))
    weights: list[dict[int, float]] = [{} for _ in documents]
    for place, term in enumerate(postings.vocabulary):
        own = slice(int(postings.starts[place]), int(postings.starts[place + 1]))
        found, number = postings.documents[own], dimension(term.decode("utf-8", "surrogatepass"))
        worth = saturate(postings.counts[own], postings.lengths[found], mean, opened.lexical.options)
        for document, value in zip(found.tolist(), worth.tolist(), strict=True):
            weights[document][number] = weights[document].get(number, 0.0) + value
    starts, parts = opened.members.starts, _vectors(opened)
    for at, (document, number) in enumerate(zip(documents, numbers.tolist(), strict=True)):
        part = int(np.searchsorted(starts, number, "right")) - 1
        vector = np.asarray(parts[part][np.array([number - int(starts[part])])])[0]
        yield Row(
            key=int(keys[at]),
            content=int(contents[at]),
            facts=_facts(document),
            lexical=weights[at] or {EMPTY: 1.0},
            dense=vector,
        )


def _facts(document: Document) -> list[int]:
    """The values of a document's fields as hashes, as ``remote.narrowed`` looks for them."""
    found: dict[int, None] = {}
    own = {name: value for name, value in own_fields(document) if name not in document.fields}
    for name, value in [*document.fields.items(), *own.items()]:
        for one in [value] if isinstance(value, str | int | float) else value:
            text = folded(one if isinstance(one, str) else orjson.dumps(one).decode())
            found[fact(name, text)] = None
            if isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < _LARGEST:
                found[fact(name, number_fact(one))] = None
        if len(found) > _FACTS:
            return [MANY]
    return list(found)
