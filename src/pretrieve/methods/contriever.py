"""Contriever: two independent crops of one window are a pair; negatives from a momentum queue or from the batch.

Izacard et al., *Unsupervised dense information retrieval with contrastive learning*, TMLR 2022, arXiv 2112.09118.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from pretrieve.core.errors import UsageError
from pretrieve.core.rng import generator
from pretrieve.core.types import Batch, IntArray, SpecialTokens
from pretrieve.methods import Card, Preset, Value
from pretrieve.models.encoder import Encoder
from pretrieve.models.losses import in_batch_softmax, queue_softmax
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.text.batches import Address
from pretrieve.text.edits import Edits
from pretrieve.text.pairs import (
    PairDescription,
    describe,
    lengths_by_ratio,
    lengths_by_tokens,
    pair_batch,
    place,
)
from pretrieve.text.sources import Concatenated, Source, TokenStore, Windows
from pretrieve.text.spans import lay_out, surround

CARD = Card(
    title="Contriever: contrastive learning on independent crops",
    paper="Izacard, Caron, Hosseini, Riedel, Bojanowski, Joulin, Grave: Unsupervised Dense Information Retrieval with "
    "Contrastive Learning, TMLR 2022, arXiv 2112.09118",
    idea="Two random crops (5 to 50 %) of a 256-token window, with 10 % of their tokens deleted, are a query and its "
    "key. Crops may overlap, so exact words count, and both sides look alike. Negatives are 131,072 keys that a slowly "
    "moving copy of the encoder made in earlier steps (MoCo).",
    released="Mean pooling, dot product without normalisation, temperature 0.05, no projection. Windows of one long "
    "stream that straddle documents; only the queue gives negatives, and crops of the same document may be among them. "
    "Keys are always encoded with dropout, whatever the flag says. Mask and replace cannot run; shuffle loses tokens.",
    differs="Windows stay inside documents and same-document keys are masked unless the preset says otherwise; keys "
    "are encoded without dropout unless it says otherwise; deleting never empties a crop; shuffle is a permutation; a "
    "document's title is part of the concatenated stream.",
    good_for="Running text; hundreds of documents and more. Not for very short texts, whose crops are not queries.",
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What can be set.

    Attributes:
        loss: negatives from the momentum queue, or from the batch.
        window: tokens of a window, without special tokens.
        concat: windows over all documents laid end to end (published) instead of inside each document.
        ratio_min: shortest crop, as a part of the window.
        ratio_max: longest crop, as a part of the window.
        min_tokens: shortest crop in tokens, where ``max_tokens`` is set.
        max_tokens: longest crop in tokens; 0 to use the ratios.
        delete: rate of deleted tokens.
        replace: rate of tokens replaced by random ones.
        mask: rate of tokens replaced by the mask token.
        shuffle: rate of tokens that change places.
        queue: keys remembered; a multiple of the batch size.
        momentum: of the slow encoder that makes the keys.
        temperature: divides the similarities.
        label_smoothing: share of the target spread over all keys.
        normalise_query: divide queries by their norm; none: where the encoder is compared by cosine.
        normalise_key: the same for keys.
        key_dropout: encode the queue's keys with dropout, as the released code does.
        mask_same_document: keys of the query's own document are no negatives.
        coefficient: power of the groups' shares: 0 gives every language or source the same weight, 1 its size.
    """

    loss: Literal["moco", "inbatch"] = "moco"
    window: int = 256
    concat: bool = False
    ratio_min: float = 0.05
    ratio_max: float = 0.5
    min_tokens: int = 0
    max_tokens: int = 0
    delete: float = 0.1
    replace: float = 0.0
    mask: float = 0.0
    shuffle: float = 0.0
    queue: int = 131072
    momentum: float = 0.9995
    temperature: float = 0.05
    label_smoothing: float = 0.0
    normalise_query: bool | None = None
    normalise_key: bool | None = None
    key_dropout: bool = False
    mask_same_document: bool = True
    coefficient: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.ratio_min <= self.ratio_max <= 1.0:
            raise UsageError(f"ratio_min={self.ratio_min}, ratio_max={self.ratio_max}: set 0 < min <= max <= 1.")
        if self.max_tokens and not 1 <= self.min_tokens <= self.max_tokens:
            raise UsageError(f"min_tokens={self.min_tokens}: set it between 1 and max_tokens={self.max_tokens}.")
        if self.window < 2 or self.queue < 1 or self.temperature <= 0:
            raise UsageError("window is at least 2, queue at least 1 and temperature above 0.")
        if not 0.0 <= self.momentum <= 1.0 or not 0.0 <= self.label_smoothing < 1.0:
            raise UsageError("momentum and label_smoothing lie between 0 and 1.")

    @property
    def edits(self) -> Edits:
        """The four rates of edits."""
        return Edits(delete=self.delete, shuffle=self.shuffle, replace=self.replace, mask=self.mask)

    @property
    def longest(self) -> int:
        """Tokens of the longest crop, without special tokens."""
        return min(self.max_tokens, self.window) if self.max_tokens else max(1, int(self.window * self.ratio_max))


