"""Rows of running text for masked language models: sentences packed up to a length, titles before the first of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretrieve.core.types import Batch, BoolArray, IntArray, SpecialTokens
from pretrieve.sampling.batches import Address
from pretrieve.sampling.items import Blocks, TokenStore
from pretrieve.sampling.masking import UNLABELLED, Masked, Masking, pick_words
from pretrieve.sampling.pairs import traces
from pretrieve.sampling.spans import Positions, lay_out, read, surround


class Passages:
    """Spans of consecutive sentences, each at most ``length`` tokens with its special tokens.

    Consecutive sentences are packed greedily; now and then a shorter piece is taken, so that the model sees short
    texts too; a sentence that is too long is cut, once, at a random place. Source: ``helper/create_train.py`` and
    ``data.py`` of Condenser, where the cut is drawn twice and labels and text can miss each other.

    Attributes:
        mixture: the passages and the shares of their groups.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        length: maximum length of a row in tokens, special tokens included.
        short: probability of a shorter piece, of any length.
        coefficient: exponent of group sizes (``batches.mixture``).
    """

    def __init__(
        self, store: TokenStore, specials: SpecialTokens, length: int, *, short: float = 0.0, coefficient: float = 1.0
    ) -> None:
        self._blocks = Blocks(store, length, around=specials.around(), coefficient=coefficient)
        self._room, self._short = length - specials.around(), short
        self._starts, self._bodies = np.asarray(store.starts), np.asarray(store.bodies)
        self.mixture = self._blocks.mixture

    def spans(self, items: IntArray, address: Address) -> tuple[IntArray, IntArray, IntArray]:
        """Document, start and length of items, each (B,); titles are part of the first passage of a document."""
        rng = address.generator("passages")
        documents, starts, stops = self._blocks.spans(items, address)
        starts = np.where(starts == self._bodies[documents], self._starts[documents], starts)
        wanted = np.minimum(stops - starts, self._room)
        shorter = 1 + (rng.random(len(items)) * wanted).astype(np.int64)
        lengths = np.where(rng.random(len(items)) < self._short, shorter, wanted)
        spare = np.where(stops - starts > self._room, stops - starts - lengths, 0)
        return documents, starts + (rng.random(len(items)) * (spare + 1)).astype(np.int64), lengths


class MaskedRows:
    """Rows with whole words hidden.

    A batch has ``labels`` of each token, and ``weight`` of each example: what its summed loss is multiplied with, so
    that the mean over examples is the mean over all hidden tokens of the global batch, whatever the chunks and ranks.

    Args:
        store: the documents, with ``word_starts``.
        specials: special tokens of the encoder.
        rate: fraction of tokens masked.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, rate: float, provenance: bool = False) -> None:
        self._tokens, self._word_starts = np.asarray(store.tokens), np.asarray(store.word_starts)
        self._specials, self._rate, self._provenance = specials, rate, provenance

    def rows(self, documents: IntArray, starts: IntArray, lengths: IntArray, address: Address) -> Batch:
        """Make N masked rows of each example.

        Args:
            documents: (B,) document of each example.
            starts: (B, N) first token of each row.
            lengths: (B, N) tokens of each row.
            address: where the draws live.
        """
        size, width = starts.shape
        pieces = surround(starts.reshape(-1, 1), lengths.reshape(-1, 1), self._specials)
        positions = lay_out(*pieces)
        found = mask_words(self._tokens, positions, self._word_starts, self._rate, self._specials, address)
        extra, spans = traces(positions, *pieces) if self._provenance else ({}, {})
        return Batch(
            rows=found.rows,
            shape=(size, width),
            documents=documents,
            per_token={"labels": found.labels, **extra},
            per_row=spans,
            per_example={"weight": token_weight(size, found.labels != UNLABELLED)},
        )


class MaskedPassages(MaskedRows):
    """The sampler of masked language models: one passage an example, whole words of it hidden.

    Attributes:
        mixture: the passages and the shares of their groups.

    Args:
        store: the documents, with ``word_starts``.
        specials: special tokens of the encoder.
        passages: what a row is.
        rate: fraction of tokens masked.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(
        self, store: TokenStore, specials: SpecialTokens, passages: Passages, rate: float, provenance: bool = False
    ) -> None:
        super().__init__(store, specials, rate, provenance)
        self._passages, self.mixture = passages, passages.mixture

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one masked row of each passage (B,)."""
        documents, starts, lengths = self._passages.spans(items, address)
        return self.rows(documents, starts[:, None], lengths[:, None], address)


def mask_words(
    tokens: IntArray,
    positions: Positions,
    word_starts: BoolArray,
    rate: float,
    specials: SpecialTokens,
    address: Address,
    stream: str = "masks",
) -> Masked:
    """Read rows of positions and hide whole words, 80 % by the mask, 10 % by random tokens, 10 % left."""
    rng = address.generator(stream)
    rows = read(tokens, positions, specials)
    picked = pick_words(rows, positions.values >= 0, word_starts, rate, rng)
    return Masking().hide(rows, picked, specials, rng)


def token_weight(examples: int, counted: BoolArray | Sequence[bool]) -> np.ndarray:
    """Weight (B,) of summed token losses whose mean over examples is the mean over the counted tokens (S,)."""
    return np.full(examples, examples / max(int(np.count_nonzero(counted)), 1))
