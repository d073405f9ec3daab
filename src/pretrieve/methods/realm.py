"""REALM: a language model that retrieves documents to predict masked spans, and so trains the retriever.

Guu, Lee, Tung, Pasupat, Chang, *REALM: Retrieval-augmented language model pre-training*, ICML 2020, arXiv 2002.08909.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.bounds import COUNT, TOKENS, WIDTH, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, IntArray, SpecialTokens
from pretrieve.methods import BERT_OPTIMISER, Card, Preset, Value
from pretrieve.methods._bibliography import REALM
from pretrieve.models import devices
from pretrieve.models.candidates import StaleIndex, choose
from pretrieve.models.encoder import Encoder, untied_query_encoder
from pretrieve.models.heads import Projected, kept_heads, start_from, transformer
from pretrieve.models.inference import query_vectors
from pretrieve.models.language import LanguageHead, weighted
from pretrieve.models.losses import at_least_float32
from pretrieve.models.objective import Encoded, Objective
from pretrieve.models.pretrained import resolve
from pretrieve.models.restore import load_encoder
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.sampling.pairs import PairDescription, RowDescription, describe
from pretrieve.sampling.realm_cloze import Cloze, unmasked, with_blocks
from pretrieve.sampling.salient_spans import salient_spans
from pretrieve.sampling.search_blocks import SearchBlocks
from pretrieve.text.store import Store

CARD = Card(
    title="REALM: retrieval-augmented language modelling",
    paper="Guu, Lee, Tung, Pasupat, Chang: REALM: Retrieval-Augmented Language Model Pre-Training, ICML 2020, "
    "arXiv 2002.08909",
    papers=(REALM,),
    idea="A name, date or quantity of a sentence is masked. A retriever finds blocks for the masked sentence, a reader "
    "predicts the span from each, and the likelihood summed over blocks, weighted by the retriever, is maximised: a "
    "block that helps more than average gains weight. An empty block is always included, for spans that need no block.",
    released="Marginalises every masked token for itself (marginal=token), where the paper writes the product over "
    "tokens (marginal=sequence). Encoders are tied by default; if untied, the document encoder is exported "
    "under the query encoder's name. The reader sees no titles. The index follows the checkpoint that did best by "
    "retrieval utility, and is reloaded when the generators have finished their shards, not at fixed steps. "
    "The data of pre-training were never released.",
    differs="Title and body of a block are one segment for the retriever; the released default is two. Every sentence "
    "with a salient span is visited as often as another; the released generator draws a document and then one of its "
    "spans. The warm-up is a share of the steps, 0.05 for 200,000: set warmup for shorter runs (released: 100 steps "
    "at least). Names are found by rules, or spaCy, not by a BERT trained on CoNLL-2003. Besides the origin, every "
    "block that contains the sentence is excluded, and more are fetched in their place; equal blocks are indexed "
    "once. The index is refreshed at fixed steps, also in the background, so that a run can be repeated and resumed. "
    "The reader starts as a copy of the retriever's transformer, where the paper starts it from BERT; reader=NAME "
    "sets another.",
    good_for="Factual questions. Start from an orqa-ict run (--base FOLDER): from a cold start all blocks are equally "
    "useless and there is little to learn. Watch retrieval_utility: above 0 the blocks help.",
    encoders=("transformer",),
)
CANDIDATES = True  # prepare() adds rows to examples


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        mask: masked tokens: one salient span of a sentence, a random span, or random tokens (15 %).
        tagger: tagger of salient spans: rules, spacy, or spacy:MODEL.
        max_masks: maximum number of masked tokens in a sentence; longer spans are not used.
        query: maximum length of a masked sentence in tokens, special tokens included.
        block: maximum length of a block in tokens, title and special tokens included.
        joint: maximum length of the reader's rows (masked sentence and body) in tokens, within the reader's limit.
        candidates: number of blocks per sentence, the empty one included.
        marginal: sum over blocks for each masked token (released code), or once for all of them (paper).
        refresh: steps between snapshots of the weights for the index.
        update: whether training waits for a new index or continues while it is built in the background.
        lag: steps from a snapshot to the use of its index when built in the background; 1 to ``refresh``.
        encoders: one encoder for sentences and blocks (tied) or one for each (untied); tied by default.
        projection: dimensions of the vectors, by default 128. A base that ends in a projection keeps its own.
        dropout: dropout probability after a new projection.
        reader: folder or hub name of the reader; by default a copy of the retriever's transformer.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    mask: Literal["salient", "span", "token"] = "salient"
    tagger: str = "rules"
    max_masks: int = 10
    query: int = 96
    block: int = 288
    joint: int = 384
    candidates: int = 8
    marginal: Literal["token", "sequence"] = "token"
    refresh: int = 500
    update: Literal["sync", "background"] = "sync"
    lag: int = 100
    encoders: Literal["tied", "untied"] = "tied"
    projection: int | None = None
    dropout: float = 0.1
    reader: str | None = None
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 8, TOKENS, "block")
        check_bounds(self, 4, TOKENS, "query")
        check_bounds(self, self.query + 2, TOKENS, "joint")
        check_bounds(self, 2, 1000, "candidates")  # the empty block is one
        check_bounds(self, 1, 1000, "max_masks")
        check_bounds(self, 1, COUNT, "refresh")
        check_bounds(self, 0, COUNT, "lag")
        check_bounds(self, 1, WIDTH, "projection")
        check_bounds(self, 0, 1, "coefficient")
        check_bounds(self, 0, 1, "dropout", below=True)
        if self.update == "background" and not 1 <= self.lag <= self.refresh:
            raise UsageError(f"lag={self.lag}: in the background it lies between 1 and refresh={self.refresh}.")


PRESETS: dict[str, Preset] = {
    "realm": Preset(
        summary="as published: one salient span masked, 8 candidates with the empty one, a new index every 500 steps",
        options={
            "mask": Value("salient", "paper", "names and dates"),
            "tagger": Value("rules", "ours", "the paper's: a BERT trained on CoNLL-2003"),
            "max_masks": Value(10, "code", "local_launcher.sh: --max_masks=10"),
            "query": Value(96, "code", "local_launcher.sh: --query_seq_len=96"),
            "block": Value(288, "paper", "and local_launcher.sh: --candidate_seq_len=288"),
            "joint": Value(384, "code", "featurization.py: query and candidate together"),
            "candidates": Value(8, "paper", "the empty one included"),
            "marginal": Value("token", "code", "model.py; the paper's is sequence"),
            "refresh": Value(500, "paper", "about every 500 steps"),
            "update": Value("sync", "ours", "the paper's index builder has machines of its own"),
            "encoders": Value("tied", "code", "train_realm.py: --share_embedders"),
            "projection": Value(None, "paper", "128, as ORQA's"),
        },
        training={
            "batch_size": Value(512, "paper", "of pre-training"),
            "steps": Value(200_000, "paper", "of pre-training"),
            "learning_rate": Value(3e-5, "paper", "and train_realm.py: --learning_rate"),
            "warmup": Value(0.05, "code", "model.py: min(10000, max(100, steps / 10)) steps, of 200,000"),
            **BERT_OPTIMISER,
            "optimizer": Value("bert", "code", "model.py: optimization.py of google-research/bert, no bias correction"),
        },
        encoder={"pooling": Value("bert", "code", "pooled_output: tanh over the first token, as ORQA")},
    ),
}


def sampler(store: Store, specials: SpecialTokens, options: Options, provenance: bool = False) -> Cloze:
    """Return how documents become masked sentences."""
    return Cloze(
        store,
        specials,
        mask=options.mask,
        tagger=options.tagger,
        length=options.query,
        max_masks=options.max_masks,
        weighted=options.marginal == "token",
        coefficient=options.coefficient,
        provenance=provenance,
    )


def explain(batch: Batch, store: Store, specials: SpecialTokens) -> list[PairDescription]:
    """Describe what is masked and, if the batch went through ``prepare``, its candidate blocks.

    The batch is made with ``provenance``.
    """
    count = batch.shape[1] // 2
    roles = ("sentence", *["candidate"] * count, *["joint"] * count)
    found = []
    for example, rows in enumerate(describe(batch, np.asarray(store.tokens), specials, roles)):
        blocks: list[RowDescription] = []
        if count:
            chosen = batch.per_example["blocks"][example]
            documents = batch.per_example["block_documents"][example]
            blocks = [replace(rows[2 + place], document=int(documents[place])) for place in np.flatnonzero(chosen >= 0)]
        note = f"{int((batch.column(0).slice(example, example + 1).per_token['labels'] != UNLABELLED).sum())} masked"
        found.append(PairDescription(rows=[rows[0], *blocks], note=note))
    return found


def objective(encoder: Encoder, options: Options, seed: int, store: Store) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: the encoder has no transformer, rows do not fit it, or the reader has another vocabulary.
    """
    for name, longest in (("block", options.block), ("query", options.query)):
        if longest > encoder.max_length:
            raise UsageError(f"{name}={longest} tokens do not fit an encoder of {encoder.max_length}: lower {name}.")
    return Realm(encoder, options, seed, store)


