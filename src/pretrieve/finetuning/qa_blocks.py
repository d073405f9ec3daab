"""Blocks that questions are answered from: rows for the retriever and the reader, and occurrences of answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretrieve.core.types import BoolArray, IntArray, Rows, SpecialTokens
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.search_blocks import SearchBlocks
from pretrieve.sampling.spans import CLS, SEP, lay_out, offsets_of, read


class QABlocks(SearchBlocks):
    """All blocks of a corpus in its order, for the retriever and the reader (ORQA: ``wiki_preprocessor.py``).

    Attributes:
        starts: first token of each block's body, (M,), absolute in the store.
        stops: one past the last token of it, (M,), cut so that the block fits.

    Args:
        store: the documents.
        specials: special tokens of retriever and reader.
        length: maximum length of a block in tokens, title and special tokens included.
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, length: int) -> None:
        super().__init__(store, specials, length, distinct=False)
        self.starts: IntArray = self.body_starts
        self.stops: IntArray = self.body_starts + self.body_lengths

    def beside(self, questions: Rows, blocks: IntArray, length: int) -> tuple[Rows, IntArray]:
        """Rows as the reader reads them, [CLS] question [SEP] body [SEP] (titles are left out, as released).

        Args:
            questions: B questions without special tokens.
            blocks: (B, k) of each question.
            length: tokens of the longest row; the question is cut first, to leave half of it.

        Returns:
            B k rows, and the place in the store of each token of a body, (S,), -1 for all others.
        """
        room = length - 1 - 2
        owners = np.repeat(np.arange(len(questions)), blocks.shape[1])
        sizes = np.minimum(questions.lengths, room // 2)[owners]
        flat = blocks.reshape(-1)
        bodies = np.minimum(self.body_lengths[flat], room - sizes)
        one = np.ones_like(flat)
        # the questions' tokens follow those of the store, so that both are read by position
        tokens = np.concatenate([self.tokens, questions.tokens.astype(self.tokens.dtype)])
        starts = np.stack([CLS * one, len(self.tokens) + questions.offsets[:-1][owners], SEP * one,
                           self.starts[flat], SEP * one], axis=1)  # fmt: skip
        positions = lay_out(starts, np.stack([one, sizes, one, bodies, one], axis=1))
        places = np.where(positions.values < len(self.tokens), np.maximum(positions.values, -1), -1)
        return read(tokens, positions, self.specials), places


class Occurrences:
    """Where sequences of tokens occur in a store, found by their rarest token.

    An occurrence begins with a word and ends where one ends, so that "art" is not found in "party".

    Args:
        store: the documents.
    """

    def __init__(self, store: TokenStore) -> None:
        self._tokens = np.asarray(store.tokens)
        self._order = np.argsort(self._tokens, kind="stable")
        counts = np.bincount(self._tokens, minlength=len(store.word_starts))
        self._offsets, self._counts = offsets_of(counts), counts
        self._word_starts = np.asarray(store.word_starts)

    def of(self, sought: Sequence[int] | IntArray) -> IntArray:
        """First token of every occurrence, ascending, absolute in the store (document limits are the caller's).

        Args:
            sought: token ids; none occur of nothing.
        """
        wanted = np.asarray(sought, np.int64)
        if not len(wanted):
            return np.zeros(0, np.int64)
        rarest = int(self._counts[wanted].argmin())
        token = int(wanted[rarest])
        starts = self._order[self._offsets[token] : self._offsets[token + 1]] - rarest
        starts = starts[(starts >= 0) & (starts + len(wanted) <= len(self._tokens))]
        for at, value in enumerate(wanted):
            starts = starts[self._tokens[starts + at] == value]
        return starts[self._begins(starts) & self._begins(starts + len(wanted))]

    def _begins(self, places: IntArray) -> BoolArray:
        inside = places < len(self._tokens)
        begins: BoolArray = ~inside
        begins[inside] = self._word_starts[self._tokens[places[inside]]]
        return begins
