"""Models of sentence-transformers without padding: their own tokens and pooling, and our packing between them.

Texts go through the model longest first, a budget of tokens at a time. Pooling, normalisation and dense layers are the
model's own, over blocks of rows of equal length, where nothing has to be masked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.types import FloatArray, IntArray, Rows
from pretrieve.models.denormals import without_denormals
from pretrieve.models.inference import parts_of
from pretrieve.models.packed import Packing, attention
from pretrieve.models.transformer import causal_inputs, first_position, packs

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_TOKENIZED = 256  # texts given to the tokenizer at once
_GROUP = 1 << 14  # texts whose tokens are held at once
_PER_TEXT = 256  # tokens of a text by which a batch size becomes a budget of tokens
_FORWARD = {"method": "forward", "method_output_name": "last_hidden_state"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedStock:
    """A model whose transformer runs packed.

    Attributes:
        model: the whole model, which tokenizes.
        task: "query" or "document"; selects one of two untied encoders.
        transformer: its first module.
        pooling: its second.
        rest: what follows.
    """

    model: SentenceTransformer
    task: str
    transformer: Any
    pooling: Any
    rest: tuple[Any, ...]

    @without_denormals()
    @torch.inference_mode()
    def encode(self, texts: Sequence[str], prompt: str, batch_size: int) -> FloatArray:
        """Encode R texts as (R, D), as the model's ``encode`` does.

        Args:
            texts: R texts.
            prompt: what is put before each.
            batch_size: texts of 256 tokens that go through the model at once; more of shorter ones.
        """
        self.model.eval()
        order = np.argsort([-len(text) for text in texts], kind="stable")
        parts = [
            self._encode_group([texts[index] for index in group], prompt, batch_size * _PER_TEXT)
            for group in np.split(order, range(_GROUP, len(order), _GROUP))
        ]
        found = np.empty((len(texts), parts[0].shape[1]), np.float32)
        found[order] = np.concatenate(parts)
        return found

    def _encode_group(self, texts: list[str], prompt: str, budget: int) -> FloatArray:
        rows, segments, prompt_length = self._tokenized(texts, prompt)
        order = np.argsort(-rows.lengths, kind="stable")
        parts = []
        for part in parts_of(rows.lengths[order], budget):
            chosen = order[part]
            types = None if segments is None else segments[rows.places(chosen)]
            parts.append(self._forward(rows.take(chosen), types, prompt_length))
        vectors = torch.cat(parts)
        found = np.empty(vectors.shape, np.float32)
        found[order] = vectors.float().cpu().numpy()
        return found

    def _tokenized(self, texts: list[str], prompt: str) -> tuple[Rows, IntArray | None, int | None]:
        """Rows, token types where the model takes them, and the length of the prompt where there is one."""
        tokens, lengths, types = [], [], []
        length = None
        for start in range(0, len(texts), _TOKENIZED):
            features = self.model.preprocess(texts[start : start + _TOKENIZED], prompt=prompt, task=self.task)
            mask = features["attention_mask"].bool()
            tokens.append(features["input_ids"][mask].numpy())
            lengths.append(mask.sum(dim=1).numpy())
            types.append(features["token_type_ids"][mask].numpy() if "token_type_ids" in features else None)
            length = features.get("prompt_length")
        offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths))])
        known = [values for values in types if values is not None] if self._takes("token_type_ids") else []
        return Rows(np.concatenate(tokens), offsets), np.concatenate(known) if known else None, length

    def _takes(self, name: str) -> bool:
        names = self.transformer.model_forward_params  # None: all
        return names is None or name in names

    def _forward(self, rows: Rows, segments: IntArray | None, prompt_length: int | None) -> Tensor:
        """Vectors (R, D) in the order of ``rows``."""
        inner = self.transformer.model
        packing = Packing.of(rows, inner.device)
        inputs = {
            "input_ids": packing.ids.unsqueeze(0),
            "position_ids": packing.positions.unsqueeze(0) + first_position(inner.config),
        }
        if segments is not None:
            inputs["token_type_ids"] = packing.laid_out(segments).unsqueeze(0)
        states = inner(**inputs, **causal_inputs(inner.config), packing=packing).last_hidden_state[0]
        told = {} if prompt_length is None else {"prompt_length": prompt_length}
        features = {"sentence_embedding": torch.cat([*self._pooled(packing.split(states), told)])}
        for module in self.rest:
            features = module(features)
        return features["sentence_embedding"][packing.restore_rows, : self.model.truncate_dim]

    def _pooled(self, blocks: list[Tensor], told: dict[str, int]) -> Iterator[Tensor]:
        for block in blocks:
            mask = torch.ones(block.shape[:2], dtype=torch.int64, device=block.device)
            yield self.pooling({"token_embeddings": block, "attention_mask": mask, **told})["sentence_embedding"]


def packed_stock(model: SentenceTransformer, task: str) -> PackedStock | None:
    """The packed form of a model; None where packing is not known to be exact.

    From then on its transformer attends packed only: ``model`` is not to be called by itself.

    Args:
        model: a model.
        task: "query" or "document".
    """
    first, *rest = model
    if hasattr(first, "sub_modules"):  # untied encoders
        if task not in first.sub_modules:
            return None
        first, *inner = first.sub_modules[task]
        rest = [*inner, *rest]
    if not rest or not _is_packable(first) or not _is_plain(rest):
        return None
    first.model.set_attn_implementation(attention())
    return PackedStock(model=model, task=task, transformer=first, pooling=rest[0], rest=tuple(rest[1:]))


def _is_packable(first: Any) -> bool:
    """Whether a module is a stock transformer of a class that is known to run packed, on rows that are never empty."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    if not isinstance(first, Transformer) or getattr(first, "query_expansion", None) is not None:
        return False
    config, tokenizer = getattr(first.model, "config", None), first.tokenizer
    return (
        config is not None
        and packs(config)
        and not getattr(config, "output_hidden_states", False)
        and getattr(first, "backend", "torch") == "torch"
        and getattr(first, "transformer_task", "feature-extraction") == "feature-extraction"
        and getattr(first, "modality_config", {"text": _FORWARD}) == {"text": _FORWARD}
        and tokenizer is not None
        and tokenizer.num_special_tokens_to_add() > 0
    )


def _is_plain(rest: list[Any]) -> bool:
    """Whether what follows is a pooling, then modules that take its vector and give a vector."""
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling

    def names(module: Any) -> set[str]:
        sides = ("module_input_name", "module_output_name")
        return {getattr(module, side, "sentence_embedding") for side in sides}

    return type(rest[0]) is Pooling and all(
        type(module) in (Dense, Normalize) and names(module) == {"sentence_embedding"} for module in rest[1:]
    )
