"""Words and terms by number while texts are analysed, each distinct word once."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pretrieve.core.types import Rows


def is_plain(word: str) -> bool:
    """Whether a word is a number, or one of ASCII letters that is not split in parts: what most words are."""
    if not word.isascii():
        return False
    return word.isdigit() or (word.isalpha() and (word.islower() or word.istitle() or word.isupper()))


def cannot_have(word: str, heads: frozenset[str]) -> bool:
    """Whether a word is plain, and does not begin as those do that have wanted terms.

    Args:
        word: a word.
        heads: the first two letters of those that do; empty: any.
    """
    return bool(heads) and word[:2] not in heads and is_plain(word)


class Lexicon:
    """Numbers terms, and keeps the terms of each numbered word."""

    def __init__(self, analyse: Callable[[str, str], Sequence[str]]) -> None:
        self._analyse = analyse
        self._ids: dict[str, int] = {}
        self.names: list[str] = []
        self.entries: list[list[int]] = []

    def add(self, word: str, language: str) -> int:
        """Analyse a new word; return its number."""
        ids = self._ids
        for term in (terms := self._analyse(word, language)):
            if term not in ids:
                ids[term] = len(ids)
                self.names.append(term)
        self.entries.append([ids[term] for term in terms])
        return len(self.entries) - 1

    def expand(self, words: Rows) -> Rows:
        """Replace each word of ragged rows by its terms."""
        sizes = np.array([len(entry) for entry in self.entries], np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        terms = np.fromiter(itertools.chain.from_iterable(self.entries), np.int32, int(starts[-1]))
        taken = sizes[words.tokens]
        ends = np.concatenate([[0], np.cumsum(taken)])
        flat = terms[np.repeat(starts[:-1][words.tokens] - ends[:-1], taken) + np.arange(ends[-1])]
        return Rows(flat, ends[words.offsets])


class WordSizes(dict[str, int]):
    """Number of the terms of each word of one language; ``having`` are the words that have wanted terms, and which.

    Args:
        analyse: from a word to its terms; a plain word has one.
        wanted: numbers of the wanted terms.
        heads: the first two letters of the plain words that may have them; empty: any.
    """

    def __init__(
        self, analyse: Callable[[str], Sequence[str]], wanted: Mapping[str, int], heads: frozenset[str]
    ) -> None:
        super().__init__()
        self._analyse, self._wanted, self._heads = analyse, wanted, heads
        self.having: dict[str, list[int]] = {}

    def __missing__(self, word: str) -> int:
        if cannot_have(word, self._heads):
            self[word] = 1
            return 1
        terms = self._analyse(word)
        if not self._wanted.keys().isdisjoint(terms):
            self.having[word] = [self._wanted[term] for term in terms if term in self._wanted]
        size = self[word] = len(terms)
        return size


class WordTable(dict[str, int]):
    """Numbers the words of one language as they occur in the text."""

    def __init__(self, lexicon: Lexicon, language: str) -> None:
        super().__init__()
        self._lexicon, self._language = lexicon, language

    def __missing__(self, word: str) -> int:
        number = self[word] = self._lexicon.add(word, self._language)
        return number
