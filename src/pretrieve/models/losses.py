"""Contrastive losses: pure functions of vectors.

All are cross-entropies of a softmax over keys, in float32 or, for such vectors, float64 (van den Oord et al.,
*Representation learning with contrastive predictive coding*, 2018; arXiv 1807.03748, equation 4).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrieve.core.types import Batch, Similarity
from pretrieve.models import devices

_EXCLUDED = torch.finfo(torch.float32).min  # finite, so that a row of excluded keys gives no NaN


def similarities(queries: Tensor, keys: Tensor, similarity: Similarity, temperature: float) -> Tensor:
    """Score every query against every key: (B, M), float32, divided by the temperature.

    Args:
        queries: (B, D).
        keys: (M, D).
        similarity: "dot", or "cosine" (vectors are normalised first).
        temperature: > 0.
    """
    queries, keys = at_least_float32(queries), at_least_float32(keys)
    if similarity == "cosine":
        queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    return (queries / temperature) @ keys.T


def in_batch_softmax(
    queries: Tensor,
    keys: Tensor,
    *,
    similarity: Similarity = "dot",
    temperature: float = 1.0,
    first: int = 0,
    exclude: Tensor | None = None,
    symmetric: bool = False,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """In-batch negatives: the key of query b is key ``first + b``, all other keys are its negatives.

    Args:
        queries: (B, D).
        keys: (M, D), M >= first + B: those of all ranks, and hard negatives if any.
        similarity: "dot" or "cosine".
        temperature: divisor of similarities.
        first: index of the first query's key.
        exclude: (B, M) boolean, True where a key is not used as a negative (same document); a query's own key
            is never excluded.
        symmetric: average with the loss from those B keys to the B queries (their keys' side of the same matrix).
        label_smoothing: share of the target spread evenly over all keys that are not excluded.

    Returns:
        The loss of each query (B,), and whether its own key was the highest (B,), float32.
    """
    scores = similarities(queries, keys, similarity, temperature)
    labels = torch.arange(first, first + len(queries), device=scores.device)
    if exclude is not None:
        exclude = exclude.scatter(1, labels.unsqueeze(1), False)
        scores = scores.masked_fill(exclude, _EXCLUDED)
    losses = _cross_entropy(scores, labels, label_smoothing)
    if symmetric:
        square = scores[:, first : first + len(queries)]
        losses = (losses + _cross_entropy(square.T, labels - first, label_smoothing)) / 2
    return losses, (scores.argmax(dim=1) == labels).float()


def queue_softmax(
    queries: Tensor,
    positives: Tensor,
    queue: Tensor,
    *,
    similarity: Similarity = "dot",
    temperature: float = 1.0,
    exclude: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Negatives from a queue: each query against its own key and all keys of the queue, not those of the batch.

    He et al., *Momentum contrast*, CVPR 2020, algorithm 1, as Contriever uses it (Izacard et al. 2022).

    Args:
        queries: (B, D).
        positives: (B, D), the key of each query.
        queue: (K, D), rows are keys.
        similarity: "dot" or "cosine".
        temperature: divisor of similarities.
        exclude: (B, K) boolean, True where a key of the queue is not used as a negative.
        label_smoothing: as for ``in_batch_softmax``.

    Returns:
        The loss of each query (B,), and whether its own key was the highest (B,), float32.
    """
    queries, positives = at_least_float32(queries), at_least_float32(positives)
    if similarity == "cosine":
        queries, positives = F.normalize(queries, dim=-1), F.normalize(positives, dim=-1)
        queue = F.normalize(at_least_float32(queue), dim=-1)
    own = (queries * positives).sum(dim=-1, keepdim=True) / temperature
    others = similarities(queries, queue, "dot", temperature)
    if exclude is not None:
        others = others.masked_fill(exclude, _EXCLUDED)
    scores = torch.cat([own, others], dim=1)
    labels = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
    return _cross_entropy(scores, labels, label_smoothing), (scores.argmax(dim=1) == 0).float()


def at_least_float32(values: Tensor) -> Tensor:
    """The same values in float32, or in float64 where they are that already."""
    return values if values.dtype == torch.float64 else values.float()


def mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen (B,) among values (B,); NaN where none is. How many there are is not asked of the device."""
    return values.masked_fill(~chosen, 0.0).sum() / chosen.sum()


def _cross_entropy(scores: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    losses = F.cross_entropy(scores, labels, reduction="none")
    if label_smoothing == 0.0:
        return losses
    # torch's own smoothing would spread the target over the excluded keys too
    allowed = scores > _EXCLUDED
    mean = scores.masked_fill(~allowed, 0.0).sum(dim=1) / allowed.sum(dim=1)
    return (1 - label_smoothing) * losses + label_smoothing * (scores.logsumexp(dim=1) - mean)


def same_document(batch: Batch, first: int, count: int, device: torch.device) -> Tensor:
    """Whether examples are of the same document: ``count`` from ``first`` on, against all (count, B_global)."""
    documents = devices.put(batch.documents, device)
    return documents[first : first + count, None] == documents
