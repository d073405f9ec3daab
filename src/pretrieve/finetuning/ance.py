"""ANCE: hard negatives from an index of the documents that the model builds and refreshes during training.

Xiong et al., *Approximate nearest neighbor negative contrastive learning for dense text retrieval*, ICLR 2021,
arXiv 2007.00808. Negatives are drawn from the best 200 documents that are not labelled relevant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrieve.core.bounds import COUNT, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.rng import generator
from pretrieve.core.types import Batch, IntArray, Rows
from pretrieve.finetuning.contrastive import Contrastive, Options
from pretrieve.finetuning.labelled import Labelled
from pretrieve.models.candidates import StaleIndex
from pretrieve.models.encoder import Encoder
from pretrieve.models.inference import query_vectors

_EVERY, _SNAPSHOTS = 500, 5  # maximum steps between snapshots, and minimum snapshots per run
_MORE = 32  # additional documents fetched, since some are relevant


@dataclass(frozen=True, kw_only=True)
class Refresh:
    """Options of the index refresh.

    Attributes:
        every: steps between snapshots of the weights; by default a fifth of the run, at most 500.
        lag: steps until new vectors are used when encoded in the background; 0: training waits for them.
        depth: number of top-ranked documents from which negatives are drawn.
    """

    every: int | None = None
    lag: int = 0
    depth: int = 200

    def __post_init__(self) -> None:
        check_bounds(self, 1, COUNT, "every", "depth")
        check_bounds(self, 0, COUNT, "lag")
        if (self.every is not None and not max(1, self.lag) <= self.every) or self.depth < 1 or self.lag < 0:
            raise UsageError("every and depth are at least 1, and lag is between 0 and every.")

    def over(self, steps: int) -> Refresh:
        """Return the options for a run of ``steps`` steps, with ``every`` set.

        Raises:
            UsageError: ``lag`` exceeds ``every``.
        """
        usual = max(1, min(_EVERY, steps // _SNAPSHOTS))
        return replace(self, every=usual if self.every is None else self.every)


class Ance(Contrastive):
    """The contrastive loss with negatives from the model's stale index.

    Attributes:
        index: vectors of all documents, encoded by a snapshot of the document encoder.

    Args:
        encoder: initial encoder of documents and queries.
        options: see ``contrastive.Options``.
        sampler: the rows of documents, and what is relevant.
        refresh: refresh options for the number of steps (``Refresh.over``).
        seed: seed of the run.
        query_encoder: as for ``Contrastive``.

    Raises:
        UsageError: the loss needs a teacher's scores, or documents have several vectors.
    """

    def __init__(
        self,
        encoder: Encoder,
        options: Options,
        sampler: Labelled,
        refresh: Refresh,
        seed: int,
        query_encoder: Encoder | None = None,
    ) -> None:
        if options.loss != "softmax":
            raise UsageError(
                f"loss={options.loss}: a teacher's scores of new negatives are not known; mine them first."
            )
        if encoder.vectors_per_document > 1:
            raise UsageError("ance supports one vector per document, and this model has several: use mined negatives.")
        assert refresh.every is not None
        super().__init__(encoder, options, sampler.positive, query_encoder)
        self._sampler, self._refresh, self._seed = sampler, refresh, seed
        self._documents = sampler.some
        blocks = _Documents(sampler, self._documents)
        self.index = StaleIndex(_comparable(encoder), blocks, every=refresh.every, lag=refresh.lag)

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Replace the negatives that the sampler drew with hard negatives of the model."""
        count = batch.shape[1] - 2
        if not count:
            return batch
        queries = query_vectors(self.query_encoder or self.encoder, batch.column(0).rows)
        if self.encoder.similarity == "cosine":
            queries = F.normalize(queries, dim=-1)
        number = min(self._refresh.depth + _MORE, len(self._documents))
        found = self._documents[self.index.search(queries, number)]
        keys = np.array(batch.per_example["keys"], np.int64)
        keys[:, 1:] = self._drawn(np.asarray(batch.documents), found, keys[:, 1:], step)
        rows = self._sampler.rows(np.asarray(batch.documents), keys)
        return replace(batch, rows=rows, per_example={**batch.per_example, "keys": keys})

    @torch.no_grad()
    def after_step(self, global_vectors: dict[str, Tensor], batch: Batch, step: int) -> None:
        """Take a snapshot of the document encoder, or start using its vectors, at the steps of the schedule."""
        self.index.after_step(_comparable(self.encoder), step)

    def _drawn(self, queries: IntArray, found: IntArray, instead: IntArray, step: int) -> IntArray:
        """Negatives (B, n) for queries (B,) out of documents (B, number), best first."""
        relevant = self._sampler.positive(*np.broadcast_arrays(queries[:, None], found))
        drawn = instead.copy()
        for row, query in enumerate(queries.tolist()):
            hard = found[row][~relevant[row]][: self._refresh.depth]
            rng = generator(self._seed, f"ance/{query}", step)
            chosen = hard[rng.permutation(len(hard))[: drawn.shape[1]]]
            kept = rng.random(len(chosen)) < self._sampler.hard  # the others remain random
            drawn[row, : len(chosen)][kept] = chosen[kept]
        return drawn


class _Unit(Encoder):
    """An encoder whose vectors have length one, so that inner products are cosines."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.dimensions, self.max_length, self.specials = encoder.dimensions, encoder.max_length, encoder.specials
        self.similarity = "dot"

    def forward(self, rows: Rows, segments: IntArray | None = None) -> Tensor:
        return F.normalize(self.encoder(rows, segments), dim=-1)


def _comparable(encoder: Encoder) -> Encoder:
    return _Unit(encoder) if encoder.similarity == "cosine" else encoder


@dataclass(frozen=True)
class _Documents:
    """The documents with tokens, as blocks of the index."""

    sampler: Labelled
    numbers: IntArray

    @property
    def lengths(self) -> IntArray:
        return self.sampler.passage_lengths(self.numbers)

    def rows(self, blocks: IntArray) -> Rows:
        return self.sampler.passages(self.numbers[blocks])
