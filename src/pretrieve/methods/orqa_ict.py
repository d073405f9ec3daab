"""The Inverse Cloze Task: retrieve the block that a sentence was taken from.

Lee, Chang, Toutanova, *Latent retrieval for weakly supervised open domain question answering*, ACL 2019,
arXiv 1906.00300. Also two later forms: Megatron-LM's window, and the random span that Contriever was compared with
(Izacard et al., TMLR 2022).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from pretrieve.core.bounds import TOKENS, WIDTH, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, BoolArray, IntArray, SpecialTokens
from pretrieve.methods import BERT_OPTIMISER, Card, Preset, Value
from pretrieve.methods._bibliography import CONTRIEVER, ICT
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder, untied_query_encoder
from pretrieve.models.heads import Projected
from pretrieve.models.losses import in_batch_softmax, mean_where, same_document
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.models.static import StaticEncoder
from pretrieve.sampling.batches import Address
from pretrieve.sampling.items import Blocks, BlockSpans, TokenStore, Windows
from pretrieve.sampling.pairs import PairDescription, describe, lengths_by_ratio, pair_batch, place
from pretrieve.sampling.spans import CLS, SEP, lay_out, read

CARD = Card(
    title="ORQA: the Inverse Cloze Task",
    paper="Lee, Chang, Toutanova: Latent Retrieval for Weakly Supervised Open Domain Question Answering, ACL 2019, "
    "arXiv 1906.00300",
    papers=(ICT, CONTRIEVER),
    idea="A sentence is a pseudo-question; its block of 288 tokens, with the title, is the positive. In 90 % of the "
    "examples the sentence is removed from the block, so that meaning counts; in 10 % it stays, so that words count.",
    released="One encoder for both sides, though the paper writes two; BERT's tanh pooler, a projection to 128 with "
    "LayerNorm and dropout, no temperature, negatives from a global batch of 4,096; only sentences look for blocks. A "
    "block of one sentence whose sentence is to be removed is discarded. Contriever's code has no such task.",
    differs="The norm after the projection has torch's epsilon of 1e-5 (released: Keras' 1e-3), and the projection "
    "starts as BERT's layers do, normal with deviation 0.02 (released: Glorot uniform). The warm-up is a share of the "
    "steps: set warmup for shorter runs (released: 100 steps at least). A static encoder is trained with AdamW. Title "
    "and body are one segment, as the exported model sees them; a block without a title has one [SEP], not two; the "
    "longest title leaves room for a token of the body. A pair that cannot be used is drawn again from the same group "
    "instead of making the batch shorter. The static encoder has no projection and compares by cosine with a "
    "temperature. Pages of lists and of disambiguation are dropped, and HTML entities read, where documents are read "
    "with --wikipedia. The window form follows the second public version (Megatron-LM): no blocks, a context that "
    "grows around the sentence, no title. contriever-ict takes its negatives from the batch: Contriever's paper tried "
    "this task with a momentum queue only, which was made for sides that look alike.",
    good_for="Questions to passages, running text with sentences. Needs large batches.",
    negatives=("block",),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        form: a sentence and its block with title (ORQA), a sentence and a window that grows around it (Megatron-LM),
            or a random span and the complement of it in its window, without titles (Contriever's paper).
        block: tokens of the longest block or window, title and special tokens included.
        query: maximum length of a query in tokens, special tokens included.
        keep_probability: probability that the sentence stays in its block.
        short: probability that a query is cut to a random length of at least 5 tokens (Megatron-LM).
        ratio_min: minimum length of a span in the complement form, as a fraction of its window.
        ratio_max: maximum length of a span in the complement form, as a fraction of its window.
        encoders: one encoder for queries and blocks (tied) or one for each (untied); tied by default.
        projection: dimensions after projection; 0 for none; by default 128, and 0 for a static encoder.
        dropout: dropout probability after the projection.
        temperature: divisor of similarities; by default 1, or 0.05 for an encoder with cosine similarity.
        mask_same_document: exclude blocks of the query's document from the negatives.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    form: Literal["block", "window", "complement"] = "block"
    block: int = 288
    query: int = 64
    keep_probability: float = 0.1
    short: float = 0.0
    ratio_min: float = 0.05
    ratio_max: float = 0.5
    encoders: Literal["tied", "untied"] = "tied"
    projection: int | None = None
    dropout: float = 0.1
    temperature: float | None = None
    mask_same_document: bool = False
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 8, TOKENS, "block")
        check_bounds(self, 3, TOKENS, "query")
        check_bounds(self, 0, WIDTH, "projection")
        check_bounds(self, 0, 1, "keep_probability", "short", "coefficient")
        check_bounds(self, 0, 1, "dropout", below=True)
        if not 0.0 < self.ratio_min <= self.ratio_max < 1.0:
            raise UsageError(f"ratio_min={self.ratio_min}, ratio_max={self.ratio_max}: 0 < ratio_min <= ratio_max < 1.")
        if self.temperature is not None and self.temperature <= 0:
            raise UsageError(f"temperature={self.temperature}: it is above 0.")


_SHORTEST = 5  # tokens of the shortest query that ``short`` makes

PRESETS: dict[str, Preset] = {
    "orqa-ict": Preset(
        summary="as published: blocks of 288 tokens with titles, 10 % of sentences kept, 128 dimensions",
        options={
            "form": Value("block", "code", "orqa/preprocessing/wiki_preprocessor.py"),
            "block": Value(288, "code", "orqa/experiments/ict_experiment.py: --block_seq_len"),
            "query": Value(64, "code", "orqa/experiments/ict_experiment.py: --query_seq_len"),
            "keep_probability": Value(0.1, "code", "orqa/experiments/ict_experiment.py: --mask_rate 0.9"),
            "encoders": Value("tied", "code", "orqa/models/ict_model.py; the paper writes two encoders"),
            "projection": Value(None, "code", "--projection_size 128; none for a static encoder is ours"),
            "dropout": Value(0.1, "code", "orqa/models/ict_model.py"),
            "temperature": Value(None, "code", "none, so 1; ours is 0.05 where the encoder is compared by cosine"),
            "mask_same_document": Value(False, "code", "orqa/models/ict_model.py: all other blocks are negatives"),
        },
        training={
            "batch_size": Value(4096, "paper", "by the README: --batch_size=4096"),
            "steps": Value(100_000, "code", "README: --num_train_steps=100000"),
            "learning_rate": Value(1e-4, "code", "orqa/experiments/ict_experiment.py: --learning_rate"),
            "warmup": Value(0.1, "code", "ict_model.py: min(10000, max(100, steps / 10)) steps, of 100,000"),
            **BERT_OPTIMISER,
            "optimizer": Value("bert", "code", "ict_model.py: optimization.py of google-research/bert"),
        },
        static={
            "optimizer": Value("adamw", "ours", "the rate was found with it"),
            "batch_size": Value(1024, "ours", "a step of a static encoder takes tens of milliseconds"),
            "learning_rate": Value(0.01, "ours", "word vectors move freely"),
            "weight_decay": Value(0.0, "ours", "decay would shrink the vectors of rare words"),
        },
        encoder={"pooling": Value("bert", "code", "pooled_output: tanh over the first token")},
    ),
    "contriever-ict": Preset(
        summary="the cloze task of Contriever's ablation: a random span of 256 tokens and what is left around it",
        options={
            "form": Value("complement", "paper", "Contriever: a random span and its complement"),
            "block": Value(258, "paper", "Contriever, appendix A.1: documents of 256 tokens, special tokens apart"),
            "query": Value(130, "ours", "no span is cut"),
            "keep_probability": Value(0.0, "paper", "Contriever: the complement"),
            "ratio_min": Value(0.05, "ours", "the lengths were not published: those of Contriever's crops"),
            "ratio_max": Value(0.5, "ours", "the lengths were not published: those of Contriever's crops"),
            "encoders": Value("tied", "paper", "Contriever: the same encoder for both sides"),
            "projection": Value(0, "code", "Contriever has no projection"),
            "dropout": Value(0.0, "code", "there is no projection for it to follow"),
            "temperature": Value(0.05, "paper", "Contriever, appendix A.1"),
        },
        training={
            "batch_size": Value(2048, "paper", "Contriever, the comparison of tables 6 to 9"),
            "steps": Value(200_000, "paper", "Contriever, the comparison of tables 6 to 9"),
            "learning_rate": Value(5e-5, "paper", "Contriever, appendix A.1, of its final model"),
            "warmup": Value(0.04, "ours", "the part that 20,000 of 500,000 steps are in Contriever's script"),
            "beta2": Value(0.98, "code", "Contriever, src/options.py"),
        },
        static={
            "batch_size": Value(1024, "ours", "a step of a static encoder takes tens of milliseconds"),
            "learning_rate": Value(0.01, "ours", "word vectors move freely"),
            "weight_decay": Value(0.0, "ours", "decay would shrink the vectors of rare words"),
        },
        encoder={"pooling": Value("mean", "paper", "Contriever")},
    ),
}


class Sampler:
    """A sentence and its block, or its window.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        options: options of the method.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> None:
        self._tokens, self._specials = np.asarray(store.tokens), specials
        self._options, self._provenance = options, provenance
        titles = np.asarray(store.bodies) - np.asarray(store.starts)
        self._starts, self._titles = np.asarray(store.starts), titles * (options.form == "block")
        self._blocks = Blocks(
            store,
            options.block if options.form == "block" else None,
            around=specials.around() + (specials.sep is not None),
            least=1 if options.keep_probability else 2,
            coefficient=options.coefficient,
        )
        self._windows = Windows(store, options.block - specials.around(), coefficient=options.coefficient)
        self.mixture = (self._windows if options.form == "complement" else self._blocks).mixture

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one pair of each block (B,); where that cannot be, of another block of the same group."""
        rng = address.generator("ict")
        if self._options.form == "complement":
            kept = rng.random(len(items)) < self._options.keep_probability
            documents, *context = self._windows.spans(items, address)
            sentence = self._random_spans(context[0], context[1], rng)
        else:
            blocks, kept = self._usable(items, rng)
            chosen = blocks.first + (rng.random(len(items)) * (blocks.last - blocks.first)).astype(np.int64)
            documents, sentence = blocks.documents, self._blocks.sentence(chosen)
            context = [*self._context(blocks, chosen, kept)]
        starts, lengths = self._pieces(documents, self._query(sentence, rng), sentence, (context[0], context[1]), kept)
        positions = lay_out(starts, lengths)
        rows = read(self._tokens, positions, self._specials)
        provenance = (positions, starts, lengths) if self._provenance else None
        return pair_batch(rows, documents, provenance=provenance, per_example={"kept": kept})

    def _random_spans(self, starts: IntArray, stops: IntArray, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """A span of each window, never all of it."""
        sizes = stops - starts
        lengths = lengths_by_ratio(sizes, self._options.ratio_min, self._options.ratio_max, rng)
        first = place(starts, sizes, lengths, rng)
        return first, first + lengths

    def _context(self, blocks: BlockSpans, chosen: IntArray, kept: BoolArray) -> tuple[IntArray, IntArray]:
        """Start and stop of what the sentence is taken from: its block, or the window around it."""
        if self._options.form == "window":
            return self._grown(blocks, chosen, kept)
        return self._blocks.sentence(blocks.first)[0], self._blocks.sentence(blocks.last - 1)[1]

    def _usable(self, items: IntArray, rng: np.random.Generator) -> tuple[BlockSpans, BoolArray]:
        """Blocks, and whether the sentence stays; a block of one sentence is only used where it stays."""
        items = items.copy()
        kept = rng.random(len(items)) < self._options.keep_probability
        alone = self._blocks.sizes == 1
        bad = np.flatnonzero(~kept & alone[items])
        while len(bad):
            items[bad] = self.mixture.others(items[bad], rng)
            kept[bad] = rng.random(len(bad)) < self._options.keep_probability
            bad = bad[~kept[bad] & alone[items[bad]]]
        return self._blocks.blocks(items), kept

    def _query(self, sentence: tuple[IntArray, IntArray], rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        """Start and length of each query: its sentence up to the limit, sometimes cut to a shorter one."""
        starts, stops = sentence
        lengths = np.minimum(stops - starts, self._options.query - self._specials.around())
        if self._options.short:
            cut = (rng.random(len(starts)) < self._options.short) & (lengths > _SHORTEST)
            shorter = _SHORTEST + (rng.random(len(starts)) * (lengths - _SHORTEST + 1)).astype(np.int64)
            lengths = np.where(cut, shorter, lengths)
        return starts, lengths

    def _pieces(
        self,
        documents: IntArray,
        query: tuple[IntArray, IntArray],
        sentence: tuple[IntArray, IntArray],
        context: tuple[IntArray, IntArray],
        kept: BoolArray,
    ) -> tuple[IntArray, IntArray]:
        """Starts and lengths (2 B, 6) of [CLS] title [SEP] before after [SEP]; a query has only "before"."""
        count, has_cls, has_sep = len(documents), self._specials.cls is not None, self._specials.sep is not None
        starts, lengths = np.zeros((2, count, 2, 6), np.int64)
        starts[..., 0], starts[..., 2], starts[..., 5] = CLS, SEP, SEP
        lengths[..., 0], lengths[..., 5] = has_cls, has_sep
        starts[:, 0, 3], lengths[:, 0, 3] = query
        room = self._options.block - self._specials.around() - (has_sep and self._options.form != "complement")
        titles = np.minimum(self._titles[documents], room - 1)
        starts[:, 1, 1], lengths[:, 1, 1] = self._starts[documents], titles
        lengths[:, 1, 2] = has_sep & (titles > 0)
        before = np.where(kept, context[1], sentence[0]) - context[0]
        after = np.where(kept, 0, context[1] - sentence[1])
        starts[:, 1, 3], lengths[:, 1, 3] = context[0], np.minimum(before, room - titles)
        starts[:, 1, 4] = sentence[1]
        lengths[:, 1, 4] = np.minimum(after, room - titles - lengths[:, 1, 3])
        return starts.reshape(-1, 6), lengths.reshape(-1, 6)

    def _grown(self, blocks: BlockSpans, chosen: IntArray, kept: BoolArray) -> tuple[IntArray, IntArray]:
        """Context of each sentence: neighbours join in turn, before and after, while they fit; never empty."""
        room = self._options.block - self._specials.around() - (self._specials.sep is not None)
        own = np.subtract(*self._blocks.sentence(chosen)[::-1])
        low, high = chosen.copy(), chosen + 1
        growing = True
        while growing:
            growing = False
            for edge, step in ((low, -1), (high, 1)):
                neighbour = np.clip(edge - (step < 0), blocks.first, blocks.last - 1)
                possible = (low > blocks.first) if step < 0 else (high < blocks.last)
                start = self._blocks.sentence(np.minimum(low, neighbour))[0]
                stop = self._blocks.sentence(np.maximum(high - 1, neighbour))[1]
                fits = possible & (stop - start - np.where(kept, 0, own) <= room)
                edge[fits] += step
                growing |= bool(fits.any())
        start, stop = self._blocks.sentence(low)[0], self._blocks.sentence(high - 1)[1]
        lonely = ~kept & (high - low == 1)  # both neighbours are too long: the one that exists is cut instead
        stop = np.where(lonely & (high < blocks.last), stop + room, stop)
        return np.where(lonely & (high == blocks.last), start - room, start), stop


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> Sampler:
    """Return how documents become pairs of a sentence and its block."""
    return Sampler(store, specials, options, provenance)


def task(options: Options) -> str:
    """Describe the task of an example in a sentence."""
    sought = {"block": "block that each sentence", "window": "window that each sentence"}
    return f"Find the {sought.get(options.form, 'rest of the window that each span')} was taken from, in the batch."


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Describe each sentence and its block (for a batch made with ``provenance``)."""
    rows = describe(batch, np.asarray(store.tokens), specials, ("sentence", "block"))
    notes = np.where(batch.per_example["kept"], "the sentence was kept", "the sentence was removed")
    return [PairDescription(rows=pair, note=str(note)) for pair, note in zip(rows, notes, strict=True)]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: blocks do not fit the encoder.
    """
    if max(options.block, options.query) > encoder.max_length:
        raise UsageError(
            f"blocks of {options.block} tokens do not fit an encoder of {encoder.max_length}: lower block."
        )
    return InverseCloze(encoder, options, seed)


class InverseCloze(Objective):
    """Softmax of each sentence over the blocks of the whole batch (``orqa/models/ict_model.py``).

    Attributes:
        encoder: encoder of blocks, and of queries if tied; projection included.
        query_encoder: encoder of queries, if untied; None otherwise.
    """

    def __init__(self, encoder: Encoder, options: Options, seed: int) -> None:
        super().__init__()
        projection = options.projection
        if projection is None:
            projection = 0 if isinstance(encoder, StaticEncoder) else 128
        if projection and not isinstance(encoder, Projected):  # the projection of an earlier run is trained further
            encoder = Projected(encoder, projection, seed=seed, dropout=options.dropout)
        self.encoder, self.options = encoder, options
        self.query_encoder = untied_query_encoder(encoder) if options.encoders == "untied" else None
        self.temperature = options.temperature or (0.05 if encoder.similarity == "cosine" else 1.0)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode sentences as "query" and blocks as "key", (B, 1, V, D) each."""
        queries = (self.query_encoder or self.encoder)(batch.column(0).rows)
        keys = self.encoder(batch.column(1).rows)
        return Encoded(vectors={"query": queries.unsqueeze(1), "key": keys.unsqueeze(1)})

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of each sentence's block; accuracy overall, with the sentence removed, and with it kept."""
        queries = local_vectors["query"][:, 0, 0]
        exclude = None
        if self.options.mask_same_document:
            exclude = same_document(batch, first, len(queries), queries.device)
        losses, hits = in_batch_softmax(
            queries,
            global_vectors["key"][:, 0, 0],
            similarity=self.encoder.similarity,
            temperature=self.temperature,
            first=first,
            exclude=exclude,
        )
        kept = devices.put(batch.per_example["kept"][first : first + len(queries)], hits.device)
        statistics = {
            "accuracy": hits.mean(),
            "masked_accuracy": mean_where(hits, ~kept),
            "unmasked_accuracy": mean_where(hits, kept),
        }
        return Loss(value=losses.mean(), statistics=statistics)