_PAIRS: Mapping[str, Value] = {
    "window": Value(256, "paper", "appendix A.1; --chunk_length 256"),
    "ratio_min": Value(0.05, "paper", "appendix A.1 and contriever.sh; the README says 0.1"),
    "ratio_max": Value(0.5, "paper", "appendix A.1"),
    "delete": Value(0.1, "paper", "appendix A.1; --augmentation delete --prob_augmentation 0.1"),
    "coefficient": Value(0.0, "code", "--sampling_coefficient 0: Wikipedia and CCNet half each"),
    "temperature": Value(0.05, "paper", "appendix A.1"),
    "label_smoothing": Value(0.0, "code", "src/options.py"),
    "normalise_query": Value(None, "code", "--norm_query is off: dot product; ours where the encoder is a cosine one"),
    "normalise_key": Value(None, "code", "--norm_doc is off: dot product; ours where the encoder is a cosine one"),
}
_PUBLISHED: Mapping[str, Value] = {
    **_PAIRS,
    "loss": Value("moco", "paper", "section 3.2"),
    "queue": Value(131072, "paper", "appendix A.1"),
    "momentum": Value(0.9995, "paper", "appendix A.1"),
    "concat": Value(True, "code", "src/data.py: one stream of tokens, an offset drawn anew each epoch"),
    "mask_same_document": Value(False, "code", "src/moco.py keeps no document of a key"),
    "key_dropout": Value(True, "code", "src/moco.py: the guard around eval() never fires"),
}
_TRAINING: Mapping[str, Value] = {
    "batch_size": Value(2048, "paper", "appendix A.1: 32 processes of 64"),
    "steps": Value(500_000, "paper", "appendix A.1"),
    "learning_rate": Value(5e-5, "paper", "appendix A.1"),
    "schedule": Value("linear", "code", "contriever.sh"),
    "warmup": Value(0.04, "code", "contriever.sh: 20,000 of 500,000 steps"),
    "beta1": Value(0.9, "code", "src/options.py"),
    "beta2": Value(0.98, "code", "src/options.py"),
    "epsilon": Value(1e-6, "code", "src/options.py"),
    "weight_decay": Value(0.01, "code", "src/options.py"),
    "clip": Value(0.0, "code", "train.py does not clip"),
}
_STATIC: Mapping[str, Value] = {
    "batch_size": Value(1024, "ours", "a step of a static encoder takes tens of milliseconds"),
    "learning_rate": Value(0.01, "ours", "word vectors move freely: rates of a transformer do nothing in minutes"),
    "weight_decay": Value(0.0, "ours", "rare words would shrink though they are not seen"),
}
_STATIC_QUEUE: Mapping[str, Value] = {
    **_STATIC,
    "queue": Value(8192, "ours", "a step against 131,072 keys takes seconds on a CPU, and minutes do not fill them"),
}

