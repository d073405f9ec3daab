"""Blocks of a store as evidence that is searched: each text once, as an encoder reads it, and what a block contains."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from pretrieve.core.types import IntArray, Rows, SpecialTokens
from pretrieve.sampling.items import Blocks, TokenStore
from pretrieve.sampling.spans import CLS, SEP, lay_out, read


class SearchBlocks:
    """M blocks of sentences with their titles; of blocks with the same title and body the first alone, if asked for.

    Source: ORQA's blocks, and REALM's identity of a block, a hash of title and body
    (``language/realm/retrieval.py``).

    Attributes:
        documents: (M,) document of each block.
        title_starts: (M,) first token of its title.
        title_lengths: (M,) tokens of its title, 0 where it has none.
        body_starts: (M,) first token of its body.
        body_lengths: (M,) tokens of its body, cut to what fits.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        length: maximum length of a block in tokens, title and special tokens included.
        distinct: keep no text twice.
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, length: int, *, distinct: bool = True) -> None:
        self.tokens, self.specials = np.asarray(store.tokens), specials
        around = specials.around() + (specials.sep is not None)
        blocks = Blocks(store, length, around=around)
        documents, self._sentences, last = blocks.blocks(np.arange(len(blocks.sizes)))
        starts, stops = blocks.sentence(self._sentences)[0], blocks.sentence(last - 1)[1]
        title_starts = np.asarray(store.starts)[documents]
        room = length - around
        titles = np.minimum(np.asarray(store.bodies)[documents] - title_starts, room - 1)
        bodies = np.minimum(stops - starts, room - titles)
        kept: IntArray = np.arange(len(starts))
        self._numbers = kept
        if distinct:
            kept, self._numbers = _first_of_each(self.tokens, title_starts, titles, starts, bodies)
        self.documents, self.title_starts, self.title_lengths = documents[kept], title_starts[kept], titles[kept]
        self.body_starts, self.body_lengths = starts[kept], bodies[kept]

    def __len__(self) -> int:
        return len(self.documents)

    def __deepcopy__(self, memory: dict[int, Any]) -> SearchBlocks:
        return self  # nothing in it ever changes, and it may be as large as the corpus

    def of_sentences(self, sentences: IntArray) -> IntArray:
        """The block that holds each sentence (B,), or the first block with the same text."""
        return self._numbers[np.searchsorted(self._sentences, sentences, side="right") - 1]

    @property
    def lengths(self) -> IntArray:
        """Tokens of the row of each block, (M,)."""
        marks = (self.title_lengths > 0) & (self.specials.sep is not None)
        rows: IntArray = self.title_lengths + marks + self.body_lengths + self.specials.around()
        return rows

    def rows(self, blocks: IntArray) -> Rows:
        """[CLS] title [SEP] body [SEP] of blocks (R,); without a title [CLS] body [SEP]."""
        edge, titles = np.ones(len(blocks), np.int64), self.title_lengths[blocks]
        has_cls, has_sep = self.specials.cls is not None, self.specials.sep is not None
        starts = np.stack(
            [edge * CLS, self.title_starts[blocks], edge * SEP, self.body_starts[blocks], edge * SEP], axis=1
        )
        bodies = self.body_lengths[blocks]
        lengths = np.stack([edge * has_cls, titles, has_sep & (titles > 0), bodies, edge * has_sep], axis=1)
        return read(self.tokens, lay_out(starts, lengths), self.specials)

    def body(self, block: int) -> str:
        """The body of a block, as ``as_text`` gives it."""
        start = int(self.body_starts[block])
        return as_text(self.tokens[start : start + int(self.body_lengths[block])])


def as_text(ids: IntArray) -> str:
    """Token ids as a string of one character each: ``in`` then says fast whether one row holds another."""
    return np.ascontiguousarray(ids, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")


def _first_of_each(
    tokens: IntArray, title_starts: IntArray, titles: IntArray, starts: IntArray, bodies: IntArray
) -> tuple[IntArray, IntArray]:
    """Blocks (M,) whose text is new, and of every block the place of its text among those."""
    seen: dict[bytes, int] = {}
    kept: list[int] = []
    numbers = np.empty(len(starts), np.int64)
    rows = zip(title_starts.tolist(), titles.tolist(), starts.tolist(), bodies.tolist(), strict=True)
    for block, (title, title_length, start, length) in enumerate(rows):
        text = hashlib.blake2b(tokens[title : title + title_length].tobytes(), digest_size=16)
        text.update(b"\0" + title_length.to_bytes(4, "little") + tokens[start : start + length].tobytes())
        number = seen.setdefault(text.digest(), len(kept))
        if number == len(kept):
            kept.append(block)
        numbers[block] = number
    return np.asarray(kept, np.int64), numbers
