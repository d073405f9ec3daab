"""Relational distillation: train the similarities between texts of a batch to match a teacher's.

Park et al., *Relational knowledge distillation*, CVPR 2019, arXiv 1904.05068, match relations between examples and not
the vectors themselves, so that the student may have other dimensions. That a student learns to place texts as a
teacher does, without labels, is Reimers & Gurevych, *Making monolingual sentence embeddings multilingual using
knowledge distillation*, EMNLP 2020, arXiv 2004.09813.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, BoolArray, FloatArray, IntArray, Rows
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.sampling.batches import Address, Mixture

_KEPT_MOST = 200  # documents


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        temperature: divisor of the cosines of teacher and student before the softmax.
        divergence: weight of the divergence between the softmaxed rows.
        squares: weight of the mean squared difference of cosines.
    """

    temperature: float = 0.1
    divergence: float = 1.0
    squares: float = 10.0

    def __post_init__(self) -> None:
        if self.temperature <= 0 or min(self.divergence, self.squares) < 0 or self.divergence + self.squares <= 0:
            raise UsageError("temperature is above 0, divergence and squares are not below 0, and one is above.")


@dataclass(frozen=True, kw_only=True)
class Taught:
    """Texts encoded by the teacher: documents, and queries drawn from them.

    Attributes:
        rows: R rows of the student's tokens.
        vectors: (R, D) the teacher's unit vectors.
        keys: (N,) row of each document.
        queries: (N, Q) rows of its queries.
        documents: (N,) index of the document in the store.
    """

    rows: Rows
    vectors: FloatArray
    keys: IntArray
    queries: IntArray
    documents: IntArray

    def divided(self) -> tuple[Taught, Taught]:
        """Split by document into a training set and a held-out tenth (at most 200 documents).

        All draws of a document are on the same side, so no text is in both sets.
        """
        own = np.unique(self.documents)
        kept = np.isin(self.documents, own[: min(_KEPT_MOST, len(own) // 10)])
        return self._only(~kept), self._only(kept)

    def _only(self, chosen: BoolArray) -> Taught:
        return replace(self, keys=self.keys[chosen], queries=self.queries[chosen], documents=self.documents[chosen])


class Sampler:
    """Sampler of a query and its document, with their indices into the teacher's vectors.

    Args:
        taught: the texts encoded by the teacher.
    """

    def __init__(self, taught: Taught) -> None:
        self._taught = taught
        self.mixture = Mixture(sizes=np.array([len(taught.keys)], np.int64), shares=np.ones(1))

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one pair of each item (B,)."""
        taught = self._taught
        choice = address.generator("distillation").integers(taught.queries.shape[1], size=len(items))
        queries, keys = taught.queries[items, choice], taught.keys[items]
        return Batch(
            rows=taught.rows.take(np.stack([queries, keys], axis=1).reshape(-1)),
            shape=(len(items), 2),
            documents=taught.documents[items],
            per_example={"query": queries, "key": keys},
        )


class Distillation(Objective):
    """Relational loss between the student's similarities in a batch and the teacher's.

    Args:
        encoder: the student.
        vectors: (R, D) the teacher's vectors, indexed by batches.
        options: options of the loss.
    """

    teacher: Tensor

    def __init__(self, encoder: Encoder, vectors: FloatArray, options: Options) -> None:
        super().__init__()
        self.encoder, self.options = encoder, options
        # not persistent: the vectors are on disk already
        self.register_buffer("teacher", torch.from_numpy(np.asarray(vectors, np.float32)), persistent=False)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode "query" and "key", (B, 1, 1, D) each."""
        query, key = (self.encoder(batch.column(row).rows).unsqueeze(1) for row in (0, 1))
        return Encoded(vectors={"query": query, "key": key})

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Compute the relational loss of queries against all documents, and of documents against all documents."""
        count = len(local_vectors["key"])
        own, all_keys = self._taught(batch, "key"), global_vectors["key"][:, 0, 0]
        parts = []
        for name in ("query", "key"):
            theirs = self._taught(batch, name)[first : first + count]
            parts.append(relational_loss(local_vectors[name][:, 0, 0], all_keys, theirs, own, self.options))
        value = (parts[0][0] + parts[1][0]) / 2
        return Loss(value=value, statistics={"divergence": parts[0][1], "squares": parts[0][2]})

    def _taught(self, batch: Batch, name: str) -> Tensor:
        return self.teacher[devices.put(np.asarray(batch.per_example[name]), self.teacher.device)]


class Anchored(Objective):
    """An objective plus the distillation loss, which keeps the student near its teacher.

    Args:
        objective: the main objective; its encoder is the student.
        anchor: the distillation loss on the same encoder.
        batches: batches of the distillation loss, by step.
        weight: weight of the distillation loss.
    """

    def __init__(
        self, objective: Objective, anchor: Distillation, batches: Callable[[int], Batch], weight: float
    ) -> None:
        super().__init__()
        assert objective.encoder is anchor.encoder
        self.encoder, self.objective, self.anchor = objective.encoder, objective, anchor
        self._batches, self.weight = batches, weight

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode as the main objective does."""
        return self.objective.encode(batch, step)

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Add the anchor's loss on a batch of its own."""
        loss = self.objective.compare(local_vectors, global_vectors, batch, first, step)
        taught = self._batches(step)
        vectors = self.anchor.encode(taught, step).vectors
        held = self.anchor.compare(vectors, vectors, taught, 0, step)
        statistics = {**loss.statistics, "anchor": held.value.detach()}
        return Loss(value=loss.value + self.weight * held.value, statistics=statistics)


def relational_loss(
    queries: Tensor, keys: Tensor, teacher_queries: Tensor, teacher_keys: Tensor, options: Options
) -> tuple[Tensor, Tensor, Tensor]:
    """Compare the cosines of a student with those of its teacher.

    Args:
        queries: (B, D) the student's queries; the norm is ignored.
        keys: (M, D) the student's documents.
        teacher_queries: (B, E) the teacher's queries.
        teacher_keys: (M, E) the teacher's documents.
        options: weights and temperature.

    Returns:
        The loss; the mean over rows of the divergence of the student's softmax from the teacher's; and the mean squared
        difference of cosines.
    """
    ours = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).T
    theirs = F.normalize(teacher_queries, dim=-1) @ F.normalize(teacher_keys, dim=-1).T
    temperature = options.temperature
    divergence = F.kl_div(
        F.log_softmax(ours / temperature, dim=1),
        F.log_softmax(theirs / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )
    squares = (ours - theirs).square().mean()
    return options.divergence * divergence + options.squares * squares, divergence.detach(), squares.detach()
