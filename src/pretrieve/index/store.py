"""The collection of an index as searches use it; ``filling.py`` fills it.

The collection says which versions of the index it holds whole. A search looks there after each answer, so that one of
an older version, whose rows are being deleted, is not answered from what is left: the folder answers it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.errors import LockedError, PretrieveWarning, UsageError
from pretrieve.core.types import Array, IntArray
from pretrieve.index.backends import Address, Found
from pretrieve.index.backends.milvus import Milvus
from pretrieve.index.backends.remote import Remote
from pretrieve.index.backends.rows import keys_of, term_weights
from pretrieve.index.dense import Dense
from pretrieve.index.ids import Members
from pretrieve.index.lexical import Lexical
from pretrieve.index.opening import Opened
from pretrieve.index.rankers import Ranker

STORE = "store"  # in the MANIFEST of an index


@dataclass(frozen=True, kw_only=True)
class Link:
    """What an index knows of its collection.

    Attributes:
        address: of the collection.
        index: name of the index, which the collection has too.
        replaces: name of the index whose collection this one takes over; None for none.
        version: name of the index's version, which the collection has where it holds it whole; empty: not filled yet.
        mean_length: of documents, that words are weighted by.
    """

    address: Address
    index: str
    replaces: str | None = None
    version: str = ""
    mean_length: float = 0.0

    @staticmethod
    def of(meta: Mapping[str, Any], path: Path) -> Link | None:
        """That of an index, from its MANIFEST; None where it has none."""
        found = meta.get(STORE)
        if found is None:
            return None
        own = {name: found[name] for name in ("index", "replaces", "version", "mean_length")}
        return Link(address=Address.of(found, path), **own)

    def meta(self, path: Path) -> dict[str, Any]:
        """As a MANIFEST keeps it."""
        own = {name: getattr(self, name) for name in ("index", "replaces", "version", "mean_length")}
        return {**self.address.meta(path), **own}

    def check(self, facts: Mapping[str, str]) -> None:
        """Refuse the collection of another index.

        Raises:
            UsageError: it is of another; the text says what to do.
        """
        if facts.get("index", "") not in (self.index, self.replaces):
            raise UsageError(
                f"{self.address.describe()} is of another index: build this one again with another --store."
            )


def held(facts: Mapping[str, str] | None) -> list[str]:
    """The versions that a collection holds whole."""
    return [] if facts is None else facts.get("versions", "").split()


@dataclass(frozen=True)
class Store:
    """The collection of an opened index, reached when it is first asked; see ``remote.Holder``.

    Attributes:
        path: the index.
        link: what it knows of its collection.
        members: its documents.
        contents: for each part (R of the part, 32) what each document holds.
        mean_length: of its documents.
    """

    path: Path
    link: Link
    members: Members
    contents: Sequence[Array]
    mean_length: float

    @staticmethod
    def of(path: Path, opened: Opened) -> Store | None:
        """That of an index; None where it has none."""
        link = Link.of(opened.meta, path)
        if link is None:
            return None
        contents = [part.contents for part in opened.parts if part.documents is not None]
        return Store(path, link, opened.members, contents, opened.lexical.mean_length)

    @cached_property
    def backend(self) -> Milvus | None:
        """The collection; None where the folder is to answer, which a warning says.

        Raises:
            MissingExtraError: pymilvus is not installed.
            StorageError: it cannot be reached.
            UsageError: it is another's.
        """
        if not self.link.version:
            self._note("is not filled yet")
            return None
        try:
            found = Milvus.connect(self.link.address)
        except LockedError:
            self._note("is used by another process", advice="")
            return None
        facts = found.facts()
        if facts is None:
            self._note("is not there")
            return None
        self.link.check(facts)
        if self.link.version not in held(facts):
            self._note("holds another version")
            return None
        found.load()
        return found

    def _note(self, why: str, advice: str = " Fill it: pretrieve index --compact -o {path}") -> None:
        line = f"{self.link.address.describe()} {why}: hits come from {self.path} alone, and are the same."
        warnings.warn(line + advice.format(path=self.path), PretrieveWarning, stacklevel=2)

    def whole(self) -> bool:
        """Whether the collection holds every document of this version, now.

        Raises:
            StorageError: it cannot be reached.
        """
        return self.backend is not None and self.link.version in held(self.backend.facts())

    @cached_property
    def factor(self) -> float:
        """By how much a score of words may exceed that of the collection."""
        return max(1.0, self.mean_length / (self.link.mean_length or 1.0))

    def numbers(self, found: Found) -> IntArray:
        """Numbers of the documents of this version among the rows that were found."""
        numbers = [np.zeros(0, np.int64)]
        documents = np.ascontiguousarray(found.documents).view(np.uint64)
        for start, ids, contents in zip(self.members.starts.tolist(), self.members.parts, self.contents, strict=False):
            at, within = ids.find(documents)
            own = keys_of(documents[at], np.asarray(contents[within]), self.link.mean_length) == found.keys[at]
            numbers.append(start + within[own].astype(np.int64))
        joined = np.concatenate(numbers)
        return joined if self.members.alive is None else joined[self.members.alive[joined]]

    def words(self, local: Ranker, lexical: Lexical) -> Remote:
        """BM25 whose best documents come from the collection.

        Args:
            local: the same over the folder.
            lexical: the analyzer and the statistics.
        """
        statistics, terms = lexical.scorer.statistics, lexical.analyzer.terms
        return Remote(
            field="lexical",
            local=local,
            members=self.members,
            holder=self,
            vectors=lambda queries: [term_weights(terms(query), statistics) for query in queries],
        )

    def vectors(self, dense: Dense) -> Remote:
        """Vectors whose best documents come from the collection."""
        return Remote(field="dense", local=dense, members=self.members, holder=self, vectors=dense.queries)
