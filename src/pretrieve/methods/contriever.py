"""Contriever: two independent crops of one window are a pair; negatives from a momentum queue or from the batch.

Izacard et al., *Unsupervised dense information retrieval with contrastive learning*, TMLR 2022, arXiv 2112.09118.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from pretrieve.core.bounds import QUEUE, TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, IntArray, SpecialTokens
from pretrieve.methods import Card, Preset, Value
from pretrieve.methods._bibliography import CONTRIEVER
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.groups import Groups
from pretrieve.models.losses import in_batch_softmax, queue_softmax
from pretrieve.models.momentum import KeyQueue, follow
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.sampling.crops import Crops
from pretrieve.sampling.edits import Edits
from pretrieve.sampling.groups import group_notes, kept_groups
from pretrieve.sampling.items import Concatenated, TokenStore, Windows
from pretrieve.sampling.pairs import PairDescription, describe, lengths_by_ratio, lengths_by_tokens

CARD = Card(
    title="Contriever: contrastive learning on independent crops",
    paper="Izacard, Caron, Hosseini, Riedel, Bojanowski, Joulin, Grave: Unsupervised Dense Information Retrieval with "
    "Contrastive Learning, TMLR 2022, arXiv 2112.09118",
    papers=(CONTRIEVER,),
    idea="Two random crops (5 to 50 %) of a 256-token window, with 10 % of their tokens deleted, are a query and its "
    "key. Crops may overlap, so exact words count, and both sides look alike. Negatives are 131,072 keys that a "
    "momentum encoder made in earlier steps (MoCo). mcontriever: crops of 10 to 50 %, no deletion, 32,768 "
    "keys. Over documents in many languages, sampled equally often, words that languages share (names, numbers, "
    "commands) align their vectors: no translations are paired.",
    released="Mean pooling, dot product without normalisation, temperature 0.05, no projection. Windows of one long "
    "stream that cross documents; only the queue has negatives, and crops of the same document may be among them. "
    "Keys are always encoded with dropout, whatever the flag. Mask and replace cannot run; shuffle loses tokens. "
    "A checkpoint that was fine-tuned or trained in-batch reloads with random weights, silently; unknown options are "
    "ignored (the README's --moco_queue does nothing); BERT vocabularies get [CLS] and [SEP] only where the name has "
    "bert- in it; the order of the sampler is ignored, and every rank is seeded alike.",
    differs="Weight decay is on matrices only; the released AdamW decays biases and norms as well. Windows stay "
    "inside documents and same-document keys are masked unless the preset says otherwise; keys are encoded without "
    "dropout unless it says otherwise; deleting never empties a crop; shuffle is a permutation; a document's title is "
    "part of the concatenated stream, one per language, as in the released code. zh in a corpus matches zh-cn and "
    "zh-tw, and nb and nn match no; coefficient 0 repeats a small language as often as needed.",
    good_for="Running text; at least hundreds of documents. Not for very short texts, whose crops are not like "
    "queries. A static encoder learns translations within its domain; across scripts and domains only recall improves.",
    negatives=("key",),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        loss: source of negatives: the momentum queue or the batch.
        window: length of a window in tokens, without special tokens.
        concat: cut windows from all documents concatenated (published) instead of from each document.
        ratio_min: minimum length of a crop, as a fraction of the window.
        ratio_max: maximum length of a crop, as a fraction of the window.
        min_tokens: minimum length of a crop in tokens, if ``max_tokens`` is set.
        max_tokens: maximum length of a crop in tokens; 0 to use the ratios.
        delete: rate of deleted tokens.
        replace: rate of tokens replaced by random ones.
        mask: rate of tokens replaced by the mask token.
        shuffle: rate of permuted tokens.
        queue: number of keys in the queue, a multiple of the batch size.
        momentum: momentum of the encoder of keys.
        temperature: divisor of similarities.
        label_smoothing: share of the target spread over all keys.
        normalise_query: normalise queries; by default for an encoder with cosine similarity.
        normalise_key: the same for keys.
        key_dropout: encode the queue's keys with dropout, as the released code does.
        mask_same_document: exclude keys of the query's document from the negatives.
        mask_other_groups: exclude keys of another language or source than the query's from the negatives, so that the
            loss does not separate languages; random keys of a new queue remain.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
        languages: languages to sample from, by code (``pt`` includes ``pt-BR``); empty for all.
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
    mask_other_groups: bool = False
    coefficient: float = 0.0
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_bounds(self, 2, TOKENS, "window")
        check_bounds(self, 0, TOKENS, "min_tokens", "max_tokens")
        check_bounds(self, 1, QUEUE, "queue")
        check_bounds(self, 0, 1, "coefficient", "delete", "replace", "mask", "shuffle")
        if self.temperature <= 0:
            raise UsageError(f"temperature={self.temperature}: it is above 0.")
        if not 0.0 < self.ratio_min <= self.ratio_max <= 1.0:
            raise UsageError(f"ratio_min={self.ratio_min}, ratio_max={self.ratio_max}: set 0 < min <= max <= 1.")
        if self.max_tokens and not 1 <= self.min_tokens <= self.max_tokens:
            raise UsageError(f"min_tokens={self.min_tokens}: set it between 1 and max_tokens={self.max_tokens}.")
        if not 0.0 <= self.momentum <= 1.0 or not 0.0 <= self.label_smoothing < 1.0:
            raise UsageError("momentum and label_smoothing lie between 0 and 1.")

    @property
    def edits(self) -> Edits:
        """The four rates of edits."""
        return Edits(delete=self.delete, shuffle=self.shuffle, replace=self.replace, mask=self.mask)

    def lengths(self, sizes: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw the length of a crop of each window (R,) by its size (R,)."""
        if self.max_tokens:
            return lengths_by_tokens(sizes, self.min_tokens, self.max_tokens, rng)
        return lengths_by_ratio(sizes, self.ratio_min, self.ratio_max, rng)

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
    "loss": Value("moco", "paper", "appendix A.1"),
    "queue": Value(131072, "paper", "appendix A.1"),
    "momentum": Value(0.9995, "paper", "appendix A.1"),
    "concat": Value(True, "code", "src/data.py: one stream of tokens, an offset drawn anew each epoch"),
    "mask_same_document": Value(False, "code", "src/moco.py keeps no document of a key"),
    "key_dropout": Value(True, "code", "src/moco.py: the guard around eval() never fires"),
}
_TRAINING: Mapping[str, Value] = {
    "batch_size": Value(2048, "paper", "appendix A.1; contriever.sh: 32 processes of 64"),
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
    "weight_decay": Value(0.0, "ours", "decay would shrink the vectors of rare words"),
}
_STATIC_QUEUE: Mapping[str, Value] = {
    **_STATIC,
    "queue": Value(8192, "ours", "a step against 131,072 keys takes seconds on a CPU, and minutes do not fill them"),
}
_MULTILINGUAL: Mapping[str, Value] = {
    **_PUBLISHED,
    "ratio_min": Value(0.1, "code", "mcontriever.sh"),
    "delete": Value(0.0, "code", "mcontriever.sh: --augmentation none"),
    "queue": Value(32768, "paper", "of the multilingual model; mcontriever.sh"),
    "momentum": Value(0.999, "paper", "of the multilingual model; mcontriever.sh"),
    "coefficient": Value(0.0, "paper", "equal probability for each language"),
}
LANGUAGES = (
    "ar", "bn", "da", "de", "en", "es", "fi", "fr", "he", "hu", "it", "id", "ja", "km", "ko", "ms", "nl", "no", "pl",
    "pt", "ru", "sv", "sw", "te", "th", "tr", "vi", "zh-cn", "zh-tw",
)  # fmt: skip
_ENCODER: Mapping[str, Value] = {"pooling": Value("mean", "paper", "mean pooling; src/options.py: average")}
_STATIC_MULTILINGUAL: Mapping[str, Value] = {
    **_STATIC,
    "learning_rate": Value(0.03, "ours", "better on held-out translations of training documents than 0.01"),
    "temperature": Value(0.1, "ours", "better on held-out translations of training documents than 0.05"),
    "loss": Value("inbatch", "ours", "a copy that moves by a thousandth per step has hardly moved after some minutes"),
    "concat": Value(False, "ours", "a pair comes from one document"),
    "mask_same_document": Value(True, "ours", "crops of one document are no negatives of each other"),
    "mask_other_groups": Value(
        True, "ours", "a static encoder separates languages too easily, and translations are negatives"
    ),
}
_MCONTRIEVER = Preset(
    summary="the multilingual model: languages with equal weight, a queue of 32,768, no deletion",
    options=_MULTILINGUAL,
    training={**_TRAINING, "batch_size": Value(4096, "code", "mcontriever.sh: 64 processes of 64")},
    static=_STATIC_MULTILINGUAL,
    encoder=_ENCODER,
)

