"""The transformer encoder: any Hugging Face encoder or decoder, without padding where its class is known to be safe."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretrieve.core.errors import UsageError
from pretrieve.core.types import IntArray, Rows, Similarity, SpecialTokens
from pretrieve.models.encoder import Encoder, Pooling
from pretrieve.models.packed import Packing, attention, lay_out

# Model types whose attention sees rows only through the attention function and whose positions only through
# ``position_ids``: for each of them a test shows that packed equals padded, forward and gradient. Others are padded.
PACKED = frozenset(
    {
        *("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie"),
        *("distilbert", "albert", "modernbert", "nomic_bert", "eurobert"),
    }
)
# Decoders with the same properties: a token sees those before it. Other decoders are padded, and mask by themselves.
DECODERS = frozenset({"qwen2", "qwen3", "llama", "mistral"})
_POSITIONS_AFTER_PADDING = frozenset({"roberta", "xlm-roberta", "camembert"})  # positions start at padding_idx + 1


class TransformerEncoder(Encoder):
    """A stock transformers model with a pooling: rows in, one vector each.

    Attributes:
        model: the stock model; its own dropout is active in training mode only.
        pooling: "mean" over the row, "cls" (its first token), "lasttoken", or "bert" (tanh pooler over the first).
        causal: whether a packed token sees those before it only.
        packed: whether rows run end to end; otherwise they are padded.
        drop_attention: whether attention weights are dropped in training, as the model says; packed only.
        source: folder of the model, which may contain heads of earlier training; None for a new one.

    Args:
        model: any encoder of transformers.
        specials: special tokens of its tokenizer.
        pooling: pooling, as above.
        max_length: maximum length of a row in tokens.
        similarity: similarity function of the vectors after training.

    Raises:
        UsageError: "bert" pooling on a model without a pooler.
    """

    def __init__(
        self,
        model: nn.Module,
        specials: SpecialTokens,
        *,
        max_length: int,
        pooling: Pooling = "mean",
        similarity: Similarity = "dot",
    ) -> None:
        super().__init__()
        config: Any = model.config
        assert pooling in ("mean", "cls", "lasttoken", "bert")
        pooler = getattr(model, "pooler", None)
        if pooling == "bert" and not isinstance(pooler, nn.Module):
            raise UsageError(f"{config.model_type} has no BERT pooler: choose pooling mean or cls.")
        if isinstance(pooler, nn.Module):  # kept, so that the exported model is complete; trained only where used
            pooler.requires_grad_(pooling == "bert")
        self.model, self.pooling, self.specials = model, pooling, specials
        self.dimensions = int(config.hidden_size)
        self.max_length = max_length
        self.similarity = similarity
        self.drop_attention = True
        self.source: Path | None = None
        self.packed, self.causal = packs(config), is_causal(config)
        self._caches = "use_cache" in inspect.signature(model.forward).parameters  # keys and values, of no use here
        if self.packed:
            self._model.set_attn_implementation(attention())

    @property
    def _model(self) -> Any:
        return self.model  # nn.Module's typing of attributes hides what transformers' models can do

    def forward(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        """Encode R rows as (R, 1, D), not normalised.

        Args:
            rows: ragged token ids with their special tokens; no row is empty or longer than ``max_length``.
            segments: token type ids (S,); ignored by models that have none.
        """
        packing = lay_out(rows, self._model.device)
        (states,) = self._states(rows, segments, packing, (-1,))
        return self._pool(states, packing)[packing.restore_rows].unsqueeze(1)

    @property
    def words(self) -> Tensor:
        """The word embeddings, (vocabulary, width): what a masked-language-model head is tied to."""
        weight: Tensor = self._model.get_input_embeddings().weight
        return weight

    def states(
        self,
        rows: Rows,
        segments: IntArray | None = None,
        layers: Sequence[int] = (-1,),
        positions: IntArray | None = None,
    ) -> list[Tensor]:
        """Give hidden states of chosen layers, as masked-language-model methods need them.

        Args:
            rows: as in ``forward``.
            segments: as in ``forward``.
            layers: 0 for the embeddings, k for the output of layer k, -1 for the last.
            positions: position of each token in its row, from 0, (S,); consecutive by default.

        Returns:
            One (S, D) for each of ``layers``, tokens in the order of ``rows``.

        Raises:
            UsageError: ``positions`` are given for a model that is padded.
        """
        packing = lay_out(rows, self._model.device)
        found = self._states(rows, segments, packing, layers, positions)
        return [states[packing.restore_tokens] for states in found]

    def _states(
        self,
        rows: Rows,
        segments: IntArray | None,
        packing: Packing,
        layers: Sequence[int],
        positions: IntArray | None = None,
    ) -> list[Tensor]:
        """Run the model: (S, D) for each of ``layers``, in the layout's order."""
        assert packing.blocks[-1][1] <= self.max_length, "no row is longer than max_length"
        inputs = self._laid_out(segments, packing)
        if self.packed:
            places = packing.positions if positions is None else packing.laid_out(positions)
            inputs["position_ids"] = places.unsqueeze(0) + self.first_position
            inputs["packing"], inputs["drop_attention"] = packing, self.drop_attention
            inputs |= causal_inputs(self._model.config)
        elif positions is not None:
            raise UsageError(f"{self._model.config.model_type}: custom positions need BERT, RoBERTa or ModernBERT.")
        else:
            inputs = _padded(inputs, packing, self.specials.pad)
            inputs |= {"use_cache": False} if self._caches else {}
        output = self._model(**inputs, output_hidden_states=any(layer != -1 for layer in layers))
        chosen = [output.last_hidden_state if layer == -1 else output.hidden_states[layer] for layer in layers]
        if self.packed:
            return [states[0] for states in chosen]
        places = _places(packing)
        return [states.flatten(0, 1)[places] for states in chosen]

    def _laid_out(self, segments: IntArray | None, packing: Packing) -> dict[str, Any]:
        """Token ids, and token types where the model has them, (1, S), in the layout's order."""
        inputs = {"input_ids": packing.ids.unsqueeze(0)}
        if segments is not None and getattr(self._model.config, "type_vocab_size", 0) > 1:
            inputs["token_type_ids"] = packing.laid_out(segments).unsqueeze(0)
        return inputs

    @property
    def first_position(self) -> int:
        """Number of a row's first position in the model's own table."""
        return first_position(self._model.config)

    def _pool(self, states: Tensor, packing: Packing) -> Tensor:
        """Pool (S, D) to (R, D), both in the layout's order."""
        if self.pooling == "mean":
            return packing.means(states)
        if self.pooling == "lasttoken":
            return states[packing.offsets[1:].long() - 1]
        first = states[packing.offsets[:-1].long()]
        if self.pooling == "cls":
            return first
        pooled: Tensor = self._model.pooler(first.unsqueeze(1))
        return pooled


