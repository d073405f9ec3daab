"""RetroMAE: reconstruct a passage from its [CLS] vector with a decoder of one layer; and DupMAE, its second version.

Xiao, Liu, Shao, Cao, *RetroMAE: Pre-training retrieval-oriented language models via masked auto-encoder*, EMNLP 2022,
arXiv 2205.12035; the same, *RetroMAE-2: Duplex masked auto-encoder*, ACL 2023, arXiv 2305.02564.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.bounds import TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Array, Batch, BoolArray, IntArray, Rows, SpecialTokens
from pretrieve.methods import TRAINER_OPTIMISER, Card, Preset, Value
from pretrieve.methods._bibliography import DUPMAE, RETROMAE
from pretrieve.models import devices
from pretrieve.models.decoder import MASKS, EnhancedDecoder, QueryStream
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import note_new, transformer
from pretrieve.models.language import LanguageHead, per_example, weighted
from pretrieve.models.losses import at_least_float32
from pretrieve.models.objective import Encoded, Objective
from pretrieve.models.packed import lay_out
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.sampling.batches import Address
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.masked_passages import MaskedPassages, Passages, token_weight
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.sampling.pairs import PairDescription, describe

CARD = Card(
    title="RetroMAE: reconstruct the passage from its vector",
    paper="Xiao, Liu, Shao, Cao: RetroMAE: Pre-Training Retrieval-oriented Language Models Via Masked Auto-Encoder, "
    "EMNLP 2022, arXiv 2205.12035; RetroMAE-2: Duplex Masked Auto-Encoder, ACL 2023, arXiv 2305.02564",
    papers=(RETROMAE, DUPMAE),
    idea="Mask 30 % of the words for the encoder and predict them; then a decoder of one layer predicts every word of "
    "the passage from the encoder's [CLS] vector and, at each position, a random half of the other words. The decoder "
    "is so weak that the vector has to hold the rest. In DupMAE the states of the other tokens also predict which "
    "words the passage contains.",
    released="The collator draws min(L, 256) whole-word masks per row; each position takes one of them at random and "
    "does not see itself. Words are found by BERT's ##, so other tokenizers get single tokens. The collator's own "
    "masking rates are 0.15; the program's, and the README's, 0.30 and 0.50. In the bag of DupMAE a word has the same "
    "weight however often it occurs. The decoder is not saved.",
    differs="Rows end with the last sentence that fits; released rows are filled, with a sentence that is then cut. "
    "30 % of a row's own tokens are hidden; the released budget counts [CLS] and [SEP] too, so that it is 33 % of a "
    "row of 30 tokens. 64 masks a row, in which each word is hidden with the rate's probability rather than to an "
    "exact count; words by the tokenizer's own marks. The decoder is randomly initialised and saved with the model, "
    "and a later run loads it. ModernBERT, which has no position table, gets sinusoids in the decoder. DupMAE's "
    "vector at search stays the pooled one, not [CLS] joined with a sparse part.",
    good_for="Starting point for fine-tuning. Fine-tuned on MS MARCO, its paper reports 45.2 nDCG@10 on BEIR "
    "(Condenser 40.7, BERT 37.1). Fine-tune before search.",
    encoders=("transformer",),
    pretraining_only=True,
)

_BLOCK = 1 << 25  # scores held at a time for the bag of words: 128 MiB


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        length: maximum length of a row in tokens, special tokens included.
        rate: fraction of tokens masked for the encoder, in whole words.
        decoder_rate: fraction of the other words that a position of the decoder does not see.
        query_stream: input of the decoder: the vector plus positions, or the model's embeddings of it (second version).
        bag: weight of the bag-of-words loss; 0 to disable.
        short: probability that a row is shorter than its passage.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    length: int = 512
    rate: float = 0.3
    decoder_rate: float = 0.5
    query_stream: QueryStream = "positions"
    bag: float = 0.0
    short: float = 0.0
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 8, TOKENS, "length")
        check_bounds(self, 0, 1, "coefficient")
        if not 0.0 < self.rate < 1.0 or not 0.0 <= self.short <= 1.0:
            raise UsageError("rate lies between 0 and 1, both excluded, and short between 0 and 1.")
        if not 0.0 <= self.decoder_rate <= 1.0 or self.bag < 0.0:
            raise UsageError("decoder_rate lies between 0 and 1, and bag is not below 0.")


_OPTIONS: Mapping[str, Value] = {
    "length": Value(512, "code", "src/pretrain/arguments.py: max_seq_length"),
    "rate": Value(0.3, "paper", "and README: --encoder_mlm_probability 0.3"),
    "decoder_rate": Value(0.5, "code", "README: --decoder_mlm_probability 0.5"),
    "short": Value(0.0, "code", "examples/pretrain/preprocess.py: --short_seq_prob 0"),
}
_TRAINING: Mapping[str, Value] = {
    **TRAINER_OPTIMISER,
    "batch_size": Value(256, "code", "README: 32 on each of 8 devices"),
    "steps": Value(100_000, "ours", "README: 8 epochs, of Wikipedia and BookCorpus"),
    "learning_rate": Value(1e-4, "code", "README: --learning_rate 1e-4"),
    "warmup": Value(0.1, "code", "README: --warmup_ratio 0.1"),
    "weight_decay": Value(0.01, "code", "README: --weight_decay 0.01"),
}
_ENCODER: Mapping[str, Value] = {"pooling": Value("cls", "paper", "the vector is the last layer's [CLS]")}

PRESETS: dict[str, Preset] = {
    "retromae": Preset(
        summary="30 % masked for the encoder, every word reconstructed from [CLS] and half of the others",
        options={
            **_OPTIONS,
            "query_stream": Value("positions", "paper", "the vector plus each position's"),
            "bag": Value(0.0, "paper", "the first version has none"),
        },
        training=_TRAINING,
        encoder=_ENCODER,
    ),
    "dupmae": Preset(
        summary="the second version: retromae plus a bag-of-words loss on the other tokens",
        options={
            **_OPTIONS,
            "query_stream": Value("embeddings", "code", "modeling_duplex.py: the model's embeddings of the vector"),
            "bag": Value(0.1, "code", "src/pretrain/arguments.py: bow_loss_weight"),
        },
        training=_TRAINING,
        encoder=_ENCODER,
    ),
}


class Sampler:
    """Masked passages, and what each place of the decoder sees of them.

    The masks of attention have their address in the batch, so that both passes of a gradient cache and all ranks see
    the same: a token's ``masks`` holds 64 bits, bit k says whether it is seen under mask k of its row (tokens of a
    word alike, special tokens always); a place's ``choices`` says which mask it looks through. ``targets`` are the true
    ids of all tokens but the special ones, and ``decoder_weight`` weighs their losses as ``weight`` does the encoder's.

    Attributes:
        mixture: the passages and the shares of their groups.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        options: options of the method.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> None:
        passages = Passages(store, specials, options.length, short=options.short, coefficient=options.coefficient)
        self._masked = MaskedPassages(store, specials, passages, options.rate, provenance)
        self._specials, self._rate = specials, options.decoder_rate
        self._word_starts = np.asarray(store.word_starts)
        self.mixture = passages.mixture

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one masked row of each passage (B,)."""
        batch = self._masked.draw(items, address)
        rows = Rows(_truth(batch.rows.tokens, batch.per_token["labels"]), batch.rows.offsets)
        ordinary = _ordinary(rows, self._specials)
        targets = np.where(ordinary, rows.tokens, UNLABELLED)
        words = _words(rows, ordinary, self._word_starts)
        rng = address.generator("decoder")
        masks = attention_masks(int(words[-1]) + 1, self._rate, rng)[words]
        masks[~ordinary] = -1
        choices = rng.integers(0, MASKS, size=len(words), dtype=np.uint8)
        weight = token_weight(len(batch), ordinary)
        return replace(
            batch,
            per_token={**batch.per_token, "targets": targets, "masks": masks, "choices": choices},
            per_example={**batch.per_example, "decoder_weight": weight},
        )


def attention_masks(count: int, rate: float, rng: np.random.Generator) -> IntArray:
    """Draw 64 masks over words: bits (count,) int64, each zero (hidden) with probability ``rate``."""
    draws = rng.integers(0, 1 << 16, size=(count, MASKS), dtype=np.uint16)
    bits = np.packbits(draws >= round(rate * (1 << 16)), axis=1, bitorder="little")
    return bits.view("<i8")[:, 0].astype(np.int64)


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> Sampler:
    """Return how documents become masked passages and what the decoder sees of them."""
    return Sampler(store, specials, options, provenance)


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Describe the encoder's masked words and what the decoder sees (for a batch with ``provenance``)."""
    described = describe(batch, np.asarray(store.tokens), specials, ("passage",))
    return [PairDescription(rows=rows, note=_rates(batch.slice(b, b + 1))) for b, rows in enumerate(described)]