PRESETS: dict[str, Preset] = {
    "contriever": Preset(
        summary="as published: MoCo with a queue of 131,072, windows of the concatenated stream",
        options=_PUBLISHED,
        training=_TRAINING,
        static=_STATIC_QUEUE,
        encoder=_ENCODER,
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
        encoder=_ENCODER,
    ),
    "mcontriever": _MCONTRIEVER,
    "mcontriever-29": replace(
        _MCONTRIEVER,
        summary="the same on documents of its 29 languages alone",
        options={**_MULTILINGUAL, "languages": Value(LANGUAGES, "paper", "29 languages of CCNet")},
    ),
}


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> Crops:
    """Return how documents become pairs of crops."""
    keep = kept_groups(store.group_names, options.languages)
    kind = Concatenated if options.concat else Windows
    source = kind(store, options.window, coefficient=options.coefficient, keep=keep)
    return Crops(source, store.tokens, specials, options.lengths, options.edits, provenance)


def task(options: Options) -> str:
    """Describe the task of an example in a sentence."""
    negatives = f"a queue of {options.queue:,} earlier keys" if options.loss == "moco" else "the keys of the batch"
    same = "is no negative" if options.mask_same_document else "may be a negative"
    languages = "; keys of other languages are none" if options.mask_other_groups else ""
    return f"Find the key of each query among {negatives}; another key of the same document {same}{languages}."


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Describe the two crops of each pair and their edits (for a batch made with ``provenance``)."""
    return [PairDescription(rows=rows) for rows in describe(batch, np.asarray(store.tokens), specials)]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: the longest crop does not fit the encoder, or no document is in one of the languages.
    """
    longest, room = options.longest, encoder.max_length
    if longest + encoder.specials.around() > room:
        raise UsageError(f"crops of up to {longest} tokens do not fit an encoder of {room}: lower window.")
    moco = options.loss == "moco"
    return MomentumQueue(encoder, options, seed, store) if moco else InBatch(encoder, options, store)


