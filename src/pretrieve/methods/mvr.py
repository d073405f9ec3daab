"""MVR: a document has several vectors ("views" in the paper), and a query needs to match one of them.

Zhang, Liang, Gong, Jiang, Duan, *Multi-View Document Representation Learning for Open-Domain Dense Retrieval*,
ACL 2022, arXiv 2203.08372.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrieve.core.bounds import COUNT, TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, BoolArray, IntArray, SpecialTokens
from pretrieve.methods import Card, Preset, Value
from pretrieve.methods._bibliography import MVR
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import transformer
from pretrieve.models.losses import at_least_float32
from pretrieve.models.multi_vector import MultiVectorEncoder, add_viewers
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.sampling.batches import Address
from pretrieve.sampling.items import Blocks, TokenStore
from pretrieve.sampling.pairs import PairDescription, describe
from pretrieve.sampling.spans import Positions, lay_out, offsets_of, read, surround

CARD = Card(
    title="MVR: several vectors per document",
    paper="Zhang, Liang, Gong, Jiang, Duan: Multi-View Document Representation Learning for Open-Domain Dense "
    "Retrieval, ACL 2022, arXiv 2203.08372",
    papers=(MVR,),
    idea="Viewer tokens in front of a document, all at position 0, each give a vector; a query has one, and a "
    "document's score is that of its best vector. A second loss with a small weight makes a query prefer one vector "
    "of its document, and a decreasing temperature lets the vectors diverge slowly.",
    released="No code of the authors is known. The paper is about fine-tuning on labelled pairs, from coCondenser, "
    "with mined negatives; it makes no queries. Equation 8 (temperature) is an image: its form here agrees with text "
    "and ablations.",
    differs="Without labels, several sentences of a block are its queries, so that one block is asked for in several "
    "ways. Queries have a viewer of their own, and share the encoder. Blocks of a query's own document are no "
    "negatives. An epoch of the temperature is a number of steps.",
    good_for="Documents with queries on several aspects, and fine-tuning on pairs. The index grows V-fold.",
    encoders=("transformer",),
    negatives=("block",),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        views: vectors of a document, V.
        queries_per_document: queries of an example, all of them for its document; 1 for labelled pairs.
        block: tokens of the longest block, title and special tokens included, viewers not.
        query: maximum length of a query in tokens, special tokens included.
        keep_probability: probability that a sentence that asks stays in its block.
        local: weight of the loss over the views of the right document.
        temperature: at the first epoch; divides the scores of both losses.
        decay: of the temperature, which is divided by exp(decay) at each epoch.
        coldest: lowest temperature.
        epoch_steps: steps that count as an epoch.
        mask_same_document: exclude blocks of the query's document from the negatives.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    views: int = 8
    queries_per_document: int = 4
    block: int = 288
    query: int = 64
    keep_probability: float = 0.5
    local: float = 0.01
    temperature: float = 1.0
    decay: float = 0.1
    coldest: float = 0.3
    epoch_steps: int = 500
    mask_same_document: bool = True
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 1, 1000, "views", "queries_per_document")
        check_bounds(self, 1, COUNT, "epoch_steps")
        check_bounds(self, 8, TOKENS, "block")
        check_bounds(self, 3, TOKENS, "query")
        check_bounds(self, 0, 1, "keep_probability", "coefficient")
        if self.local < 0 or self.decay < 0 or self.coldest <= 0:
            raise UsageError("local and decay are at least 0, and coldest is above 0.")
        if self.temperature < self.coldest:
            raise UsageError(f"temperature={self.temperature}: it falls, so set it to at least coldest={self.coldest}.")


PRESETS: dict[str, Preset] = {
    "mvr": Preset(
        summary="eight views a document; four sentences of a block are its queries",
        options={
            "views": Value(8, "paper", "8 is best of 4, 6, 8 and 12, on SQuAD"),
            "queries_per_document": Value(4, "ours", "the paper has labels, 1.2 to 2.7 a document"),
            "block": Value(288, "ours", "as ORQA's blocks"),
            "query": Value(64, "ours", "as ORQA's queries"),
            "keep_probability": Value(0.5, "ours", "half of what asks is cut out: both words and meaning count"),
            "local": Value(0.01, "paper", "lambda"),
            "temperature": Value(1.0, "paper", "equation 8, as text and ablations have it"),
            "decay": Value(0.1, "paper", "alpha"),
            "coldest": Value(0.3, "paper", "equation 8, as text and ablations have it"),
            "epoch_steps": Value(500, "ours", "40 epochs, as in the paper, in 20,000 steps"),
            "mask_same_document": Value(True, "ours", "blocks of one document answer the same queries"),
        },
        training={
            "batch_size": Value(128, "paper", "DPR's, which the paper takes over: 16 on each of 8 devices"),
            "steps": Value(20_000, "ours", "40 epochs of 500 steps"),
            "learning_rate": Value(2e-5, "paper", "DPR's, which the paper takes over"),
            "warmup": Value(0.06, "ours", "DPR's 1,237 steps, of 20,000"),
            "schedule": Value("linear", "code", "DPR: after the warm-up a line to zero"),
            "beta1": Value(0.9, "code", "DPR, conf/train/biencoder_nq.yaml"),
            "beta2": Value(0.999, "code", "DPR, conf/train/biencoder_nq.yaml"),
            "epsilon": Value(1e-8, "code", "DPR, conf/train/biencoder_nq.yaml"),
            "weight_decay": Value(0.0, "code", "DPR, conf/train/biencoder_nq.yaml"),
            "clip": Value(2.0, "code", "DPR, conf/train/biencoder_nq.yaml"),
        },
        encoder={"pooling": Value("cls", "ours", "nothing is pooled: viewers stand in place of [CLS]")},
    ),
}


class Sampler:
    """Several sentences of a block, and the block, from which some of them are cut out.

    Rows of an example are its queries and then the block, with its title. A block of n sentences gives at most n - 1
    different queries, over and over where more are wanted, so that something is left of it; the one sentence of a
    block of one stays.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        options: options of the method.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> None:
        self._tokens, self._specials = np.asarray(store.tokens), specials
        self._starts, self._bodies = np.asarray(store.starts), np.asarray(store.bodies)
        self._sentences = np.asarray(store.sentences)
        self._options, self._provenance = options, provenance
        self._blocks = Blocks(store, options.block, around=specials.around(), coefficient=options.coefficient)
        self.mixture = self._blocks.mixture

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make an example of each block (B,): its queries, and what is left of it."""
        rng = address.generator("mvr")
        documents, first, last = self._blocks.blocks(items)
        base = offsets_of(last - first)
        asking = self._asking(base, rng)
        cut = np.zeros(base[-1], bool)
        alone = (last - first) == 1
        chosen = asking.reshape(-1)
        cut[chosen] = (rng.random(base[-1]) >= self._options.keep_probability)[chosen]
        cut[base[:-1][alone]] = False
        number = first[:, None] + asking - base[:-1, None]
        starts, lengths = self._pieces(documents, number, first, last)
        positions = self._without(lay_out(starts, lengths), cut, base, first, self._bodies[documents])
        spans = {"spans": np.stack([starts, starts + lengths], axis=2)} if self._provenance else {}
        return Batch(
            rows=read(self._tokens, positions, self._specials),
            shape=(len(items), self._options.queries_per_document + 1),
            documents=documents,
            per_token={"position": positions.values} if self._provenance else {},
            per_row=spans,
            per_example={"cut": np.add.reduceat(cut.astype(np.int64), base[:-1])},
        )

    def _asking(self, base: IntArray, rng: np.random.Generator) -> IntArray:
        """Which sentences of each block ask, (B, queries), numbered over all blocks of the batch."""
        sizes = np.diff(base)
        order = np.lexsort((rng.random(base[-1]), np.repeat(np.arange(len(sizes)), sizes)))
        different = np.minimum(self._options.queries_per_document, np.maximum(sizes - 1, 1))
        turn: IntArray = np.arange(self._options.queries_per_document) % different[:, None]
        return np.asarray(order[base[:-1, None] + turn])

    def _pieces(
        self, documents: IntArray, number: IntArray, first: IntArray, last: IntArray
    ) -> tuple[IntArray, IntArray]:
        """Starts and lengths (B (queries + 1), 4) of [CLS] title body [SEP]; a query has only "body"."""
        count, queries = number.shape
        starts, lengths = np.zeros((2, count, queries + 1, 2), np.int64)
        begin, stop = self._blocks.sentence(number.reshape(-1))
        starts[:, :-1, 1] = begin.reshape(count, queries)
        most = self._options.query - self._specials.around()
        lengths[:, :-1, 1] = np.minimum(stop - begin, most).reshape(count, queries)
        room = self._options.block - self._specials.around()
        titles = np.minimum((self._bodies - self._starts)[documents], room - 1)
        starts[:, -1, 0], lengths[:, -1, 0] = self._starts[documents], titles
        begin, stop = self._blocks.sentence(first)[0], self._blocks.sentence(last - 1)[1]
        starts[:, -1, 1], lengths[:, -1, 1] = begin, np.minimum(stop - begin, room - titles)
        return surround(starts.reshape(-1, 2), lengths.reshape(-1, 2), self._specials)

    def _without(
        self, positions: Positions, cut: BoolArray, base: IntArray, first: IntArray, bodies: IntArray
    ) -> Positions:
        """Take the sentences that are cut out of the last row of each example."""
        rows = np.repeat(np.arange(len(positions.lengths)), positions.lengths)
        width = self._options.queries_per_document + 1
        examples = rows // width
        inside = (rows % width == width - 1) & (positions.values >= bodies[examples])
        place = np.flatnonzero(inside)
        sentence = np.searchsorted(self._sentences, positions.values[place], side="right") - 1
        owners = examples[place]
        kept = np.ones(len(rows), bool)
        kept[place] = ~cut[base[owners] + sentence - first[owners]]
        lengths = np.bincount(rows[kept], minlength=len(positions.lengths))
        return Positions(positions.values[kept], offsets_of(lengths))


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> Sampler:
    """Return how documents become a block and several sentences that ask for it."""
    return Sampler(store, specials, options, provenance)


def task(options: Options) -> str:
    """Describe the task of an example in a sentence."""
    asked = f"find the block by each of {options.queries_per_document} of its sentences"
    return f"{asked}, through the best of {options.views} views"


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Say where each query and the block lie (for a batch made with ``provenance``)."""
    roles = (*("query",) * (batch.shape[1] - 1), "block")
    rows = describe(batch, np.asarray(store.tokens), specials, roles)
    notes = [f"{number} sentences were cut out of the block" for number in batch.per_example["cut"].tolist()]
    return [PairDescription(rows=each, note=note) for each, note in zip(rows, notes, strict=True)]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder, which gets viewers if it has none.

    Raises:
        UsageError: the encoder is no transformer, has to be padded, is too short, or has another number of views.
    """
    if max(options.block, options.query) > encoder.max_length:
        raise UsageError(
            f"blocks of {options.block} tokens do not fit an encoder of {encoder.max_length}: lower block."
        )
    if not isinstance(encoder, MultiVectorEncoder):
        encoder = add_viewers(transformer(encoder, "mvr"), options.views, seed)
    if encoder.vectors_per_document != options.views:
        raise UsageError(
            f"views={options.views}: this model was trained with {encoder.vectors_per_document}; set that."
        )
    return MultiView(encoder, options)


class MultiView(Objective):
    """Softmax of each query over documents by their best views, and over the views of the right one.

    It takes any batch whose rows are ``options.queries_per_document`` queries, their document and, where there are any,
    documents that are wrong for all of them (mined negatives).

    Attributes:
        encoder: of queries and documents.
        options: options of the method.
    """

    encoder: MultiVectorEncoder

    def __init__(self, encoder: MultiVectorEncoder, options: Options) -> None:
        super().__init__()
        self.encoder, self.options = encoder, options
        if encoder.position_table is None:
            self.notes = (
                "this model turns its vectors by position, and other libraries give every viewer a position of its "
                "own: the trained model can be read by pretrieve alone.",
            )

    def tau(self, step: int) -> float:
        """Temperature of a step: max(coldest, temperature exp(-decay epoch)) (equation 8)."""
        epoch = step // self.options.epoch_steps
        return max(self.options.coldest, self.options.temperature * math.exp(-self.options.decay * epoch))

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode queries as "query", (B, queries, 1, D), and documents as "key", (B, documents, V, D)."""
        queries = [self.encoder.queries(batch.column(n).rows) for n in range(self.options.queries_per_document)]
        documents = [
            self.encoder(batch.column(n).rows) for n in range(self.options.queries_per_document, batch.shape[1])
        ]
        return Encoded(vectors={"query": torch.stack(queries, 1), "key": torch.stack(documents, 1)})

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Both losses, averaged over my queries; statistics are those of the global batch."""
        tau = self.tau(step)
        queries, keys = at_least_float32(local_vectors["query"][:, :, 0]), at_least_float32(global_vectors["key"])
        width = keys.shape[1]
        scores = view_scores(queries.flatten(0, 1), keys.flatten(0, 1)) / tau  # (queries, documents, V)
        labels = torch.arange(first, first + len(queries), device=keys.device).repeat_interleave(queries.shape[1])
        best = scores.max(dim=2).values
        if self.options.mask_same_document:
            best = best.masked_fill(self._same(batch, labels, width), torch.finfo(best.dtype).min)
        apart = F.cross_entropy(best, labels * width)
        own = scores[torch.arange(len(labels), device=scores.device), labels * width]  # (queries, V)
        local = (own.logsumexp(dim=1) - own.max(dim=1).values).mean()
        accuracy = (best.argmax(dim=1) == labels * width).float().mean()
        with torch.no_grad():
            statistics = collapse(at_least_float32(global_vectors["query"][:, :, 0]), keys[:, 0])
        return Loss(
            value=apart + self.options.local * local,
            statistics={"accuracy": accuracy, "local": local.detach(), **statistics},
        )

    def _same(self, batch: Batch, labels: Tensor, width: int) -> Tensor:
        """Right documents of other examples that are of the query's own document, (queries, documents)."""
        documents = devices.put(np.asarray(batch.documents, np.int64), labels.device)
        same = documents[labels, None] == documents
        same[torch.arange(len(labels), device=labels.device), labels] = False
        found = torch.zeros(*same.shape, width, dtype=torch.bool, device=labels.device)
        found[:, :, 0] = same
        return found.flatten(1)


