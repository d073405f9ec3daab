"""BERT's forward pass in NumPy, one row at a time, from the names of its weights: the reference of several tests."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from torch import nn

Weights = Mapping[str, np.ndarray]
EPSILON = 1e-12


def weights(module: nn.Module) -> dict[str, np.ndarray]:
    """All parameters, float64."""
    return {name: value.detach().double().numpy() for name, value in module.named_parameters()}


def linear(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(w: Weights, name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def softmax(x: np.ndarray) -> np.ndarray:
    exponent = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponent / exponent.sum(axis=-1, keepdims=True)


def layer(w: Weights, name: str, x: np.ndarray, heads: int) -> np.ndarray:
    """One layer over a row (T, D)."""
    query, key, value = (
        linear(w, f"{name}.attention.self.{part}", x).reshape(len(x), heads, -1).transpose(1, 0, 2)
        for part in ("query", "key", "value")
    )
    attended = softmax(query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])) @ value
    mixed = linear(w, f"{name}.attention.output.dense", attended.transpose(1, 0, 2).reshape(len(x), -1))
    x = norm(w, f"{name}.attention.output.LayerNorm", x + mixed)
    inner = linear(w, f"{name}.output.dense", gelu(linear(w, f"{name}.intermediate.dense", x)))
    return norm(w, f"{name}.output.LayerNorm", x + inner)


def states(w: Weights, ids: np.ndarray, layers: int, heads: int, prefix: str = "") -> list[np.ndarray]:
    """Embeddings and the output of each layer for one row of ids: ``layers`` + 1 times (T, D)."""
    place = f"{prefix}embeddings."
    x = w[f"{place}word_embeddings.weight"][ids] + w[f"{place}position_embeddings.weight"][: len(ids)]
    found = [norm(w, f"{place}LayerNorm", x + w[f"{place}token_type_embeddings.weight"][0])]
    for number in range(layers):
        found.append(layer(w, f"{prefix}encoder.layer.{number}", found[-1], heads))
    return found


def word_losses(w: Weights, head: str, words: np.ndarray, x: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Cross-entropy of the true words of states (M, D) under a language head, (M,)."""
    scores = norm(w, f"{head}.norm", gelu(linear(w, f"{head}.dense", x))) @ words.T + w[f"{head}.bias"]
    return -np.log(softmax(scores)[np.arange(len(truth)), truth])