PRESETS: dict[str, Preset] = {
    "contriever": Preset(
        summary="as published: MoCo with a queue of 131,072, windows of the concatenated stream",
        options=_PUBLISHED,
        training=_TRAINING,
        static=_STATIC_QUEUE,
        encoder={"pooling": Value("mean", "paper", "section 3.2")},
    ),
    "contriever-inbatch": Preset(
        summary="the same pairs inside documents, with the batch as negatives",
        options={
            **_PAIRS,
            "loss": Value("inbatch", "paper", "table 6"),
            "concat": Value(False, "ours", "a pair comes from one document"),
            "mask_same_document": Value(True, "ours", "crops of one document are no negatives of each other"),
        },
        training=_TRAINING,
        static=_STATIC,
        encoder={"pooling": Value("mean", "paper", "section 3.2")},
    ),
    "mcontriever": Preset(
        summary="the multilingual model: languages with equal weight, a queue of 32,768, no deletion",
        options={
            **_PUBLISHED,
            "ratio_min": Value(0.1, "code", "mcontriever.sh"),
            "delete": Value(0.0, "code", "mcontriever.sh: --augmentation none"),
            "queue": Value(32768, "paper", "appendix B"),
            "momentum": Value(0.999, "paper", "appendix B"),
            "coefficient": Value(0.0, "paper", "section 4: equal probability for each language"),
        },
        training={**_TRAINING, "batch_size": Value(4096, "code", "mcontriever.sh: 64 processes of 64")},
        static=_STATIC_QUEUE,
        encoder={"pooling": Value("mean", "paper", "section 3.2")},
    ),
}


