"""An encoder turns ragged rows of token ids into vectors (R, V, D): one interface for static and transformer models."""

from __future__ import annotations

from copy import deepcopy
from typing import Literal

from torch import Tensor, nn

from pretrieve.core.types import IntArray, Rows, Similarity, SpecialTokens

Pooling = Literal["mean", "cls", "bert", "bag"]

__all__ = ["Encoder", "Pooling", "SpecialTokens"]


class Encoder(nn.Module):
    """Rows in, vectors out; the layout for the hardware (packing, padding, bags) is its own business.

    Attributes:
        dimensions: D of the vectors.
        vectors_per_document: V, the number of vectors of a document, 1 by default (MVR has more); a query has one.
        max_length: longest row, in tokens, special tokens included.
        specials: ids of the special tokens.
        similarity: how vectors are compared after training.
        queries_apart: the queries' own encoder, where the base of a run has separate towers; a tuple, so that it is no
            part of this module.
    """

    dimensions: int
    vectors_per_document: int = 1
    max_length: int
    specials: SpecialTokens
    similarity: Similarity
    queries_apart: tuple[Encoder, ...] = ()

    def forward(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R rows.

        Args:
            rows: ragged token ids, special tokens included; no row is longer than ``max_length``.
            segments: token type ids (S,), for models that have them.

        Returns:
            Vectors (R, V, D) on the encoder's device; not normalised unless the encoder says so.
        """
        raise NotImplementedError

    def queries(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R queries as (R, 1, D); the same as documents, but for encoders with several vectors per document."""
        encoded: Tensor = self(rows, segments)
        return encoded


def second_tower(encoder: Encoder) -> Encoder:
    """The start of an encoder of queries beside one of documents: the base's own, or else a copy."""
    return encoder.queries_apart[0] if encoder.queries_apart else deepcopy(encoder)
