"""Heads on top of an encoder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from pretrieve.core.rng import torch_seed
from pretrieve.core.types import IntArray, Rows
from pretrieve.models.encoder import Encoder


@contextlib.contextmanager
def seeded(seed: int, stream: str) -> Iterator[None]:
    """Draw initial weights by address: torch's generator is seeded inside the block and put back after it."""
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed(seed, stream, 0))
        yield


class Projected(Encoder):
    """An encoder whose vectors are projected: Linear, LayerNorm and, in training, dropout.

    The head of ORQA (Lee et al., *Latent retrieval for weakly supervised open domain question answering*, ACL 2019,
    section 3), which goes from BERT's pooler to 128 dimensions. It is an encoder itself, so it is exported with it.

    Args:
        encoder: what gives the vectors (R, V, D).
        dimensions: D after projection.
        seed: the run's seed, for the initial weights (normal with deviation 0.02, as BERT's).
        dropout: probability of zeroing a value in training mode.
    """

    def __init__(self, encoder: Encoder, dimensions: int = 128, *, seed: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.encoder = encoder
        with seeded(seed, "projection"):
            self.linear = nn.Linear(encoder.dimensions, dimensions)
            nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)
        self.norm = nn.LayerNorm(dimensions)
        self.dropout = nn.Dropout(dropout)
        self.dimensions, self.views = dimensions, encoder.views
        self.max_length, self.specials = encoder.max_length, encoder.specials
        self.similarity = "dot"

    def forward(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R rows as (R, V, D): the encoder's vectors, projected and layer-normalised."""
        projected: Tensor = self.dropout(self.norm(self.linear(self.encoder(rows, segments))))
        return projected
