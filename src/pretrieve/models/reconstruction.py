"""The decoder of TSDAE: the encoder's layers, run causally, with cross-attention to one vector.

Wang, Reimers, Gurevych, *TSDAE*, Findings of EMNLP 2021, arXiv 2104.06979.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Rows
from pretrieve.models.heads import kept_heads, seeded, start_from
from pretrieve.models.packed import Packing, lay_out
from pretrieve.models.transformer import TransformerEncoder

_FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert", "ernie", "modernbert")


class OneVector(nn.Module):
    """Cross-attention where there is a single key: its weight is 1, whatever the query.

    So attention is the value projection and the output projection of that vector, exactly, the same for every token;
    the query's and the key's projections would get no gradient and are left out. Dropout of that one weight is too.

    Attributes:
        value: projection of the vector.
        output: projection back.
        norm: after the sum, in the families that normalise there; else the identity.

    Args:
        config: of the model.
        after: whether the family normalises after a part of a layer (BERT), or before (ModernBERT).
    """

    def __init__(self, config: Any, *, after: bool) -> None:
        super().__init__()
        width, bias = config.hidden_size, True if after else bool(config.attention_bias)
        self.value, self.output = nn.Linear(width, width, bias=bias), nn.Linear(width, width, bias=bias)
        for linear in (self.value, self.output):
            nn.init.normal_(linear.weight, std=float(config.initializer_range))
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)
        self.norm: nn.Module = nn.LayerNorm(width, eps=config.layer_norm_eps) if after else nn.Identity()
        self.dropout = nn.Dropout(float(config.hidden_dropout_prob if after else config.attention_dropout))

    def forward(self, hidden: Tensor, vectors: Tensor, owners: Tensor) -> Tensor:
        """Add to tokens (1, S, D) what they see of the vector of their row: vectors (R, D), owners (S,)."""
        seen = self.output(self.value(vectors))[owners].unsqueeze(0)
        joined: Tensor = self.norm(hidden + self.dropout(seen))
        return joined


class TiedDecoder(nn.Module):
    """The encoder's own embeddings and layers, causal, each with a new cross-attention to one vector.

    Only what is new is registered here: the encoder's parameters stay the encoder's, and get gradients from both
    sides. Initialised from an earlier run, if any (``heads.safetensors``, named ``reconstruction``).

    Attributes:
        cross: the cross-attention of each layer.

    Args:
        encoder: of the families of BERT, RoBERTa or ModernBERT.
        seed: seed of the run, for the new weights.

    Raises:
        UsageError: another family, or weights of an earlier run that do not fit.
    """

    def __init__(self, encoder: TransformerEncoder, seed: int) -> None:
        super().__init__()
        model: Any = encoder.model
        if not encoder.packed or model.config.model_type not in _FAMILIES:
            raise UsageError(
                f"{model.config.model_type}: a decoder of the encoder's own layers supports the families of BERT, "
                "RoBERTa and ModernBERT; add --base with a model of these."
            )
        self._encoder = [encoder]  # in a list, so that its parameters are not registered twice
        self._modern = model.config.model_type == "modernbert"
        with seeded(seed, "decoder"):
            self.cross = nn.ModuleList(OneVector(model.config, after=not self._modern) for _ in self._layers)
        self.new = not start_from(self, kept_heads(encoder), "reconstruction")

    @property
    def _layers(self) -> Any:
        model: Any = self._encoder[0].model
        return model.layers if self._modern else model.encoder.layer

    def forward(self, vectors: Tensor, rows: Rows) -> Tensor:
        """Decode rows from left to right.

        Args:
            vectors: (R, D), what each row may look at.
            rows: R rows, each a text without its last token.

        Returns:
            States (S, D) in the order of ``rows``; that of a token knows the tokens up to it, and the vector.
        """
        packing = lay_out(rows, vectors.device)
        tokens = packing.ids.unsqueeze(0)
        lengths = packing.offsets.diff().long()
        order = torch.argsort(packing.restore_rows)
        owners = torch.repeat_interleave(order, lengths, output_size=tokens.shape[1])
        run = self._modern_bert if self._modern else self._bert
        return run(tokens, packing, vectors, owners)[0][packing.restore_tokens]

    def _bert(self, tokens: Tensor, packing: Packing, vectors: Tensor, owners: Tensor) -> Tensor:
        encoder = self._encoder[0]
        model: Any = encoder.model
        places = packing.positions.unsqueeze(0) + encoder.first_position
        hidden: Tensor = model.embeddings(input_ids=tokens, position_ids=places)
        for layer, cross in zip(self._layers, self.cross, strict=True):
            hidden, _ = layer.attention(hidden, None, packing=packing, causal=True)
            hidden = layer.feed_forward_chunk(cross(hidden, vectors, owners))
        return hidden

    def _modern_bert(self, tokens: Tensor, packing: Packing, vectors: Tensor, owners: Tensor) -> Tensor:
        model: Any = self._encoder[0].model
        hidden: Tensor = model.embeddings(input_ids=tokens)
        places = packing.positions.unsqueeze(0)
        rotary = {kind: model.rotary_emb(hidden, places, kind) for kind in set(model.config.layer_types)}
        for layer, cross in zip(self._layers, self.cross, strict=True):
            attended, _ = layer.attn(
                layer.attn_norm(hidden),
                position_embeddings=rotary[layer.attention_type],
                attention_mask=None,
                packing=packing,
                causal=True,
            )
            hidden = cross(hidden + attended, vectors, owners)
            hidden = hidden + layer.mlp(layer.mlp_norm(hidden))
        last: Tensor = model.final_norm(hidden)
        return last
