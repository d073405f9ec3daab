"""The masked-language-model head: hidden states in, a distribution over the vocabulary out, tied to the word vectors.

Devlin et al., *BERT*, NAACL 2019. The families differ in activation, biases and the names of their weights only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrieve.core.types import Array, Batch
from pretrieve.models import devices
from pretrieve.models.heads import kept_heads, seeded, start_from
from pretrieve.models.losses import at_least_float32
from pretrieve.models.pretrained import masked_language_model
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.sampling.masking import UNLABELLED

# Where the stock models keep the three parts: dense layer, norm, and the bias of the tied output.
_PARTS = (
    ("cls.predictions.transform.dense", "cls.predictions.transform.LayerNorm", "cls.predictions.decoder"),
    ("lm_head.dense", "lm_head.layer_norm", "lm_head.decoder"),
    ("head.dense", "head.norm", "decoder"),
    ("vocab_transform", "vocab_layer_norm", "vocab_projector"),
    ("generator_predictions.dense", "generator_predictions.LayerNorm", "generator_lm_head"),
)


class LanguageHead(nn.Module):
    """Dense, activation, norm, product with the word vectors, bias.

    Initialised from an earlier run (``heads.safetensors``, named ``language``), otherwise from the checkpoint's head,
    otherwise at random.

    Attributes:
        dense: to the width of the word vectors.
        norm: LayerNorm.
        bias: of each word, (vocabulary,).
        new: whether the head is randomly initialised.

    Args:
        encoder: the transformer whose states and word vectors the head uses.
        seed: seed of the run, for a new head.
    """

    def __init__(self, encoder: TransformerEncoder, seed: int) -> None:
        super().__init__()
        config: Any = encoder.model.config
        vocabulary, width = encoder.words.shape
        modern = config.model_type == "modernbert"
        epsilon = float(getattr(config, "norm_eps" if modern else "layer_norm_eps", 1e-12))
        with seeded(seed, "language-head"):
            self.dense = nn.Linear(encoder.dimensions, width, bias=bool(config.classifier_bias) if modern else True)
            nn.init.normal_(self.dense.weight, std=float(getattr(config, "initializer_range", 0.02)))
        if self.dense.bias is not None:
            nn.init.zeros_(self.dense.bias)
        self.norm = nn.LayerNorm(width, eps=epsilon, bias=bool(config.norm_bias) if modern else True)
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        name = getattr(config, "classifier_activation" if modern else "hidden_act", "gelu")
        from transformers.activations import ACT2FN  # imported here because it takes seconds

        self.activation = ACT2FN[name] if isinstance(name, str) else name
        self.new = not start_from(self, kept_heads(encoder), "language") and not self._starts_from_checkpoint(encoder)

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        """Score every word for states (M, D): (M, vocabulary), given the word vectors (vocabulary, width)."""
        scores: Tensor = F.linear(self.norm(self.activation(self.dense(states))), words, self.bias)
        return scores

    def losses(self, states: Tensor, labels: Array, words: Tensor) -> Tensor:
        """Cross-entropy of each token that has a label: see ``scored``."""
        return self.scored(states, labels, words)[0]

    def scored(self, states: Tensor, labels: Array, words: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of each token that has a label, and whether the true word scores highest.

        Args:
            states: (S, D).
            labels: (S,) the true id, ``UNLABELLED`` where nothing is to be predicted; only the others are scored.
            words: the encoder's word vectors (vocabulary, width).

        Returns:
            Losses (S,) and hits (S,), zero where there is no label.
        """
        where = np.flatnonzero(labels != UNLABELLED)
        index = devices.put(where, states.device)
        scores = at_least_float32(self(states[index], words))
        truth = devices.put(np.asarray(labels[where], np.int64), states.device)
        losses = F.cross_entropy(scores, truth, reduction="none")
        hits = (scores.detach().argmax(dim=1) == truth).to(losses)
        none = scores.new_zeros(len(states))
        return none.index_put((index,), losses), none.index_put((index,), hits)

    def _starts_from_checkpoint(self, encoder: TransformerEncoder) -> bool:
        model = masked_language_model(encoder.source) if encoder.source is not None else None
        modules = dict(model.named_modules()) if model is not None else {}
        for dense, norm, decoder in _PARTS:
            if dense in modules and norm in modules and decoder in modules:
                self.dense.load_state_dict(modules[dense].state_dict())
                self.norm.load_state_dict(modules[norm].state_dict())
                with torch.no_grad():
                    self.bias.copy_(modules[decoder].get_parameter("bias"))
                return True
        return False


def per_example(values: Tensor, batch: Batch) -> Tensor:
    """Sum values of tokens (S,) over each example: (B,)."""
    tokens = np.diff(batch.rows.offsets[:: batch.shape[1]])
    owners = devices.put(np.repeat(np.arange(len(batch)), tokens), values.device)
    summed: Tensor = values.new_zeros(len(batch)).index_add(0, owners, values)
    return summed


def weighted(summed: Tensor, batch: Batch, name: str = "weight") -> Tensor:
    """Sums of token losses (B,) times the batch's weight: their mean over examples is the mean over tokens."""
    return summed * devices.put(np.asarray(batch.per_example[name]), summed.device, summed.dtype)