def view_scores(queries: Tensor, documents: Tensor) -> Tensor:
    """Score every view of every document for every query: (Q, M, V), from (Q, D) and (M, V, D)."""
    scores: Tensor = queries @ documents.flatten(0, 1).T
    return scores.view(len(queries), *documents.shape[:2])


def collapse(queries: Tensor, views: Tensor) -> dict[str, Tensor]:
    """Say how far the views of documents have become one.

    Args:
        queries: (B, queries, D).
        views: (B, V, D) of their documents.

    Returns:
        ``view_entropy``, that of which view is chosen, 0 where it is always the same and 1 where all are chosen
        equally often; ``views_used``, the part of the views that is chosen at least once; ``view_cosine``, the mean
        cosine between two views of a document, 1 where they have collapsed. With one view: 0, 1 and 1.
    """
    count = views.shape[1]
    chosen = (queries @ views.transpose(1, 2)).argmax(dim=2).flatten()
    shares = views.new_zeros(count).index_add(0, chosen, views.new_ones(len(chosen))) / len(chosen)
    entropy = -torch.special.xlogy(shares, shares).sum() / math.log(max(count, 2))
    if count == 1:
        cosine = views.new_ones(())
    else:
        total = F.normalize(views, dim=2).sum(dim=1)  # |sum of unit vectors|^2 = V + all pairs
        cosine = ((total * total).sum(dim=1) - count).mean() / (count * (count - 1))
    return {"view_entropy": entropy, "views_used": (shares > 0).to(views.dtype).mean(), "view_cosine": cosine}
