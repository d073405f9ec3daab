"""Filling the collection of an index, and keeping it whole while the index changes.

Rows of a new version are written beside those of the one before; the collection says that it holds both; the MANIFEST
is replaced; the collection says that it holds the new version alone; rows that only the old one had are deleted. So a
search is answered by the collection at every moment, and a process that is killed leaves rows too many, never too few:
``changing`` in the collection tells the next one to look for them.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from pretrieve.core import files
from pretrieve.core.commits import Revision, revise
from pretrieve.core.errors import UsageError
from pretrieve.core.types import IntArray
from pretrieve.index.backends import Address, Backend, Row
from pretrieve.index.backends.milvus import Milvus
from pretrieve.index.backends.rows import keys_in, rows_of
from pretrieve.index.compressed import open_vectors
from pretrieve.index.opening import Opened, open_parts
from pretrieve.index.parts import Part
from pretrieve.index.store import STORE, Link, held
from pretrieve.index.writing import writing

_BATCH = 1_000  # rows in memory
_DRIFT = 1.05  # change of the mean length from which all rows are written anew
_CHANGING, _DONE = {"changing": "1"}, {"changing": ""}


def link_new(path: Path, address: Address, *, replace: bool) -> Link:
    """Check a collection that a new index wants, before it is built.

    Args:
        path: the index.
        address: of the collection.
        replace: whether one of another index may be replaced.

    Raises:
        UsageError: it is there and may not be replaced, or would lie in the index.
        PretrieveError: as ``Milvus.connect``, or it is none of pretrieve.
    """
    if address.is_file and path.resolve() in (place := Path(address.place).resolve(), *place.parents):
        raise UsageError(f"--store {address.place} would lie in the index {path}: give a place beside it.")
    with Milvus.opened(address) as backend:
        facts = backend.facts()
    if facts is not None and not replace:
        raise UsageError(f"{address.describe()} exists: give another name, or --overwrite.")
    return Link(address=address, index=_name(), replaces=None if facts is None else facts.get("index", ""))


def fill(path: Path) -> None:
    """Fill the collection of an index that was built just now.

    Raises:
        PretrieveError: as ``complete``.
    """
    with writing(path):
        complete(path)


@dataclass
class Change:
    """A version of an index that is being written, for its collection.

    Attributes:
        path: the index.
        opened: the version before.
        link: of the version before.
        backend: the collection; None: it does not hold the version before, and ``complete`` will fill it.
        version: name of the new version.
        old: keys of the rows that the new version does not have.
    """

    path: Path
    opened: Opened
    link: Link | None
    backend: Milvus | None
    version: str
    old: IntArray

    def write(self, revision: Revision, number: int, size: int, gone: IntArray) -> None:
        """Write the rows of a new part, before the MANIFEST is replaced.

        Args:
            revision: the new version.
            number: of the part.
            size: its documents.
            gone: (deleted, 2) number of a part and place in it, of the documents that it deletes.

        Raises:
            StorageError: Milvus refuses.
        """
        if self.link is None:
            return
        link, options = self.link, self.opened.lexical.options
        if link.version:
            revision.meta[STORE] = replace(link, version=self.version).meta(self.path)
        if self.backend is None:
            return
        self.backend.keep_facts(_CHANGING)
        part = Part.open(revision.folder.path, number, size, passages=False)
        if size:
            _write(self.backend, rows_of(part, np.arange(size), link.mean_length, options))
        if size >= _BATCH:
            self.backend.settle()
        parts = [one for one in self.opened.parts if one.documents is not None]
        old = [keys_in(one, gone[gone[:, 0] == one.number, 1], link.mean_length) for one in parts]
        self.old = np.concatenate([self.old, *old])
        self.backend.keep_facts({"versions": f"{link.version} {self.version}"})

    def finish(self) -> None:
        """Delete rows that the new version does not have, after the MANIFEST was replaced."""
        if self.backend is not None:
            self.backend.keep_facts({"versions": self.version})
            self.backend.delete(self.old)


@contextlib.contextmanager
def changing(path: Path, opened: Opened) -> Iterator[Change]:
    """Keep the collection of an index, if it has one, whole while a new version of it is written in the block.

    Args:
        path: the index; the caller holds its lock.
        opened: it.

    Raises:
        PretrieveError: as ``Milvus.connect``, and the index is unchanged; or the collection is another's.
    """
    link, none = Link.of(opened.meta, path), np.zeros(0, np.int64)
    if link is None:
        yield Change(path, opened, None, None, "", none)
        return
    with Milvus.opened(link.address) as backend:
        facts = backend.facts()
        if facts is not None:
            link.check(facts)
        whole = link.version in held(facts)
        change = Change(path, opened, link, backend if whole else None, _name(), none)
        yield change
        change.finish()
        if whole and facts is not None and not facts.get("changing"):
            backend.keep_facts(_DONE)


def complete(path: Path) -> None:
    """Fill the collection of an index, if it has one, where something is missing, left over or outdated.

    Args:
        path: the index; the caller holds its lock.

    Raises:
        PretrieveError: as ``Milvus.connect``, or the collection is another's; the index itself is whole.
    """
    if STORE not in files.load_manifest(path, "index")["meta"]:
        return
    opened = open_parts(path, with_model=False)
    link = Link.of(opened.meta, path)
    assert link is not None
    with Milvus.opened(link.address) as backend:
        facts = backend.facts()
        if facts is not None:
            link.check(facts)
            if facts.get("index") != link.index:
                backend.drop()
                facts = None
        mean = _mean_length(link, opened)
        if mean == link.mean_length and link.version in held(facts) and facts is not None and not facts.get("changing"):
            return
        if facts is None:
            backend.create(_dimensions(opened), {"index": link.index, "versions": "", **_CHANGING})
        _complete(path, opened, link, backend, held(facts), mean)


def _complete(path: Path, opened: Opened, link: Link, backend: Milvus, known: list[str], mean: float) -> None:
    backend.keep_facts(_CHANGING)
    parts = [part for part in opened.parts if part.documents is not None]
    starts, numbers = opened.members.starts, opened.members.numbers
    places = [numbers[(numbers >= start) & (numbers < start + len(part))] - start
              for start, part in zip(starts.tolist(), parts, strict=False)]  # fmt: skip
    keys = [keys_in(part, own, mean) for part, own in zip(parts, places, strict=True)]
    there = backend.keys()
    for part, own, wanted in zip(parts, places, keys, strict=True):
        missing = own[~np.isin(wanted, there)]
        _write(backend, rows_of(part, missing, mean, opened.lexical.options))
    backend.settle()
    version = link.version
    if mean != link.mean_length or not version:
        version = _name()
        backend.keep_facts({"versions": " ".join([version, *(one for one in known if one == link.version)])})
        with revise(path, "index") as revision:
            new = replace(link, version=version, mean_length=mean, replaces=None)
            revision.meta[STORE] = new.meta(path)
    backend.keep_facts({"versions": version})
    backend.delete(np.setdiff1d(there, np.concatenate(keys)))
    backend.keep_facts(_DONE)


def _mean_length(link: Link, opened: Opened) -> float:
    """Mean length of documents that words are to be weighted by: that of before, unless it has changed much."""
    now, before = opened.lexical.mean_length or 1.0, link.mean_length
    return before if before and max(now / before, before / now) <= _DRIFT else now


def _dimensions(opened: Opened) -> int:
    found = next(open_vectors(part.path / "vectors") for part in opened.parts if part.documents is not None)
    if found.ndim != 2:
        raise UsageError("a model with several vectors a document cannot be kept in Milvus: leave --store out.")
    return int(found.shape[-1])


def _write(backend: Backend, rows: Iterable[Row]) -> None:
    left = iter(rows)
    while some := list(islice(left, _BATCH)):
        backend.write(some)


def _name() -> str:
    return secrets.token_hex(8)