def _rates(one: Batch) -> str:
    ordinary = one.per_token["targets"] != UNLABELLED
    masks, choices = one.per_token["masks"][ordinary], one.per_token["choices"][ordinary].astype(np.int64)
    hidden = np.count_nonzero(one.per_token["labels"] != UNLABELLED)
    visible = (masks[None, :] >> choices[:, None]) & 1
    others = max(len(masks) * (len(masks) - 1), 1)
    share = (int(visible.sum()) - int(np.trace(visible))) / others
    return (
        f"{hidden} of {len(masks)} tokens masked for the encoder; each is reconstructed from the vector and "
        f"{share:.0%} of the others"
    )


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: the encoder is no transformer of a known family, or too short for the rows.
    """
    if options.length > encoder.max_length:
        raise UsageError(
            f"rows of {options.length} tokens do not fit an encoder of {encoder.max_length}: lower length."
        )
    return RetroMAE(encoder, options, seed)


class RetroMAE(Objective):
    """Masked words of the encoder, all words of the decoder and, in DupMAE, the bag of words: a sum of losses.

    Attributes:
        encoder: a transformer; its last [CLS] state is the vector, whatever its pooling.
        language: the head that all of them share.
        enhanced_decoder: one layer.
    """

    encoder: TransformerEncoder

    def __init__(self, encoder: Encoder, options: Options, seed: int) -> None:
        super().__init__()
        self.encoder, self.options = transformer(encoder, "retromae"), options
        self.language = LanguageHead(self.encoder, seed)
        self.enhanced_decoder = EnhancedDecoder(self.encoder, seed, options.query_stream)
        self.notes = note_new(encoder, decoder=self.enhanced_decoder.new, language_head=self.language.new)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Compute the loss of each example; this method has no loss between examples."""
        facts = batch.per_token
        (states,) = self.encoder.states(batch.rows)
        rows = Rows(_truth(batch.rows.tokens, facts["labels"]), batch.rows.offsets)
        vectors = states[devices.put(rows.offsets[:-1], states.device)]
        rebuilt = self.enhanced_decoder(self.encoder, vectors, rows, facts["masks"], facts["choices"])
        losses = {
            "mlm": self._guessed(states, batch, "labels", "weight"),
            "decoder": self._guessed(rebuilt, batch, "targets", "decoder_weight"),
        }
        local = losses["mlm"] + losses["decoder"]
        if self.options.bag:
            losses["bag"] = self.bag_of_words(states, Rows(np.asarray(facts["targets"], np.int64), rows.offsets))
            local = local + self.options.bag * losses["bag"]
        return Encoded(
            vectors={}, example_loss=local, statistics={name: loss.detach() for name, loss in losses.items()}
        )

    def _guessed(self, states: Tensor, batch: Batch, labels: str, weight: str) -> Tensor:
        """Weighed loss (B,) of the words guessed from states (S, D)."""
        losses = self.language.losses(states, batch.per_token[labels], self.encoder.words)
        return weighted(per_example(losses, batch), batch, weight)

    def bag_of_words(self, states: Tensor, targets: Rows) -> Tensor:
        """Cross-entropy (R,) of the words of a row, guessed by the highest score that any place but the first gives.

        Every distinct word weighs 1 / the row's number of ordinary tokens, however often it comes: the weights of a
        row with repeated words sum to less than 1, as in the released code.

        Args:
            states: (S, D), the encoder's last.
            targets: R rows of true ids, ``UNLABELLED`` for special tokens.
        """
        packing = lay_out(targets, states.device)
        blocks = packing.split(states[packing.tokens])
        highest = torch.cat([self._highest(part) for block in blocks for part in self._bounded(block)])
        likely = at_least_float32(highest).log_softmax(dim=1)[packing.restore_rows]
        owners, words, counts = distinct_words(targets)
        place = devices.put(owners, states.device)
        found = likely[place, devices.put(words, states.device)]
        summed = likely.new_zeros(len(targets)).index_add(0, place, found)
        return -summed / devices.put(counts, summed.device, summed.dtype)

    def _bounded(self, block: Tensor) -> tuple[Tensor, ...]:
        """Cut a block (rows, length, D) so that the scores of a piece stay within a bound; they are not kept."""
        return torch.split(block, max(1, _BLOCK // (block.shape[1] * len(self.encoder.words))))

    def _highest(self, block: Tensor) -> Tensor:
        """Highest score of each word over the places but the first of rows: (rows, vocabulary)."""
        # max keeps only where the highest stood for the backward pass, amax would keep all scores
        return self.language(block[:, 1:], self.encoder.words).max(dim=1).values  # type: ignore[no-any-return]


def distinct_words(targets: Rows) -> tuple[IntArray, IntArray, IntArray]:
    """Rows (W,) and ids (W,) of the distinct words of rows, and the number of labelled tokens of each row (R,)."""
    owners = np.repeat(np.arange(len(targets)), targets.lengths)
    labelled = targets.tokens != UNLABELLED
    span = int(targets.tokens.max(initial=0)) + 1
    pairs = np.unique(owners[labelled] * span + targets.tokens[labelled])
    return pairs // span, pairs % span, np.bincount(owners[labelled], minlength=len(targets))


def _truth(tokens: IntArray, labels: Array) -> IntArray:
    """The clean tokens (S,) of masked ones."""
    found: IntArray = np.where(labels != UNLABELLED, labels, tokens)
    return found


def _ordinary(rows: Rows, specials: SpecialTokens) -> BoolArray:
    """Tokens (S,) that are not the [CLS] and [SEP] around a row."""
    found = np.ones(len(rows.tokens), np.bool_)
    found[rows.offsets[:-1]] = specials.cls is None
    found[rows.offsets[1:] - 1] = specials.sep is None
    return found


def _words(rows: Rows, ordinary: BoolArray, word_starts: BoolArray) -> IntArray:
    """Number of the word that each token (S,) is part of; a special token is one, and no word crosses rows."""
    goes_on = ordinary & ~word_starts[rows.tokens]
    goes_on[1:] &= ordinary[:-1]
    goes_on[rows.offsets[:-1]] = False
    return np.cumsum(~goes_on) - 1
