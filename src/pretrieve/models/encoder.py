"""An encoder maps ragged rows of token ids to vectors (R, V, D): one interface for static and transformer models."""

from __future__ import annotations

from copy import deepcopy
from typing import Literal

from torch import Tensor, nn

from pretrieve.core.types import IntArray, Rows, Similarity, SpecialTokens

Pooling = Literal["mean", "cls", "lasttoken", "bert", "bag"]

__all__ = ["Encoder", "Pooling", "SpecialTokens"]


class Encoder(nn.Module):
    """Maps rows to vectors; packing, padding and bags are internal to each encoder.

    Attributes:
        dimensions: D of the vectors.
        vectors_per_document: V, the number of vectors of a document, 1 by default (MVR has more); a query has one.
        max_length: maximum length of a row in tokens, special tokens included.
        specials: ids of the special tokens.
        similarity: similarity function of the vectors after training.
    """

    dimensions: int
    vectors_per_document: int = 1
    max_length: int
    specials: SpecialTokens
    similarity: Similarity
    _query_encoder: tuple[Encoder, ...] = ()  # a tuple, so that it is not registered as a submodule

    @property
    def query_encoder(self) -> Encoder | None:
        """The encoder of queries, where the base model has untied encoders; it is not part of this module."""
        return self._query_encoder[0] if self._query_encoder else None

    def untie(self, query_encoder: Encoder) -> None:
        """Set the encoder of queries; this one encodes documents."""
        self._query_encoder = (query_encoder,)

    def forward(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R rows.

        Args:
            rows: ragged token ids, special tokens included; no row is longer than ``max_length``.
            segments: token type ids (S,), for models that have them.

        Returns:
            Vectors (R, V, D) on the encoder's device; normalised only if the encoder normalises them.
        """
        raise NotImplementedError

    def queries(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R queries as (R, 1, D); differs from documents only in encoders with several vectors per document."""
        encoded: Tensor = self(rows, segments)
        return encoded


def untied_query_encoder(encoder: Encoder) -> Encoder:
    """Return the initial query encoder of an untied model: the base model's own, otherwise a copy of ``encoder``."""
    return encoder.query_encoder or deepcopy(encoder)
