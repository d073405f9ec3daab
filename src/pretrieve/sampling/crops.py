"""Two independent crops of every item of a source, edited: the pairs of Contriever (Izacard et al., TMLR 2022)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pretrieve.core.types import Batch, IntArray, SpecialTokens
from pretrieve.sampling.batches import Address
from pretrieve.sampling.edits import Edits
from pretrieve.sampling.items import Source
from pretrieve.sampling.pairs import pair_batch, place
from pretrieve.sampling.spans import lay_out, surround

Lengths = Callable[[IntArray, np.random.Generator], IntArray]


class Crops:
    """A sampler: two crops of each item, which may overlap.

    Args:
        source: windows or documents.
        tokens: (S,) the store's tokens.
        specials: special tokens of the encoder.
        lengths: gives the length of a crop of each of some spans (R,), by their sizes (R,).
        edits: what is done to a crop before its special tokens are put around it.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(
        self, source: Source, tokens: IntArray, specials: SpecialTokens, lengths: Lengths, edits: Edits,
        provenance: bool = False,
    ) -> None:  # fmt: skip
        edits.check(specials)
        self._source, self._tokens, self._specials = source, np.asarray(tokens), specials
        self._lengths, self._edits, self._provenance = lengths, edits, provenance
        self.mixture = source.mixture

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one pair of crops of each item (B,)."""
        rng = address.generator("crops")
        spans = self._source.spans(items, address)
        first, sizes = np.repeat(spans.starts, 2), np.repeat(spans.stops - spans.starts, 2)
        lengths = self._lengths(sizes, rng)
        starts = place(first, sizes, lengths, rng)
        starts, lengths = surround(starts[:, None], lengths[:, None], self._specials)
        rows, positions = self._edits.apply(self._tokens, lay_out(starts, lengths), self._specials, rng)
        provenance = (positions, starts, lengths) if self._provenance else None
        return pair_batch(rows, spans.documents, provenance=provenance)