class InBatch(Objective):
    """Softmax over the keys of the whole batch: no queue; ``src/inbatch.py``.

    Statistics are the accuracy, overall and by group (``accuracy/de``); NaN for groups that are not in the batch.
    """

    def __init__(self, encoder: Encoder, options: Options, store: TokenStore) -> None:
        super().__init__()
        keep = kept_groups(store.group_names, options.languages)
        self.encoder, self.options, self.groups = encoder, options, Groups(store, keep)
        choices, cosine = (options.normalise_query, options.normalise_key), encoder.similarity == "cosine"
        self._unit = [cosine if choice is None else choice for choice in choices]
        self.notes = group_notes(store, keep, options.coefficient)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode crops as "query" and "key", (B, 1, V, D) each."""
        return Encoded(vectors={"query": self.queries(batch), "key": _encoded(self.encoder, batch, 1, self._unit[1])})

    def queries(self, batch: Batch) -> Tensor:
        """Vectors (B, 1, V, D) of the first crops."""
        return _encoded(self.encoder, batch, 0, self._unit[0])

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of each query's own key against all keys."""
        queries = local_vectors["query"][:, 0, 0]
        documents = batch.documents[first : first + len(queries)]
        losses, hits = in_batch_softmax(
            queries,
            global_vectors["key"][:, 0, 0],
            temperature=self.options.temperature,
            first=first,
            exclude=self._excluded(documents, devices.put(batch.documents, queries.device)),
            label_smoothing=self.options.label_smoothing,
        )
        return self._loss(losses, hits, documents)

    def _excluded(self, documents: IntArray, keys: Tensor) -> Tensor | None:
        """Mask (B, M) of keys (M,) that are not negatives of queries (B,), by document; None if all are negatives."""
        device, options = keys.device, self.options
        exclude = None
        if options.mask_same_document:
            exclude = devices.put(documents, device)[:, None] == keys
        if options.mask_other_groups:
            groups = self.groups.of(keys, device)
            others = (self.groups.of(documents, device)[:, None] != groups) & (groups >= 0)
            exclude = others if exclude is None else exclude | others
        return exclude

    def _loss(self, losses: Tensor, hits: Tensor, documents: IntArray) -> Loss:
        statistics = {"accuracy": hits.mean(), **self.groups.means("accuracy", hits, documents)}
        return Loss(value=losses.mean(), statistics=statistics)


