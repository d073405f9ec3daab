"""Additional layers of a model's architecture over its hidden states: the head of Condenser and coCondenser."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Rows
from pretrieve.models.heads import seeded
from pretrieve.models.packed import Packing, lay_out
from pretrieve.models.transformer import TransformerEncoder


class Layers(nn.Module):
    """New layers with the model's own initialisation, for the families of BERT, RoBERTa and ModernBERT.

    ModernBERT normalises before each part of a layer, so its layers are followed by a norm of their own, as its own
    stack is; BERT's layers end with one.

    Attributes:
        layers: the stock layers.
        norm: after the last of them, where the family normalises first; or else the identity.

    Args:
        encoder: the model whose architecture is used.
        count: number of layers.
        seed: seed of the run, for the initial weights.

    Raises:
        UsageError: the model is of another family.
    """

    def __init__(self, encoder: TransformerEncoder, count: int, seed: int) -> None:
        super().__init__()
        model: Any = encoder.model
        stack = getattr(getattr(model, "encoder", None), "layer", None)
        self._rotary: Any = None
        if stack is None and model.config.model_type == "modernbert":
            stack = model.layers
        if not encoder.packed or stack is None:
            raise UsageError(
                f"{model.config.model_type}: additional layers support the families of BERT, RoBERTa and ModernBERT."
            )
        self._drop_attention = encoder.drop_attention
        number = _like(model.config)
        with seeded(seed, "layers"):
            self.layers = nn.ModuleList(type(stack[0])(model.config, layer_idx=number) for _ in range(count))
            self.layers.apply(model._init_weights)
        self.norm: nn.Module = nn.Identity()
        if model.config.model_type == "modernbert":
            self.norm = nn.LayerNorm(model.config.hidden_size, eps=model.config.norm_eps, bias=model.config.norm_bias)
            self._rotary = [model.rotary_emb]  # in a list, so that the model's module is not a part of this one

    def forward(self, states: Tensor, rows: Rows) -> Tensor:
        """Run the layers over states (S, D) of rows, tokens attending within their row; returns (S, D)."""
        packing = lay_out(rows, states.device)
        hidden = states[packing.tokens].unsqueeze(0)
        for layer in self.layers:
            also = {"drop_attention": self._drop_attention, **self._positions(layer, hidden, packing)}
            hidden = layer(hidden, None, packing=packing, **also)
        last: Tensor = self.norm(hidden[0])
        return last[packing.restore_tokens]

    def _positions(self, layer: nn.Module, hidden: Tensor, packing: Packing) -> dict[str, Any]:
        if self._rotary is None:
            return {}
        places = packing.positions.unsqueeze(0)
        return {"position_embeddings": self._rotary[0](hidden, places, layer.attention_type)}


def _like(config: Any) -> int:
    """Number of the layer whose kind is taken: not the first of ModernBERT, which has no norm, and a global one."""
    kinds = getattr(config, "layer_types", None) or []
    whole = [index for index, kind in enumerate(kinds) if index and kind == "full_attention"]
    return whole[-1] if whole else (1 if len(kinds) > 1 else 0)
