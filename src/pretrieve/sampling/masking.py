"""Whole-word masking of ragged rows, vectorised: which tokens are to be predicted, and what stands there instead.

Source: the collator of Condenser (Gao & Callan, EMNLP 2021), after BERT's whole-word masking. A word is a token that
begins one (``Store.word_starts``) with the tokens that continue it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pretrieve.core.errors import UsageError
from pretrieve.core.types import BoolArray, IntArray, Rows, SpecialTokens
from pretrieve.sampling.spans import offsets_of

UNLABELLED = -100  # label of a token that is not to be predicted


class Masked(NamedTuple):
    """Rows with some tokens hidden, and ``labels`` (S,): the true id of a hidden one, or ``UNLABELLED``."""

    rows: Rows
    labels: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Masking:
    """What stands in the place of a token to be predicted: the mask, a random token, or (the rest) the token itself.

    Source: BERT (Devlin et al. 2019): 80 %, 10 %, 10 %.
    """

    mask: float = 0.8
    random: float = 0.1

    def hide(self, rows: Rows, picked: BoolArray, specials: SpecialTokens, rng: np.random.Generator) -> Masked:
        """Hide the picked tokens (S,) of rows.

        Raises:
            UsageError: the vocabulary has no mask token.
        """
        if specials.mask is None:
            raise UsageError(
                "the vocabulary has no mask token, which masked language modelling needs: use another base."
            )
        labels = np.where(picked, rows.tokens, UNLABELLED)
        where = np.flatnonzero(picked)
        draws = rng.random(len(where))
        tokens = rows.tokens.copy()
        tokens[where[draws < self.mask]] = specials.mask
        other = where[(draws >= self.mask) & (draws < self.mask + self.random)]
        tokens[other] = rng.integers(specials.first_ordinary, specials.vocabulary, size=len(other))
        return Masked(Rows(tokens, rows.offsets), labels)


def pick_words(
    rows: Rows, ordinary: BoolArray, word_starts: BoolArray, rate: float, rng: np.random.Generator
) -> BoolArray:
    """Pick whole words of each row in random order until ``rate`` of its tokens are picked.

    A word that would pick more is passed over, unless nothing is picked yet and every word of the row is too long: then
    the first in the order is taken, so that no row is without a label.

    Args:
        rows: R rows of ids.
        ordinary: (S,) whether a token may be picked: no special token.
        word_starts: (vocabulary,) whether a token begins a word.
        rate: part of a row's ordinary tokens, rounded, at least one.
        rng: where the draws come from.

    Returns:
        (S,) whether a token is picked.
    """
    words = _Words(rows, ordinary, word_starts)
    count = words.counts
    budgets = np.maximum(np.round(rate * np.bincount(words.rows, words.lengths, minlength=len(rows))), 1).astype(
        np.int64
    )
    order = np.argsort(words.rows + rng.random(len(words.rows)), kind="stable")
    first = offsets_of(count)[:-1]
    left, chosen = budgets.copy(), np.zeros(len(words.rows), np.bool_)
    active = np.flatnonzero(count > 0)
    for turn in range(int(count.max(initial=0))):
        active = active[(turn < count[active]) & (left[active] > 0)]
        if not len(active):
            break
        candidates = order[first[active] + turn]
        fits = words.lengths[candidates] <= left[active]
        chosen[candidates[fits]] = True
        left[active[fits]] -= words.lengths[candidates[fits]]
    untouched = np.flatnonzero((left == budgets) & (count > 0))
    chosen[order[first[untouched]]] = True
    return words.spread(chosen)


class _Words:
    """The words of rows: ``rows`` (W,) and ``lengths`` (W,) of each; ``counts`` (R,) words of each row."""

    def __init__(self, rows: Rows, ordinary: BoolArray, word_starts: BoolArray) -> None:
        begins = np.zeros(len(rows.tokens), np.bool_)
        begins[rows.offsets[:-1][rows.lengths > 0]] = True  # a crop may begin inside a word
        begins[1:] |= ordinary[1:] & ~ordinary[:-1]  # so does what follows [CLS]
        begins |= np.asarray(word_starts)[rows.tokens]
        begins &= ordinary
        self._owner = np.where(ordinary, np.cumsum(begins) - 1, -1)
        owners = np.repeat(np.arange(len(rows)), rows.lengths)
        self.rows = owners[begins]
        self.lengths = np.bincount(self._owner[ordinary], minlength=len(self.rows))
        self.counts = np.bincount(self.rows, minlength=len(rows))

    def spread(self, chosen: BoolArray) -> BoolArray:
        """From words (W,) to tokens (S,)."""
        picked: BoolArray = np.append(chosen, False)[self._owner]  # -1, no word, reads the False at the end
        return picked
