"""Fine-tuning on labels: a query against its positive, its hard negatives, and the other documents of the batch.

Karpukhin et al., *Dense passage retrieval for open-domain question answering*, EMNLP 2020, arXiv 2004.04906.
With a teacher's scores: Hofstätter et al., *Improving efficient neural ranking models with cross-architecture knowledge
distillation*, arXiv 2010.02666 (margin MSE), or the divergence from the teacher's distribution over the candidates.

An MVR model uses the same loss: a document's score is that of its best vector. MVR's loss over the vectors of the
positive is added. Without labels a query has one positive; here it may have several, and duplicates of them. The
temperature is constant, because the vectors of a pre-trained model already differ.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Array, Batch, IntArray
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.losses import similarities
from pretrieve.models.objective import Encoded, Loss, Objective

_HALF = 1 << 20
_EXCLUDED = torch.finfo(torch.float32).min
IsPositive = Callable[[IntArray, IntArray], np.ndarray]  # (queries, documents) -> whether each pair is relevant


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        loss: softmax over all documents of the batch, or one of two losses on a teacher's scores.
        encoders: one encoder for queries and documents (tied) or one for each (untied); tied by default.
        temperature: divisor of similarities; by default 1, or 0.05 for an encoder with cosine similarity.
        teacher_temperature: divisor of the teacher's scores (loss "kl").
        local: weight of the loss over the vectors of a query's positive, 0.01 by default, where documents have several
            (MVR, section 3.2). It makes a query prefer one vector, which keeps the vectors different.
    """

    loss: Literal["softmax", "margin-mse", "kl"] = "softmax"
    encoders: Literal["tied", "untied"] = "tied"
    temperature: float | None = None
    teacher_temperature: float = 1.0
    local: float = 0.01

    def __post_init__(self) -> None:
        if self.local < 0:
            raise UsageError("local is at least 0.")
        if (self.temperature is not None and self.temperature <= 0) or self.teacher_temperature <= 0:
            raise UsageError("temperature and teacher_temperature are above 0.")


