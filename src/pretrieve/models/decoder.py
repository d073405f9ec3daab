"""RetroMAE's enhanced decoder: one layer that reconstructs a text from its vector and, at each position, other tokens.

Xiao, Liu, Shao, Cao, *RetroMAE*, EMNLP 2022, arXiv 2205.12035 (*Enhanced decoding*). The queries are the text's vector
with positions and no word; keys and values are the vector and the clean words. Every position is predicted from its own
subset of the words, and a layer this weak depends on the vector.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrieve.core.errors import UsageError
from pretrieve.core.types import IntArray, Rows
from pretrieve.models.heads import kept_heads, seeded, start_from
from pretrieve.models.packed import Packing, lay_out
from pretrieve.models.transformer import TransformerEncoder

MASKS = 64  # masks a row: one bit each of a token's int64
QueryStream = Literal["positions", "embeddings"]


class EnhancedDecoder(nn.Module):
    """A layer of BERT's kind (norms after each part) with queries of one stream, keys and values of another.

    It has the width, heads, dropout and activation of the encoder's model, and uses the model's embeddings, which stay
    the model's: only the layer is learned here. A model without a table of positions (ModernBERT) gets sinusoids
    (Vaswani et al. 2017), added to its queries and to its embeddings, as the decoder would not know places else.

    Attributes:
        query: of attention, as are ``key``, ``value`` and ``attention_output``.
        attention_norm: after attention and residual.
        intermediate: into the feed-forward part.
        output: out of it.
        output_norm: after it.

    Args:
        encoder: whose kind and embeddings are taken. Weights that an earlier run left beside it, named
            ``enhanced_decoder``, are the start; new ones are drawn as the model's own are.
        seed: seed of the run, for new weights.
        query_stream: "positions": the vector plus the position's vector; "embeddings": the model's embeddings of it,
            that is with positions, type and norm (the second version, DupMAE).

    Raises:
        UsageError: the model is of another family, or kept weights do not fit.
    """

    def __init__(self, encoder: TransformerEncoder, seed: int, query_stream: QueryStream = "positions") -> None:
        super().__init__()
        config: Any = encoder.model.config
        _check(encoder)
        width, inner = encoder.dimensions, int(config.intermediate_size)
        self.heads = int(config.num_attention_heads)
        self.query_stream = query_stream
        with seeded(seed, "decoder"):
            self.query, self.key, self.value, self.attention_output = (nn.Linear(width, width) for _ in range(4))
            self.intermediate, self.output = nn.Linear(width, inner), nn.Linear(inner, width)
            for layer in (module for module in self.children() if isinstance(module, nn.Linear)):
                nn.init.normal_(layer.weight, std=float(config.initializer_range))
                nn.init.zeros_(layer.bias)
        epsilon = float(_first(config, "layer_norm_eps", "norm_eps"))
        self.attention_norm, self.output_norm = nn.LayerNorm(width, eps=epsilon), nn.LayerNorm(width, eps=epsilon)
        from transformers.activations import ACT2FN  # imported here because it takes seconds

        self.activation = ACT2FN[_first(config, "hidden_act", "hidden_activation")]
        self.dropout = nn.Dropout(float(_first(config, "hidden_dropout_prob", "mlp_dropout")))
        self.attention_dropout = float(_first(config, "attention_probs_dropout_prob", "attention_dropout"))
        self.new = not start_from(self, kept_heads(encoder), "enhanced_decoder")

    def forward(
        self, encoder: TransformerEncoder, vectors: Tensor, rows: Rows, masks: IntArray, choices: IntArray
    ) -> Tensor:
        """Run the layer over clean rows.

        Args:
            encoder: the one that it was made for.
            vectors: (R, D) what the rows are to be rebuilt from.
            rows: R rows of clean tokens.
            masks: (S,) bit k says whether a token is seen by the places that take mask k.
            choices: (S,) the mask, 0 to 63, that each place takes.

        Returns:
            (S, D), to be read by the language head.
        """
        packing = lay_out(rows, vectors.device)
        owners = packing.laid_out(np.repeat(np.arange(len(rows)), rows.lengths))
        spread = vectors.index_select(0, owners)
        words = _embedded(encoder, packing, {"input_ids": packing.ids.unsqueeze(0)})
        context = torch.where((packing.positions == 0).unsqueeze(1), spread, words)
        queries = self._queries(encoder, packing, spread)
        attended = self._attend(queries, context, packing, packing.laid_out(masks), packing.laid_out(choices))
        hidden = self.attention_norm(queries + self.dropout(self.attention_output(attended)))
        grown = self.output(self.activation(self.intermediate(hidden)))
        last: Tensor = self.output_norm(hidden + self.dropout(grown))
        return last[packing.restore_tokens]

    def _queries(self, encoder: TransformerEncoder, packing: Packing, spread: Tensor) -> Tensor:
        if self.query_stream == "embeddings":
            return _embedded(encoder, packing, {"inputs_embeds": spread.unsqueeze(0)})
        return spread + _positions(encoder, packing, spread.dtype)

    def _attend(self, queries: Tensor, context: Tensor, packing: Packing, masks: Tensor, choices: Tensor) -> Tensor:
        """Attention (S, D) in the layout's order, block by block of rows of equal length."""
        parts = (self.query(queries), self.key(context), self.value(context), masks, choices)
        attended = []
        for query, key, value, mask, choice in zip(*(packing.split(part) for part in parts), strict=True):
            query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value))
            dropout = self.attention_dropout if self.training else 0.0
            visible = seen(mask, choice).unsqueeze(1)
            found = F.scaled_dot_product_attention(query, key, value, attn_mask=visible, dropout_p=dropout)
            attended.append(found.transpose(1, 2).flatten(2).flatten(0, 1))
        return torch.cat(attended)