def log_marginal(scores: Tensor, reader: Tensor, hidden: Tensor, marginal: str) -> Tensor:
    """Compute log p(y|x), summed over masked tokens: (B,).

    Args:
        scores: (B, K) inner products of sentence and blocks; the lowest number there is where there is no block.
        reader: (B, K, J) log p(y_j | z, x).
        hidden: (B, J) whether there is a masked token.
        marginal: "token": Σ_j log Σ_z p(z|x) p(y_j|z,x); "sequence": log Σ_z p(z|x) Π_j p(y_j|z,x).
    """
    prior = scores.log_softmax(dim=1)
    if marginal == "sequence":
        return (prior + (reader * hidden.unsqueeze(1)).sum(dim=2)).logsumexp(dim=1)
    return ((prior.unsqueeze(2) + reader).logsumexp(dim=1) * hidden).sum(dim=1)


class Realm(Objective):
    """The marginal likelihood of masked tokens over retrieved blocks.

    Attributes:
        encoder: encoder of blocks, and of sentences if tied; projection included.
        query_encoder: encoder of sentences, if untied; None otherwise.
        reader: the transformer that predicts masked tokens.
        language: the head over its last hidden states.
        index: vectors of all blocks, by an earlier snapshot.
    """

    def __init__(self, encoder: Encoder, options: Options, seed: int, store: Store) -> None:
        super().__init__()
        cold = not isinstance(encoder, Projected)
        inner: Any = transformer(encoder, "realm") if cold else encoder.encoder
        self.options, self.specials = options, encoder.specials
        self.reader = _reader(inner, options)
        self._joint = min(options.joint, self.reader.max_length)
        self.language = LanguageHead(self.reader, seed)
        start_from(self.reader, kept_heads(self.reader), "reader")
        if cold:
            encoder = Projected(encoder, options.projection or 128, seed=seed, dropout=options.dropout)
        self.encoder = encoder
        self.query_encoder = untied_query_encoder(encoder) if options.encoders == "untied" else None
        self.search_blocks = SearchBlocks(store, encoder.specials, options.block)
        lag = options.lag if options.update == "background" else 0
        self.index = StaleIndex(encoder, self.search_blocks, every=options.refresh, lag=lag)
        self.notes = _notes(cold, self.language.new, options, store)

    @torch.no_grad()
    def prepare(self, batch: Batch, step: int) -> Batch:
        """Add K blocks and K rows of the reader to each masked sentence, the empty block first: N = 1 + 2 K."""
        queries, others = query_vectors(self.query_encoder or self.encoder, batch.rows), self.options.candidates - 1
        sentences, answers = unmasked(batch)
        origins = self.search_blocks.of_sentences(np.asarray(batch.per_example["sentence"], np.int64))
        overlap = self.index.overlap(queries, min(others, len(self.search_blocks)))
        found = choose(self.index, self.search_blocks, queries, origins, sentences, answers, others)
        facts = {
            "blocks": found.blocks,
            "block_documents": np.where(found.blocks < 0, -1, self.search_blocks.documents[found.blocks]),
            "hit": found.hits,
            "overlap": np.full(len(batch), np.nan) if overlap is None else overlap,
            "staleness": np.full(len(batch), float(step - int(self.index.built))),
        }
        return with_blocks(batch, found.blocks, self.search_blocks, self._joint, facts)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Compute the loss of each example from the batch that ``prepare`` returned."""
        count = self.options.candidates
        present = np.asarray(batch.per_example["blocks"], np.int64) >= 0
        owners, places = np.nonzero(np.pad(present, ((0, 0), (1, 0)), constant_values=True))
        rows = owners * batch.shape[1] + 1 + places
        queries = (self.query_encoder or self.encoder)(batch.column(0).rows)[:, 0]
        documents = self.encoder(_take(batch, rows).rows)[:, 0]
        owner, place = (devices.put(values, queries.device) for values in (owners, places))
        products = at_least_float32((queries[owner] * documents).sum(dim=1))
        lowest = products.new_full((len(batch), count), torch.finfo(torch.float32).min)
        scores = lowest.index_put((owner, place), products)
        reader, hidden = self._read(_take(batch, rows + count), owners, places, len(batch))
        found = log_marginal(scores, reader, hidden, self.options.marginal)
        with torch.no_grad():
            masks = hidden.sum(dim=1)
            statistics = {
                "retrieval_utility": (found - (reader[:, 0] * hidden).sum(dim=1)) / masks,
                "p_null": scores.softmax(dim=1)[:, 0],
                "masks": masks,
            }
            for name in ("hit", "overlap", "staleness"):
                statistics[name] = devices.put(np.asarray(batch.per_example[name]), found.device, found.dtype)
        return Encoded(vectors={}, example_loss=weighted(-found, batch), statistics=statistics)

    @torch.no_grad()
    def after_step(self, global_vectors: dict[str, Tensor], batch: Batch, step: int) -> None:
        """Refresh the index at the steps of the schedule."""
        self.index.after_step(self.encoder, step)

    def _read(self, joint: Batch, owners: IntArray, places: IntArray, size: int) -> tuple[Tensor, Tensor]:
        """Give log p(y_j | z, x) as (B, K, J), zero where there is nothing, and which of (B, J) there are."""
        labels = joint.per_token["labels"]
        (states,) = self.reader.states(joint.rows, np.asarray(joint.per_token["segments"], np.int64))
        losses = self.language.losses(states, labels, self.reader.words)
        labelled = np.flatnonzero(labels != UNLABELLED)
        rows = np.searchsorted(joint.rows.offsets, labelled, side="right") - 1
        turns = np.arange(len(rows)) - np.searchsorted(rows, rows)
        hidden = np.zeros((size, int(turns.max()) + 1), np.bool_)
        hidden[owners[rows], turns] = True
        shape = (size, self.options.candidates, hidden.shape[1])
        index = tuple(devices.put(part, losses.device) for part in (owners[rows], places[rows], turns))
        read = losses.new_zeros(shape).index_put(index, -losses[devices.put(labelled, losses.device)])
        return read, devices.put(hidden, read.device, read.dtype)


def _reader(inner: TransformerEncoder, options: Options) -> TransformerEncoder:
    """The named reader, or a copy of the retriever's transformer; without a pooler, which would learn nothing.

    Raises:
        UsageError: it does not fit the base.
    """
    found: Any = deepcopy(inner) if options.reader is None else load_encoder(resolve(options.reader))
    reader = transformer(found.encoder if isinstance(found, Projected) else found, "realm's reader")
    if reader.specials.vocabulary != inner.specials.vocabulary or reader.max_length < options.query + 2:
        raise UsageError(
            f"reader={options.reader}: it needs the base's vocabulary, and room for more than query={options.query}."
        )
    if getattr(reader.model, "pooler", None) is not None:
        reader.model.pooler = None  # type: ignore[assignment]
    reader.pooling = "mean"
    return reader.requires_grad_(True)


def _notes(cold: bool, new_head: bool, options: Options, store: Store) -> tuple[str, ...]:
    notes = []
    if cold:
        notes.append(
            "COLD START: the retriever's projection is new, so that all blocks are equally useless at first and it may "
            "learn nothing: train orqa-ict first and give its folder as --base."
        )
    if new_head:
        notes.append("the reader's language head is new: train mlm first, and give its folder as reader=FOLDER.")
    if options.mask == "salient":
        spans = salient_spans(store, options.tagger)
        with_spans, all_of_them = len(np.unique(spans.sentences)), len(store.sentences) - 1
        notes.append(
            f"{len(spans.starts):,} salient spans (by {spans.by}) in {with_spans:,} of {all_of_them:,} sentences; the "
            "other sentences are not used."
        )
        if spans.by == "rare words":
            notes.append(
                "no names, dates or quantities are found, or there is no text to read: rare words stand in for them."
            )
    return tuple(notes)


def _take(batch: Batch, index: IntArray) -> Batch:
    """Rows of a batch by their index (R,), as R examples."""
    places = batch.rows.places(index)
    return Batch(
        rows=batch.rows.take(index),
        shape=(len(index), 1),
        documents=batch.documents[index // batch.shape[1]],
        per_token={name: values[places] for name, values in batch.per_token.items()},
    )
