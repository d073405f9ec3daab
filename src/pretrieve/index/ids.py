"""The ids of an index: their order, which decides between equal scores, and their hashes, which find them.

An index has one ``Ids`` for each of its parts, and ``Members`` over them: documents are numbered 0 to R-1 through all
parts, those that were deleted included. Hashes do not depend on how documents lie in parts: the documents with the
smallest ones are the sample that means and deviations of scores are taken on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import overload

import numpy as np

from pretrieve.core.arrays import load_array
from pretrieve.core.errors import CorruptError
from pretrieve.core.files import Folder
from pretrieve.core.numbers import each_once
from pretrieve.core.types import Array, BoolArray, FloatArray, IntArray
from pretrieve.index.ranking import id_ranks

SAMPLE = 4096  # documents that means and deviations are taken on, at most


def hashes(names: Iterable[str], count: int) -> IntArray:
    """64-bit hashes (count,) of ids."""
    digests = b"".join(hashlib.blake2b(encoded(name), digest_size=8).digest() for name in names)
    found = np.frombuffer(digests, "<u8")
    assert len(found) == count
    return found


def encoded(name: str) -> bytes:
    """An id as bytes, whose order is that of the ids."""
    return name.encode("utf-8", "surrogatepass")


@dataclass(frozen=True)
class Names(Sequence[str]):
    """Ids on disk: ``text`` holds them end to end, ``offsets`` (R+1,) where each begins."""

    text: Array
    offsets: IntArray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return self.text[self.offsets[index] : self.offsets[index + 1]].tobytes().decode("utf-8", "surrogatepass")


@dataclass(frozen=True, kw_only=True)
class Ids:
    """The ids of R documents.

    Attributes:
        names: the ids.
        ranks: (R,) the place of each in their order.
    """

    names: Sequence[str]
    ranks: IntArray

    @staticmethod
    def of(names: Sequence[str]) -> Ids:
        """Ids in memory."""
        return Ids(names=names, ranks=id_ranks(names))

    def __len__(self) -> int:
        return len(self.ranks)

    @cached_property
    def hashed(self) -> tuple[IntArray, IntArray]:
        """Sorted hashes (R,), and the documents (R,) in that order."""
        found = hashes(self.names, len(self))
        order = np.lexsort((self.ranks, found))  # equal hashes are of equal ids, or nearly impossible
        return found[order], order.astype(np.int32)

    def find(self, wanted: IntArray) -> tuple[IntArray, IntArray]:
        """Find documents by hashes: places in ``wanted`` and the documents there, for each match."""
        keys, order = self.hashed
        first, last = np.searchsorted(keys, wanted, "left"), np.searchsorted(keys, wanted, "right")
        counts = last - first
        at = np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return np.repeat(np.arange(len(wanted)), counts), order[at]

    def write(self, folder: Folder, prefix: str) -> None:
        """Write as arrays of an artefact.

        Raises:
            StorageError: writing to disk failed.
        """
        keys, order = self.hashed
        text = [encoded(name) for name in self.names]
        lengths = np.fromiter(map(len, text), np.int64, len(text))
        folder.array(f"{prefix}ids.text", np.frombuffer(b"".join(text), np.uint8))
        folder.array(f"{prefix}ids.offsets", np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
        folder.array(f"{prefix}ranks", self.ranks)
        folder.array(f"{prefix}keys", keys)
        folder.array(f"{prefix}order", order)

    @staticmethod
    def open(path: Path) -> Ids:
        """Map what ``write`` wrote in a folder.

        Raises:
            CorruptError: the arrays do not fit together.
        """
        names = ("ids.text", "ids.offsets", "ranks", "keys", "order")
        text, offsets, ranks, keys, order = (np.asarray(load_array(path / name)) for name in names)
        if not len(offsets) - 1 == len(ranks) == len(keys) == len(order) or int(offsets[-1]) != len(text):
            raise CorruptError(f"{path}: the arrays of its ids do not fit together: make the index again.")
        ids = Ids(names=Names(text, offsets), ranks=ranks)
        ids.__dict__["hashed"] = (keys, order)
        return ids


@dataclass(frozen=True)
class Members:
    """The documents of an index: R of them in its parts, of which some are deleted.

    Attributes:
        parts: ids of the documents of each part.
        alive: (R,) which are not deleted; None: all of them.
    """

    parts: tuple[Ids, ...]
    alive: BoolArray | None = None

    @cached_property
    def starts(self) -> IntArray:
        """Number of the first document of each part, and R."""
        return np.concatenate([[0], np.cumsum([len(part) for part in self.parts])]).astype(np.int64)

    @property
    def size(self) -> int:
        """Documents in all parts, R."""
        return int(self.starts[-1])

    @cached_property
    def count(self) -> int:
        """Documents that are not deleted."""
        return self.size if self.alive is None else int(self.alive.sum())

    @cached_property
    def numbers(self) -> IntArray:
        """Numbers of the documents that are not deleted, ascending."""
        return np.arange(self.size) if self.alive is None else np.flatnonzero(self.alive)

    def may(self, allowed: BoolArray | None) -> BoolArray | None:
        """Those of the allowed documents that are not deleted; None: all."""
        if self.alive is None or allowed is None:
            return self.alive if allowed is None else allowed
        return self.alive & allowed

    def name(self, number: int) -> str:
        """The id of a document."""
        part = int(np.searchsorted(self.starts, number, "right")) - 1
        return self.parts[part].names[number - int(self.starts[part])]

    def names(self, numbers: IntArray) -> list[str]:
        """The ids of documents."""
        return [self.name(number) for number in numbers.tolist()]

    @cached_property
    def ranks(self) -> IntArray:
        """(R,) the place of each document in the order of all ids; of several parts, computed when it is asked for."""
        if len(self.parts) == 1:
            return self.parts[0].ranks
        return id_ranks([name for part in self.parts for name in part.names])

    @cached_property
    def sample(self) -> IntArray:
        """Numbers of the documents that means and deviations are taken on, in the order of their hashes."""
        keys, numbers = [], []
        for start, part in zip(self.starts.tolist(), self.parts, strict=False):
            hashed, order = part.hashed
            if self.alive is None:
                hashed, order = hashed[:SAMPLE], order[:SAMPLE]
            else:
                kept = np.flatnonzero(self.alive[start + order.astype(np.int64)])[:SAMPLE]
                hashed, order = hashed[kept], order[kept]
            keys.append(hashed)
            numbers.append(start + order.astype(np.int64))
        chosen = np.argsort(np.concatenate(keys), kind="stable")[:SAMPLE]
        return np.asarray(np.concatenate(numbers)[chosen])

    def best(self, numbers: IntArray, scores: FloatArray, n: int) -> IntArray:
        """Places of the n best documents by (score descending, id ascending); see ``rankers.Order``."""
        if len(self.parts) == 1:
            return np.lexsort((self.parts[0].ranks[numbers], -scores))[:n]
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        borders = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1], [True]]))
        for start, stop in pairwise(borders.tolist()):
            if start >= n:
                break
            if stop - start > 1:
                group = self._by_id(order[start:stop], numbers, n - start)
                order[start : start + len(group)] = group
        return order[:n]

    def _by_id(self, places: IntArray, numbers: IntArray, n: int) -> IntArray:
        """The first n of some places in the order of their documents' ids; of each part, its ranks choose n."""
        owner = np.searchsorted(self.starts, numbers[places], "right") - 1
        chosen = []
        for part in each_once(owner).tolist():
            own = places[owner == part]
            ranks = self.parts[part].ranks[numbers[own] - self.starts[part]]
            chosen.append(own[np.argsort(ranks, kind="stable")[:n]])
        found = np.concatenate(chosen).tolist()
        return np.array(sorted(found, key=lambda at: (self.name(int(numbers[at])), int(numbers[at])))[:n], np.int64)
