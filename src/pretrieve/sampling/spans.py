"""From spans of the store to ragged rows, vectorised: a row is a few pieces, a piece is a start and a length.

Special tokens are pieces too: their "position" is ``CLS`` or ``SEP``, below zero. So one array of positions says where
every token of a batch comes from, and edits that move or delete tokens work on positions, before tokens are read.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pretrieve.core.types import BoolArray, IntArray, Rows, SpecialTokens

CLS, SEP = -1, -2


class Positions(NamedTuple):
    """Ragged rows of positions in the store: ``values`` (S,), below zero for special tokens; ``offsets`` (R+1,)."""

    values: IntArray
    offsets: IntArray

    @property
    def lengths(self) -> IntArray:
        """Positions in each row, (R,)."""
        return np.diff(self.offsets)


def offsets_of(lengths: IntArray | BoolArray) -> IntArray:
    """Offsets (R+1,) of rows with these lengths (R,)."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def lay_out(starts: IntArray, lengths: IntArray) -> Positions:
    """Lay pieces end to end.

    Args:
        starts: (R, P) first position of each piece; ``CLS`` or ``SEP`` for a special token.
        lengths: (R, P) tokens of each piece; 0 leaves it out.

    Returns:
        R rows of positions.
    """
    flat = lengths.reshape(-1)
    offsets = offsets_of(flat)
    values = np.repeat(starts.reshape(-1) - offsets[:-1], flat)
    values += np.arange(offsets[-1])
    return Positions(values, offsets[:: starts.shape[1]])


def surround(starts: IntArray, lengths: IntArray, specials: SpecialTokens) -> tuple[IntArray, IntArray]:
    """Put [CLS] before and [SEP] after the pieces of each row, where the encoder has them.

    Args:
        starts: (R, P) first position of each piece.
        lengths: (R, P) tokens of each piece.
        specials: what the encoder has.

    Returns:
        Starts and lengths (R, P+2).
    """
    edge = np.ones((len(starts), 1), np.int64)
    starts = np.concatenate([edge * CLS, starts, edge * SEP], axis=1)
    lengths = np.concatenate([edge * (specials.cls is not None), lengths, edge * (specials.sep is not None)], axis=1)
    return starts, lengths


def read(tokens: IntArray, positions: Positions, specials: SpecialTokens) -> Rows:
    """Read the tokens of the store at positions, special tokens included.

    Args:
        tokens: (S,) the store's tokens.
        positions: R rows.
        specials: ids of [CLS] and [SEP].

    Returns:
        R rows of int64 ids.
    """
    values = positions.values
    ids = tokens[values].astype(np.int64)  # below zero reads from the end of the store, and is replaced here
    special = np.flatnonzero(values < 0)
    table = np.array([0, specials.sep or 0, specials.cls or 0], np.int64)
    ids[special] = table[values[special]]
    return Rows(ids, positions.offsets)


def take_rows(positions: Positions, index: IntArray) -> Positions:
    """Choose rows by index (R',), in that order."""
    lengths = positions.lengths[index]
    offsets = offsets_of(lengths)
    where = np.repeat(positions.offsets[index] - offsets[:-1], lengths) + np.arange(offsets[-1])
    return Positions(positions.values[where], offsets)


def concatenate(parts: list[Positions]) -> Positions:
    """Put the rows of several parts after one another."""
    lengths = np.concatenate([part.lengths for part in parts])
    return Positions(np.concatenate([part.values for part in parts]), offsets_of(lengths))