def seen(masks: Tensor, choices: Tensor) -> Tensor:
    """Say which positions each place of R rows of equal length L sees: (R, L, L), True where it does.

    The first position, where the text's vector stands, is seen by all; no other place ever sees itself.

    Args:
        masks: (R, L) int64, bit k of a token: seen under mask k.
        choices: (R, L) int64, the mask of each place.
    """
    bits = torch.ones_like(choices) << choices
    found = (masks.unsqueeze(1) & bits.unsqueeze(2)) != 0
    found.diagonal(dim1=1, dim2=2).fill_(False)
    found[:, :, 0] = True
    return found


def _embedded(encoder: TransformerEncoder, packing: Packing, inputs: dict[str, Tensor]) -> Tensor:
    """The model's embedding layer alone, over tokens or vectors (1, S, ...) in the layout's order: (S, D)."""
    embeddings: Any = encoder.model.embeddings
    found: Tensor
    if _table(encoder) is not None:
        places = (packing.positions + encoder.first_position).unsqueeze(0)
        found = embeddings(**inputs, position_ids=places)[0]
    elif "inputs_embeds" in inputs:  # before the norm, as a table's positions are
        given = inputs["inputs_embeds"]
        found = embeddings(inputs_embeds=given + _positions(encoder, packing, given.dtype))[0]
    else:
        found = embeddings(**inputs)[0]
        found = found + _positions(encoder, packing, found.dtype)
    return found


def _positions(encoder: TransformerEncoder, packing: Packing, dtype: torch.dtype) -> Tensor:
    """Vectors (S, D) of the positions of the layout: the model's, or sinusoids."""
    table = _table(encoder)
    if table is not None:
        found: Tensor = table(packing.positions + encoder.first_position)
        return found
    return sinusoids(packing.blocks[-1][1], encoder.dimensions, packing.positions.device)[packing.positions].to(dtype)


def sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """Position vectors (length, width), float64: sines, then cosines, of wavelengths from 2 pi to 20,000 pi."""
    half = width // 2
    rates = torch.exp(torch.arange(half, device=device, dtype=torch.float64) * (-math.log(10_000.0) / half))
    angles = torch.arange(length, device=device, dtype=torch.float64).unsqueeze(1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _table(encoder: TransformerEncoder) -> nn.Embedding | None:
    table = getattr(encoder.model.embeddings, "position_embeddings", None)
    return table if isinstance(table, nn.Embedding) else None


def _check(encoder: TransformerEncoder) -> None:
    """Refuse families whose embeddings are not known here.

    Raises:
        UsageError: neither BERT's nor RoBERTa's nor ModernBERT's kind.
    """
    kind = encoder.model.config.model_type  # type: ignore[union-attr]
    known = hasattr(encoder.model, "embeddings") and (_table(encoder) is not None or kind == "modernbert")
    if not encoder.packed or not known or encoder.words.shape[1] != encoder.dimensions:
        raise UsageError(
            f"{kind}: the decoder supports the families of BERT, RoBERTa and ModernBERT: use one of these."
        )


def _first(config: Any, *names: str) -> Any:
    """The first of these settings that a model has."""
    return next(getattr(config, name) for name in names if hasattr(config, name))