class MomentumQueue(InBatch):
    """MoCo: keys by a momentum encoder, negatives from a queue of its earlier keys.

    The published order is: update the momentum encoder, encode keys, compare, update, enqueue. Here the momentum
    encoder is updated last, which is the same sequence, because both encoders are equal at first.

    Attributes:
        slow_encoder: momentum encoder of the keys; no gradient.
        queue: the keys of earlier steps.
    """

    def __init__(self, encoder: Encoder, options: Options, seed: int, store: TokenStore) -> None:
        super().__init__(encoder, options, store)
        self.slow_encoder = deepcopy(encoder).requires_grad_(False)
        self.queue = KeyQueue(options.queue, encoder.dimensions, seed)
        self.train()

    def train(self, mode: bool = True) -> MomentumQueue:
        """Set the mode; the momentum encoder has dropout only with ``key_dropout``."""
        super().train(mode)
        self.slow_encoder.train(mode and self.options.key_dropout)
        return self

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode crops as "query" and, by the momentum encoder without gradient, "key", (B, 1, V, D) each."""
        queries = self.queries(batch)
        with torch.no_grad():
            keys = _encoded(self.slow_encoder, batch, 1, self._unit[1])
        return Encoded(vectors={"query": queries, "key": keys})

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of each query's own key against the queue.

        Raises:
            UsageError: the queue does not hold a whole number of batches.
        """
        self.queue.check_size(len(global_vectors["key"]))
        queries = local_vectors["query"][:, 0, 0]
        documents = batch.documents[first : first + len(queries)]
        losses, hits = queue_softmax(
            queries,
            local_vectors["key"][:, 0, 0].detach(),
            self.queue.keys,
            temperature=self.options.temperature,
            exclude=self._excluded(documents, self.queue.documents),
            label_smoothing=self.options.label_smoothing,
        )
        return self._loss(losses, hits, documents)

    @torch.no_grad()
    def after_step(self, global_vectors: dict[str, Tensor], batch: Batch, step: int) -> None:
        """Replace the oldest keys of the queue with all ranks' keys, and update the momentum encoder."""
        self.queue.put(global_vectors["key"][:, 0, 0], batch.documents, step)
        follow(self.slow_encoder, self.encoder, self.options.momentum)


def _encoded(encoder: Encoder, batch: Batch, row: int, unit: bool) -> Tensor:
    vectors: Tensor = encoder(batch.column(row).rows).unsqueeze(1)
    return nn.functional.normalize(vectors, dim=-1) if unit else vectors