class View:
    """Two crops of each window, edited.

    Args:
        store: the documents.
        specials: the encoder's special tokens.
        options: see ``Options``.
        provenance: batches say where each token came from (for ``explain``).
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> None:
        self._edits = options.edits
        self._edits.check(specials)
        self._tokens, self._specials, self._options, self._provenance = (
            np.asarray(store.tokens), specials, options, provenance,
        )  # fmt: skip
        source = Concatenated if options.concat else Windows
        self._source: Source = source(store, options.window, coefficient=options.coefficient)
        self.mixture = self._source.mixture

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one pair of crops of each window (B,)."""
        rng = address.generator("crops")
        spans = self._source.spans(items, address)
        bounds = np.repeat(spans.starts, 2), np.repeat(spans.stops, 2)
        starts, lengths = self._crop(*bounds, rng)
        starts, lengths = surround(starts[:, None], lengths[:, None], self._specials)
        rows, positions = self._edits.apply(self._tokens, lay_out(starts, lengths), self._specials, rng)
        provenance = (positions, starts, lengths) if self._provenance else None
        return pair_batch(rows, spans.documents, provenance=provenance)

    def _crop(self, starts: IntArray, stops: IntArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        sizes, options = stops - starts, self._options
        if options.max_tokens:
            lengths = lengths_by_tokens(sizes, options.min_tokens, options.max_tokens, rng)
        else:
            lengths = lengths_by_ratio(sizes, options.ratio_min, options.ratio_max, rng)
        return place(starts, sizes, lengths, rng), lengths


def view(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> View:
    """Return how documents become pairs of crops."""
    return View(store, specials, options, provenance)


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Say where the two crops of each pair lie and what was done to them (for a batch made with ``provenance``)."""
    return [PairDescription(rows=rows) for rows in describe(batch, np.asarray(store.tokens), specials)]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: the longest crop does not fit the encoder.
    """
    if options.longest + encoder.specials.around() > encoder.max_length:
        raise UsageError(
            f"crops of up to {options.longest} tokens do not fit an encoder of {encoder.max_length}: lower window."
        )
    return MomentumQueue(encoder, options, seed) if options.loss == "moco" else InBatch(encoder, options)


class InBatch(Objective):
    """Softmax over the keys of the whole batch: section 3.2 without a queue; ``src/inbatch.py``."""

    def __init__(self, encoder: Encoder, options: Options) -> None:
        super().__init__()
        self.encoder, self.options = encoder, options

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode crops as "query" and "key", (B, 1, V, D) each."""
        return Encoded(vectors={"query": self.queries(batch), "key": _encoded(self.encoder, batch, 1, self._unit_key)})

    def queries(self, batch: Batch) -> Tensor:
        """Vectors (B, 1, V, D) of the first crops."""
        return _encoded(self.encoder, batch, 0, self._unit_query)

    @property
    def _unit_query(self) -> bool:
        return _or_cosine(self.options.normalise_query, self.encoder)

    @property
    def _unit_key(self) -> bool:
        return _or_cosine(self.options.normalise_key, self.encoder)

    def compare(
        self, mine: dict[str, Tensor], everyone: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of each query's own key against all keys."""
        queries = mine["query"][:, 0, 0]
        exclude = None
        if self.options.mask_same_document:
            documents = torch.as_tensor(batch.documents, device=queries.device)
            exclude = documents[first : first + len(queries), None] == documents
        losses, hits = in_batch_softmax(
            queries,
            everyone["key"][:, 0, 0],
            temperature=self.options.temperature,
            first=first,
            exclude=exclude,
            label_smoothing=self.options.label_smoothing,
        )
        return Loss(value=losses.mean(), statistics={"accuracy": hits.mean()})


class MomentumQueue(InBatch):
    """MoCo: keys by a slow copy of the encoder, negatives from a queue of its earlier keys (section 3.2).

    The published order is: move the slow encoder, encode keys, compare, update, enqueue. Here the slow encoder moves
    after the update, which is the same sequence, as both encoders start equal.

    Attributes:
        slow_encoder: makes the keys; no gradient.
        queue: (K, D) keys; random unit vectors at first.
        queue_documents: (K,) the document of each key, -1 for a random one.
    """

    queue: Tensor
    queue_documents: Tensor

    def __init__(self, encoder: Encoder, options: Options, seed: int) -> None:
        super().__init__(encoder, options)
        self.slow_encoder = deepcopy(encoder).requires_grad_(False)
        noise = generator(seed, "queue").standard_normal((options.queue, encoder.dimensions), dtype=np.float32)
        self.register_buffer("queue", nn.functional.normalize(torch.from_numpy(noise), dim=1))
        self.register_buffer("queue_documents", torch.full((options.queue,), -1, dtype=torch.int64))
        self.train()

    def train(self, mode: bool = True) -> MomentumQueue:
        """Switch to training; the slow encoder has dropout only with ``key_dropout``."""
        super().train(mode)
        self.slow_encoder.train(mode and self.options.key_dropout)
        return self

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode crops as "query" and, by the slow encoder and without gradient, "key", (B, 1, V, D) each."""
        queries = self.queries(batch)
        with torch.no_grad():
            keys = _encoded(self.slow_encoder, batch, 1, self._unit_key)
        return Encoded(vectors={"query": queries, "key": keys})

    def compare(
        self, mine: dict[str, Tensor], everyone: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of each query's own key against the queue.

        Raises:
            UsageError: the queue does not hold a whole number of batches.
        """
        self._check_size(len(everyone["key"]))
        queries = mine["query"][:, 0, 0]
        exclude = None
        if self.options.mask_same_document:
            documents = torch.as_tensor(batch.documents, device=queries.device)[first : first + len(queries)]
            exclude = documents[:, None] == self.queue_documents
        losses, hits = queue_softmax(
            queries,
            mine["key"][:, 0, 0].detach(),
            self.queue,
            temperature=self.options.temperature,
            exclude=exclude,
            label_smoothing=self.options.label_smoothing,
        )
        return Loss(value=losses.mean(), statistics={"accuracy": hits.mean()})

    @torch.no_grad()
    def after_step(self, everyone: dict[str, Tensor], batch: Batch, step: int) -> None:
        """Enqueue all ranks' keys over the oldest, and move the slow encoder a little towards the encoder."""
        keys = everyone["key"][:, 0, 0]
        first = step * len(keys) % len(self.queue)
        self.queue[first : first + len(keys)] = keys
        self.queue_documents[first : first + len(keys)] = torch.as_tensor(batch.documents, device=keys.device)
        slow: list[Tensor] = list(self.slow_encoder.parameters())
        fast: list[Tensor] = list(self.encoder.parameters())
        torch._foreach_lerp_(slow, fast, 1.0 - self.options.momentum)
        for mine, theirs in zip(self.slow_encoder.buffers(), self.encoder.buffers(), strict=True):
            mine.copy_(theirs)

    def _check_size(self, batch_size: int) -> None:
        size = len(self.queue)
        if size % batch_size:
            fit = max(1, round(size / batch_size)) * batch_size
            raise UsageError(f"queue={size} is no multiple of batch_size={batch_size}: set queue={fit}.")


def _encoded(encoder: Encoder, batch: Batch, row: int, unit: bool) -> Tensor:
    vectors: Tensor = encoder(batch.column(row).rows).unsqueeze(1)
    return nn.functional.normalize(vectors, dim=-1) if unit else vectors


def _or_cosine(choice: bool | None, encoder: Encoder) -> bool:
    return encoder.similarity == "cosine" if choice is None else choice
