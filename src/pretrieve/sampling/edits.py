"""Edits of rows: delete, shuffle, replace and mask tokens, each with its own rate, on a whole batch at once.

Deleting and shuffling move positions; replacing and masking change ids. Special tokens are never touched, and deleting
never empties a row. Source: Contriever (Izacard et al., TMLR 2022), where a crop is edited after it is cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pretrieve.core.errors import UsageError
from pretrieve.core.types import BoolArray, IntArray, Rows, SpecialTokens
from pretrieve.sampling.spans import Positions, lay_out, read

_LEVELS = 1 << 16  # rates are met to 1 / 65,536: sixteen random bits a token are half the cost of a float


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """Rates in [0, 1] at which each token is deleted, shuffled, replaced or masked, in this order."""

    delete: float = 0.0
    shuffle: float = 0.0
    replace: float = 0.0
    mask: float = 0.0

    def check(self, specials: SpecialTokens) -> None:
        """Check the rates.

        Raises:
            UsageError: a rate outside [0, 1], or masking with a vocabulary that has no mask token.
        """
        for name in ("delete", "shuffle", "replace", "mask"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError(f"{name}={getattr(self, name)}: a rate lies between 0 and 1.")
        if self.mask and specials.mask is None:
            raise UsageError("mask: the vocabulary has no mask token; use delete or replace.")

    def apply(
        self, tokens: IntArray, positions: Positions, specials: SpecialTokens, rng: np.random.Generator
    ) -> tuple[Rows, Positions]:
        """Edit rows of positions and read them.

        Args:
            tokens: (S,) the store's tokens.
            positions: R rows.
            specials: special tokens.
            rng: random generator.

        Returns:
            R rows of ids, and the positions that they were read from.
        """
        if self.delete:
            positions = delete(positions, self.delete, rng)
        if self.shuffle:
            positions = shuffle(positions, self.shuffle, rng)
        rows = read(tokens, positions, specials)
        if self.replace:
            picked = np.flatnonzero(_picked(positions.values, self.replace, rng))
            rows.tokens[picked] = rng.integers(specials.first_ordinary, specials.vocabulary, size=len(picked))
        if self.mask:
            assert specials.mask is not None
            rows.tokens[_picked(positions.values, self.mask, rng)] = specials.mask
        return rows, positions


def delete(positions: Positions, rate: float, rng: np.random.Generator) -> Positions:
    """Delete each ordinary token with probability ``rate``; a row that would lose all keeps one of them at random."""
    values, offsets = positions
    draws = rng.integers(0, _LEVELS, size=len(values), dtype=np.uint16)
    keep = draws >= round(rate * _LEVELS)
    keep |= values < 0
    kept = _offsets_after(keep, offsets)
    lengths = np.diff(kept)
    short = np.flatnonzero(lengths <= 2)  # only special tokens can be left: look closer
    if len(short):
        keep[_rescued(positions, keep, draws, short)] = True
        kept = _offsets_after(keep, offsets)
    return Positions(values[keep], kept)


def drop_shared(tokens: IntArray, positions: Positions, chosen: BoolArray, vocabulary: int, fewest: int) -> Positions:
    """Drop from keys the tokens that their queries hold too.

    Args:
        tokens: (S,) the store's tokens.
        positions: 2 B rows: query, key, query, key, ...
        chosen: (B,) whether a pair's key is edited.
        vocabulary: number of token ids.
        fewest: tokens that a key keeps; one that would keep fewer is left as it is.
    """
    values, offsets = positions
    rows = np.repeat(np.arange(len(offsets) - 1), positions.lengths)
    pairs, in_key = rows // 2, rows % 2 == 1
    ordinary = chosen[pairs] & (values >= 0)
    words = pairs * vocabulary + tokens[values].astype(np.int64)
    shared = ordinary & in_key
    shared[shared] = np.isin(words[shared], words[ordinary & ~in_key])
    left = np.bincount(rows[(values >= 0) & ~shared], minlength=len(offsets) - 1)
    keep = ~shared | (left < fewest)[rows]
    return Positions(values[keep], _offsets_after(keep, offsets))


def shuffle(positions: Positions, rate: float, rng: np.random.Generator) -> Positions:
    """Pick each ordinary token with probability ``rate`` and permute the picked ones of a row among their places."""
    values, offsets = positions
    picked = np.flatnonzero(_picked(values, rate, rng))
    rows = np.searchsorted(offsets, picked, side="right") - 1
    order = np.argsort(rows + rng.random(len(picked)), kind="stable")
    moved = values.copy()
    moved[picked] = values[picked[order]]
    return Positions(moved, offsets)


def _offsets_after(keep: BoolArray, offsets: IntArray) -> IntArray:
    """Offsets of rows after the tokens that are not kept have gone (few are, so their places are counted)."""
    return offsets - np.searchsorted(np.flatnonzero(~keep), offsets)


def _picked(values: IntArray, rate: float, rng: np.random.Generator) -> BoolArray:
    draws = rng.integers(0, _LEVELS, size=len(values), dtype=np.uint16)
    return (draws < round(rate * _LEVELS)) & (values >= 0)


def _rescued(positions: Positions, keep: BoolArray, draws: IntArray, rows: IntArray) -> IntArray:
    """Of the rows that lost every ordinary token: the index of the token with the highest draw (a fair choice)."""
    flat = lay_out(positions.offsets[rows, None], positions.lengths[rows, None])
    owner = np.repeat(np.arange(len(rows)), flat.lengths)
    ordinary = positions.values[flat.values] >= 0
    alive = np.bincount(owner, weights=ordinary & keep[flat.values], minlength=len(rows)) > 0
    lost = ordinary & ~alive[owner]
    index, owner = flat.values[lost], owner[lost]
    order = np.lexsort((draws[index], owner))
    last = np.flatnonzero(np.diff(owner[order], append=-1))
    return index[order][last]
