"""A vocabulary on disk: terms sorted by their UTF-8 bytes, found by bisection in mapped memory.

Opening it costs nothing, however many terms there are; a query touches a few pages.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np

from pretrieve.core.arrays import load_array
from pretrieve.core.errors import CorruptError
from pretrieve.core.files import Folder
from pretrieve.core.types import Array, BoolArray, IntArray

_SAMPLE = 1 << 13  # every so many terms of a vocabulary may begin a part that is merged at once


@dataclass(frozen=True)
class SortedTerms(Sequence[bytes]):
    """Terms in byte order; ``text`` holds them end to end, ``offsets`` (T+1,) where each begins."""

    text: Array
    offsets: IntArray
    _known: dict[str, int] = field(default_factory=dict, repr=False, compare=False)  # queries repeat their terms

    @staticmethod
    def of(terms: Sequence[str]) -> tuple[SortedTerms, IntArray]:
        """Sort terms.

        Returns:
            The vocabulary, and (T,) the new number of each given term.
        """
        encoded = [term.encode("utf-8", "surrogatepass") for term in terms]
        order = sorted(range(len(encoded)), key=encoded.__getitem__)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        lengths = np.fromiter((len(encoded[index]) for index in order), np.int64, len(order))
        text = np.frombuffer(b"".join(encoded[index] for index in order), np.uint8)
        return SortedTerms(text, np.concatenate([[0], np.cumsum(lengths)])), rank

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(len(self)))]
        return self.text[self.offsets[index] : self.offsets[index + 1]].tobytes()

    def numbers(self, terms: Iterable[str]) -> list[int]:
        """Numbers of the terms that are in the vocabulary, in order, with repetitions; the others are left out."""
        found = []
        for term in terms:
            number = self._known.get(term)
            if number is None:
                number = self._known[term] = self._number(term)
            if number >= 0:
                found.append(number)
        return found

    def _number(self, term: str) -> int:
        key = term.encode("utf-8", "surrogatepass")
        at = bisect_left(self, key)
        return at if at < len(self) and self[at] == key else -1

    def between(self, first: int, last: int) -> list[bytes]:
        """Terms ``first`` to ``last``, exclusive; faster than one by one."""
        base = int(self.offsets[first])
        text = self.text[base : self.offsets[last]].tobytes()
        ends = (self.offsets[first : last + 1] - base).tolist()
        return [text[start:stop] for start, stop in itertools.pairwise(ends)]

    def take(self, kept: BoolArray) -> SortedTerms:
        """The terms (T,) that are kept."""
        lengths = np.diff(self.offsets)
        ends = np.concatenate([[0], np.cumsum(lengths[kept])])
        return SortedTerms(self.text[np.repeat(kept, lengths)], ends.astype(np.int64))

    @staticmethod
    def union(vocabularies: Sequence[SortedTerms]) -> tuple[SortedTerms, list[IntArray]]:
        """Merge vocabularies, a range of terms at a time: few terms are Python objects at once.

        Returns:
            The merged vocabulary, and for each of the given ones (T,) its terms' numbers in it, int32.
        """
        texts, lengths = [np.zeros(0, np.uint8)], [np.zeros(1, np.int64)]
        maps: list[list[IntArray]] = [[np.zeros(0, np.int32)] for _ in vocabularies]
        size = 0
        for edges in itertools.pairwise(_edges(vocabularies)):
            parts = [
                vocabulary.between(first, last) for vocabulary, first, last in zip(vocabularies, *edges, strict=True)
            ]
            merged = list(dict.fromkeys(sorted(itertools.chain.from_iterable(parts))))
            number = {term: size + at for at, term in enumerate(merged)}
            size += len(merged)
            texts.append(np.frombuffer(b"".join(merged), np.uint8))
            lengths.append(np.fromiter(map(len, merged), np.int64, len(merged)))
            for found, part in zip(maps, parts, strict=True):
                found.append(np.fromiter(map(number.__getitem__, part), np.int32, len(part)))
        whole = SortedTerms(np.concatenate(texts), np.cumsum(np.concatenate(lengths)))
        return whole, [np.concatenate(found) for found in maps]

    def write(self, folder: Folder, prefix: str) -> None:
        """Write as two arrays of an artefact.

        Raises:
            StorageError: writing to disk failed.
        """
        folder.array(f"{prefix}/terms.text", self.text)
        folder.array(f"{prefix}/terms.offsets", self.offsets)

    @staticmethod
    def open(path: Path) -> SortedTerms:
        """Map the vocabulary that was written below ``path``.

        Raises:
            CorruptError: its arrays do not fit together.
        """
        text, offsets = np.asarray(load_array(path / "terms.text")), np.asarray(load_array(path / "terms.offsets"))
        if offsets.ndim != 1 or not len(offsets) or int(offsets[-1]) != len(text):
            raise CorruptError(f"{path / 'terms.offsets'} does not fit {path / 'terms.text'}: make the index again.")
        return SortedTerms(text, offsets)


def _edges(vocabularies: Sequence[SortedTerms]) -> list[list[int]]:
    """Where to cut vocabularies into ranges of the same terms: positions in each, from 0 to their ends."""
    every = max(1, _SAMPLE // max(1, len(vocabularies)))
    samples = sorted(v[at] for v in vocabularies for at in range(every, len(v), every))
    cuts = dict.fromkeys(samples[:: max(1, len(vocabularies))])
    inner = [[bisect_left(v, cut) for v in vocabularies] for cut in cuts]
    return [[0] * len(vocabularies), *inner, [len(v) for v in vocabularies]]