class Contrastive(Objective):
    """The loss over labelled rows [query, positive, negatives] (``finetuning/labelled.py``).

    Attributes:
        encoder: encoder of documents, and of queries if tied.
        query_encoder: encoder of queries, if untied; None otherwise.
        temperature: divisor of similarities.

    Args:
        encoder: initial encoder of documents and queries.
        options: options of the method.
        is_positive: function that returns whether documents are relevant to queries; those are no negatives.
        query_encoder: the initial query encoder, if the model is untied already; None otherwise.

    Raises:
        UsageError: untied encoders are requested for a model with several vectors per document.
    """

    def __init__(
        self, encoder: Encoder, options: Options, is_positive: IsPositive, query_encoder: Encoder | None = None
    ) -> None:
        super().__init__()
        if query_encoder is None and options.encoders == "untied":
            if encoder.vectors_per_document > 1:
                raise UsageError("encoders=untied: a model with several vectors per document has one encoder for both.")
            query_encoder = deepcopy(encoder)
        self.encoder, self.query_encoder, self.options = encoder, query_encoder, options
        self.is_positive = is_positive
        self.temperature = options.temperature or (0.05 if encoder.similarity == "cosine" else 1.0)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode "query" (B, 1, 1, D) and "key" (B, 1 + n, V, D): the positive and n negatives.

        "document" (B, 1 + n, 1, 2) identifies the documents, because ``prepare`` may have replaced them and other ranks
        do not know.
        """
        queries = (self.query_encoder or self.encoder).queries(batch.column(0).rows)
        keys: Tensor = self.encoder(batch.columns(1, batch.shape[1]).rows)
        return Encoded(
            vectors={
                "query": queries.unsqueeze(1),
                "key": keys.reshape(len(batch), batch.shape[1] - 1, *keys.shape[1:]),
                "document": _as_vectors(batch.per_example["keys"], keys.device),
            }
        )

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of each query's positive among all documents of the batch, or the distance from the teacher."""
        queries = local_vectors["query"][:, 0, 0]
        size = len(queries)
        if self.options.loss != "softmax":
            return self._distil(queries, local_vectors["key"], batch.per_example["teacher"][first : first + size])
        width = global_vectors["key"].shape[1]
        scores = self._scores(queries, global_vectors["key"].flatten(0, 1))
        labels = (torch.arange(size, device=scores.device) + first) * width
        mine_of = np.asarray(batch.documents[first : first + size], np.int64)
        scores = scores.masked_fill(
            self._no_negatives(mine_of, self._documents_of(batch, global_vectors), labels), _EXCLUDED
        )
        losses = F.cross_entropy(scores, labels, reduction="none") + self._local(queries, local_vectors["key"][:, :1])
        return Loss(value=losses.mean(), statistics={"accuracy": (scores.argmax(1) == labels).float().mean()})

    def _local(self, queries: Tensor, positives: Tensor) -> Tensor:
        """Weighted cross-entropy (B,) of the best vector among those of the positive (B, 1, V, D); 0 if V is 1."""
        if positives.shape[2] == 1:
            return queries.new_zeros(len(queries))
        scores = self._own_scores(queries, positives)[:, 0]
        return self.options.local * (scores.logsumexp(1) - scores.amax(1))

    def _own_scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Similarities (B, n, V) of queries (B, D) to the vectors (B, n, V, D) of their own candidates."""
        if self.encoder.similarity == "cosine":
            queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
        return torch.einsum("bd,bnvd->bnv", queries / self.temperature, keys)

    def _scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Best similarity (B, M) of queries (B, D) to any of the vectors of keys (M, V, D)."""
        found = similarities(queries, keys.flatten(0, 1), self.encoder.similarity, self.temperature)
        return found.reshape(len(queries), *keys.shape[:2]).amax(2) if keys.shape[1] > 1 else found

    def _documents_of(self, batch: Batch, global_vectors: dict[str, Tensor]) -> IntArray:
        """The documents (1, M) of all keys: read from the device only where ``prepare`` may have replaced them."""
        if type(self).prepare is Objective.prepare:
            return np.asarray(batch.per_example["keys"], np.int64).reshape(1, -1)
        return _as_numbers(global_vectors["document"]).reshape(1, -1)

    def _no_negatives(self, queries: IntArray, keys: IntArray, labels: Tensor) -> Tensor:
        """Mask (B, M) of documents (1, M) that are relevant to a query, except its label."""
        relevant = self.is_positive(*np.broadcast_arrays(queries[:, None], keys))
        mask = devices.put(relevant, labels.device)
        return mask.scatter(1, labels[:, None], False)

    def _distil(self, queries: Tensor, keys: Tensor, teacher: np.ndarray) -> Loss:
        """Distance between the scores of a query's candidates and the teacher's; unscored candidates are ignored."""
        scores = self._own_scores(queries, keys).amax(2)
        wanted = devices.put(teacher, scores.device, scores.dtype)
        known = ~wanted.isnan()
        wanted = wanted.nan_to_num(0.0)
        if self.options.loss == "margin-mse":
            margins, theirs = scores[:, :1] - scores[:, 1:], wanted[:, :1] - wanted[:, 1:]
            counted = known[:, :1] & known[:, 1:]
            losses = ((margins - theirs) ** 2 * counted).sum(1) / counted.sum(1).clamp(min=1)
        else:
            theirs = (wanted / self.options.teacher_temperature).masked_fill(~known, _EXCLUDED)
            ours = scores.masked_fill(~known, _EXCLUDED)
            losses = F.kl_div(ours.log_softmax(1), theirs.log_softmax(1), log_target=True, reduction="none").sum(1)
            losses = losses * (known.sum(1) > 1)
        return Loss(value=losses.mean(), statistics={"accuracy": (scores.argmax(1) == 0).float().mean()})


def _as_vectors(numbers: Array, device: torch.device) -> Tensor:
    """Whole numbers (B, n) as (B, n, 1, 2): each half is exact in single precision."""
    halves = np.stack(np.divmod(np.asarray(numbers, np.int64), _HALF), axis=-1)
    return devices.put(halves, device).float().unsqueeze(2)


def _as_numbers(vectors: Tensor) -> IntArray:
    halves = vectors.detach().cpu().numpy().astype(np.int64)
    return np.asarray(halves[..., 0] * _HALF + halves[..., 1])
