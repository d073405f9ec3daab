"""coCondenser: Condenser plus a contrastive loss between the [CLS] of two spans of a document.

Gao & Callan, *Unsupervised corpus aware language model pre-training for dense passage retrieval*, ACL 2022,
arXiv 2108.05540.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrieve.core.bounds import TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, IntArray, SpecialTokens
from pretrieve.methods import Card, Preset, Value
from pretrieve.methods._bibliography import COCONDENSER
from pretrieve.methods.condenser import HEAD, TRAINING, Condenser, check_head, checked, head_weights
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import note_new
from pretrieve.models.losses import similarities
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.sampling.batches import Address, mixture
from pretrieve.sampling.items import Blocks, TokenStore
from pretrieve.sampling.masked_passages import MaskedRows
from pretrieve.sampling.pairs import PairDescription, describe
from pretrieve.sampling.spans import offsets_of

CARD = Card(
    title="coCondenser: Condenser with contrasted spans",
    paper="Gao, Callan: Unsupervised Corpus Aware Language Model Pre-training for Dense Passage Retrieval, ACL 2022, "
    "arXiv 2108.05540",
    papers=(COCONDENSER,),
    idea="Two spans of a document are masked and predicted as in Condenser, and the [CLS] of each span is contrasted "
    "with all spans of the batch; the other span is its positive. It starts from a Condenser model with its head: a "
    "random head is likely to damage the model before it learns.",
    released="Dot products of raw [CLS] vectors: no projection, no normalisation, no temperature; every span is a "
    "query, and only the span itself is excluded. With the gradient cache, masked words count twice as much as "
    "without (chunks count spans, their divisor documents). Processes are identified by their local rank, which is "
    "wrong on several machines. Without model.pt in the checkpoint the head is random, without a warning.",
    differs="Masked words have the same weight in full steps, cached steps and on ranks. Spans are whole sentences, "
    "packed up to the length; longer sentences are cut into equal parts. A document that is in a batch twice, which "
    "does not occur in the published epochs, is not its own negative. A missing head is an error.",
    good_for="Starting point for fine-tuning, trained on the documents that will be searched. Fine-tune before search.",
    encoders=("transformer",),
    pretraining_only=True,
    negatives=("span", "other span"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        length: maximum length of a span in tokens, special tokens included; choose that of the later task.
        shortest: minimum length of a span in tokens; shorter spans are left out.
        rate: fraction of tokens masked, in whole words.
        head_layers: number of layers of the head, as in the Condenser run.
        skip_from: layer whose tokens the head reads, 0 for the embeddings; by default half of the model's layers.
        late_mlm: add the loss of the last layer, with the same weight as the head's.
        force_new_head: train with a randomly initialised head if the base has none.
        mask_same_document: exclude other spans of the same document from the negatives.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    length: int = 128
    shortest: int = 8
    rate: float = 0.15
    head_layers: int = 2
    skip_from: int | None = None
    late_mlm: bool = True
    force_new_head: bool = False
    mask_same_document: bool = True
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 8, TOKENS, "length")
        check_bounds(self, 0, 1, "coefficient")
        if not 1 <= self.shortest <= self.length - 2 or self.length < 8:
            raise UsageError(
                f"length={self.length}, shortest={self.shortest}: set length to at least 8, and shortest between 1 "
                "and length - 2."
            )
        if not 0.0 < self.rate < 1.0:
            raise UsageError(f"rate={self.rate}: it lies between 0 and 1, both excluded.")
        check_head(self.head_layers, self.skip_from)


PRESETS: dict[str, Preset] = {
    "cocondenser": Preset(
        summary="as published: two masked spans of a document, dot products of [CLS]; starts from a condenser run",
        options={
            **HEAD,
            "length": Value(128, "ours", "not in the README; its author: about 128 for passages (issue 5)"),
            "shortest": Value(8, "ours", "what is left at the end of a document may be too short to say what it is of"),
            "mask_same_document": Value(
                True, "ours", "no difference in the published batches: a document is there once"
            ),
        },
        training={
            "batch_size": Value(2048, "code", "README: roughly 2,048 documents, so 4,096 spans"),
            "steps": Value(50_000, "ours", "README: 8 epochs, of Wikipedia or of MS MARCO"),
            **TRAINING,
        },
        encoder={"pooling": Value("cls", "code", "modeling.py: the late [CLS]")},
    ),
}


class Spans:
    """Spans of documents that do not overlap: sentences packed up to a length, a title before the first of them.

    A sentence that is longer than the length is cut into equal parts.

    Attributes:
        documents: (items,) those with two spans or more, an item each.
        mixture: the items and the shares of their groups.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        options: ``length``, ``shortest`` and ``coefficient`` are read.
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options) -> None:
        room = options.length - specials.around()
        blocks = Blocks(store, options.length, around=specials.around())
        documents, first, last = blocks.blocks(np.arange(len(blocks.sizes)))
        starts, stops = blocks.sentence(first)[0], blocks.sentence(last - 1)[1]
        bodies = np.asarray(store.bodies)[documents]
        starts = np.where(starts == bodies, np.asarray(store.starts)[documents], starts)
        sizes, parts = stops - starts, -(-(stops - starts) // room)
        part = np.arange(parts.sum()) - np.repeat(offsets_of(parts)[:-1], parts)
        block = np.repeat(np.arange(len(parts)), parts)
        low = starts[block] + sizes[block] * part // parts[block]
        high = starts[block] + sizes[block] * (part + 1) // parts[block]
        long = high - low >= options.shortest
        self._starts, self._lengths = low[long], (high - low)[long]
        counts = np.bincount(documents[block[long]], minlength=len(store.bodies))
        self.documents = np.flatnonzero(counts >= 2)
        self._first, self._counts = offsets_of(counts)[self.documents], counts[self.documents]
        groups = np.asarray(store.groups)[self.documents]
        self.mixture = mixture(groups, len(self.documents), options.coefficient)

    def pairs(self, items: IntArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Starts and lengths (B, 2) of two different spans of each document, every pair and order as likely."""
        counts = self._counts[items]
        one = (rng.random(len(items)) * counts).astype(np.int64)
        other = (rng.random(len(items)) * (counts - 1)).astype(np.int64)
        chosen = self._first[items, None] + np.stack([one, other + (other >= one)], axis=1)
        return self._starts[chosen], self._lengths[chosen]


class Sampler:
    """Two masked spans of each document, drawn anew in every epoch.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        options: options of the method.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> None:
        self._spans = Spans(store, specials, options)
        self.mixture = self._spans.mixture
        self._masked = MaskedRows(store, specials, options.rate, provenance)

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make two masked rows of each document (B,)."""
        starts, lengths = self._spans.pairs(items, address.generator("spans"))
        return self._masked.rows(self._spans.documents[items], starts, lengths, address)


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> Sampler:
    """Return how documents become pairs of masked spans."""
    return Sampler(store, specials, options, provenance)


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Describe the two spans of each document and their masked words (for a batch with ``provenance``)."""
    rows = describe(batch, np.asarray(store.tokens), specials, ("span", "other span"))
    return [PairDescription(rows=pair) for pair in rows]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: as Condenser's; or the base has no head and ``force_new_head`` is not set.
    """
    found = checked(encoder, options.length, "cocondenser")
    missing = not head_weights(found)
    if missing and not options.force_new_head:
        raise UsageError(
            "cocondenser starts from a Condenser run, and this base has no head: train "
            "--method condenser first and give its folder as --base, or add --set force_new_head=true."
        )
    made = CoCondenser(found, options, seed)
    if missing:
        made.notes = (
            "WARNING: the base has no Condenser head, and force_new_head initialises a random one: its first gradients "
            "are likely to damage the model. Train --method condenser first.",
            *note_new(found, language_head=made.language.new),
        )
    made.notes += _left_out(store, found.specials, options)
    return made


def _left_out(store: TokenStore, specials: SpecialTokens, options: Options) -> tuple[str, ...]:
    """A note if many documents are too short for two spans."""
    documents, used = len(store.bodies), len(Spans(store, specials, options).documents)
    if used > documents // 2:
        return ()
    return (
        f"{documents - used:,} of {documents:,} documents have fewer than two spans of up to {options.length} tokens "
        "and are left out: set a smaller length.",
    )


class CoCondenser(Condenser):
    """Condenser's loss of 2 B spans, plus the cross-entropy of each span's partner (``modeling.py``).

    Attributes:
        notes: a warning where the head is new.
    """

    def __init__(self, encoder: TransformerEncoder, options: Options, seed: int) -> None:
        super().__init__(encoder, options, seed)
        self.mask_same_document = options.mask_same_document

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Predict masked words, and return the late [CLS] of both spans, "cls" (B, 2, 1, D)."""
        encoded, cls = self.guessed(batch)
        encoded.vectors = {"cls": cls.reshape(len(batch), 2, 1, -1)}
        return encoded

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of the other span of a document among all spans except the span itself."""
        spans = local_vectors["cls"].flatten(0, 2)
        scores = similarities(spans, global_vectors["cls"].flatten(0, 2), "dot", 1.0)
        own = torch.arange(2 * first, 2 * first + len(spans), device=scores.device)
        partner = (own ^ 1).unsqueeze(1)
        if self.mask_same_document:
            documents = devices.put(np.repeat(batch.documents, 2), scores.device)
            excluded = documents[own, None] == documents
        else:
            excluded = torch.zeros_like(scores, dtype=torch.bool).scatter(1, own.unsqueeze(1), True)
        scores = scores.masked_fill(excluded.scatter(1, partner, False), -torch.inf)
        loss = F.cross_entropy(scores, partner[:, 0])
        hits = (scores.detach().argmax(dim=1) == partner[:, 0]).float()
        return Loss(value=loss, statistics={"contrast": loss.detach(), "accuracy": hits.mean()})