def packs(config: Any) -> bool:
    """Whether a model of transformers runs without padding.

    Args:
        config: configuration of the model.
    """
    return config.model_type in PACKED | DECODERS and not getattr(config, "is_decoder", False)


def is_causal(config: Any) -> bool:
    """Whether a token of a packed model sees those before it only.

    Args:
        config: configuration of the model.
    """
    return config.model_type in DECODERS and bool(getattr(config, "is_causal", True))


def causal_inputs(config: Any) -> dict[str, Any]:
    """What a packed decoder is told beside its tokens: to look back only, and to keep no keys and values.

    Args:
        config: configuration of the model.
    """
    return {"causal": is_causal(config), "use_cache": False} if config.model_type in DECODERS else {}


def first_position(config: Any) -> int:
    """Number of a row's first position in the table of a model of transformers.

    Args:
        config: configuration of the model.
    """
    return int(config.pad_token_id) + 1 if config.model_type in _POSITIONS_AFTER_PADDING else 0


def _places(packing: Packing) -> Tensor:
    """Place of each token (S,), in the layout's order, in rows padded to the longest."""
    lengths, size = packing.offsets.diff(), len(packing.ids)
    rows = torch.arange(len(lengths), device=lengths.device)
    return torch.repeat_interleave(rows, lengths, output_size=size) * packing.blocks[-1][1] + packing.positions


def _padded(inputs: dict[str, Any], packing: Packing, pad: int) -> dict[str, Any]:
    """Lay inputs (1, S) out as (R, longest row), with the mask of the places that are tokens."""
    device, places = packing.offsets.device, _places(packing)
    mask = torch.arange(packing.blocks[-1][1], device=device) < packing.offsets.diff().unsqueeze(1)
    padded = {}
    for name, values in inputs.items():
        padded[name] = torch.full(mask.shape, pad if name == "input_ids" else 0, device=device)
        padded[name].view(-1)[places] = values[0]
    return {**padded, "attention_mask": mask.long()}
