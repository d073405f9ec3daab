"""TSDAE: delete most words of a text, encode the rest as one vector, and reconstruct the text from it.

Wang, Reimers, Gurevych, *TSDAE: Using Transformer-based Sequential Denoising Auto-Encoder for Unsupervised Sentence
Embedding Learning*, Findings of EMNLP 2021, arXiv 2104.06979.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pretrieve.core.bounds import TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, BoolArray, IntArray, Rows, SpecialTokens
from pretrieve.methods import Card, Preset, Value
from pretrieve.methods._bibliography import TSDAE
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import note_new, transformer
from pretrieve.models.language import LanguageHead, weighted
from pretrieve.models.objective import Encoded, Objective
from pretrieve.models.reconstruction import TiedDecoder
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.sampling.batches import Address
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.masked_passages import Passages, token_weight
from pretrieve.sampling.pairs import PairDescription, describe, pair_batch
from pretrieve.sampling.spans import Positions, concatenate, lay_out, offsets_of, read, surround, take_rows

CARD = Card(
    title="TSDAE: a denoising auto-encoder through one vector",
    paper="Wang, Reimers, Gurevych: TSDAE: Using Transformer-based Sequential Denoising Auto-Encoder for Unsupervised "
    "Sentence Embedding Learning, Findings of EMNLP 2021, arXiv 2104.06979",
    papers=(TSDAE,),
    idea="Delete 60 % of the words. The encoder makes one vector of the rest; a decoder with the encoder's own weights "
    "reconstructs the text from that vector and its previous tokens alone. So the vector has to represent the content "
    "of the text.",
    released="sentence-transformers: the decoder's layers and word vectors are tied to the encoder's, cross-attention "
    "is new. Words are NLTK's, for English, and are joined again by its rules; a text is never left without a word. "
    "The values are those of the README at revision 77ae248. Newer example scripts keep 60 % of the words where they "
    "mean to delete 60 %, cut sentences at 75 tokens and warm the rate up.",
    differs="Words are those of the vocabulary, in any language. Rows are passages of consecutive sentences, which is "
    "what is searched, not single sentences. Attention over one vector is its value and output projection, which is "
    "the same; only the dropout of its single weight is left out.",
    good_for="A domain's own documents, before fine-tuning or synthetic queries: in GPL's paper 49.2 nDCG@10 over six "
    "domains after MS MARCO, 45.2 without it. Fine-tune before search.",
    encoders=("transformer",),
    pretraining_only=True,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        length: maximum length of a row in tokens, special tokens included.
        delete: fraction of words to delete.
        short: probability that a row is shorter than its passage.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    length: int = 128
    delete: float = 0.6
    short: float = 0.1
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 8, TOKENS, "length")
        check_bounds(self, 0, 1, "coefficient")
        if not 0.0 <= self.delete < 1.0 or not 0.0 <= self.short <= 1.0:
            raise UsageError("delete lies between 0 and 1, 1 excluded, and short between 0 and 1.")


PRESETS: dict[str, Preset] = {
    "tsdae": Preset(
        summary="60 % of the words deleted, the text reconstructed from one vector by a tied decoder",
        options={
            "length": Value(128, "ours", "passages, as for the other pre-training-only methods"),
            "delete": Value(0.6, "paper", "the best of its rates, of words"),
            "short": Value(0.1, "ours", "the model sees short texts too, as queries are"),
        },
        training={
            "batch_size": Value(8, "code", "sentence-transformers, README of its TSDAE example at 77ae248"),
            "steps": Value(100_000, "paper", "GPL, which trains it on a domain's documents"),
            "learning_rate": Value(3e-5, "code", "the same README"),
            "schedule": Value("constant", "code", "the same README: constantlr"),
            "warmup": Value(0.0, "code", "the same README: constantlr"),
            "beta1": Value(0.9, "code", "torch's AdamW"),
            "beta2": Value(0.999, "code", "torch's AdamW"),
            "epsilon": Value(1e-8, "code", "torch's AdamW"),
            "weight_decay": Value(0.0, "code", "the same README"),
            "clip": Value(1.0, "code", "sentence-transformers: fit's max_grad_norm"),
        },
        encoder={"pooling": Value("cls", "paper", "the first token")},
    ),
}


class Sampler:
    """A passage with most of its words deleted, and the passage.

    Attributes:
        mixture: the passages and the shares of their groups.

    Args:
        store: the documents, with ``word_starts``.
        specials: special tokens of the encoder.
        options: options of the method.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> None:
        self._tokens, self._word_starts = np.asarray(store.tokens), np.asarray(store.word_starts)
        self._specials, self._delete, self._provenance = specials, options.delete, provenance
        self._passages = Passages(store, specials, options.length, short=options.short, coefficient=options.coefficient)
        self.mixture = self._passages.mixture

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make a damaged row and a whole one of each passage (B,)."""
        count = len(items)
        documents, first, sizes = self._passages.spans(items, address)
        starts, lengths = surround(first[:, None], sizes[:, None], self._specials)
        whole = lay_out(starts, lengths)
        begins = self._word_starts[read(self._tokens, whole, self._specials).tokens]
        damaged = delete_words(whole, begins, self._delete, address.generator("deleted"))
        pairs = np.arange(2 * count).reshape(2, count).T.reshape(-1)  # damaged, whole, damaged, whole, ...
        positions = take_rows(concatenate([damaged, whole]), pairs)
        provenance = None
        if self._provenance:
            provenance = positions, np.repeat(starts, 2, axis=0), np.repeat(lengths, 2, axis=0)
        written = np.ones(len(whole.values) - count, np.bool_)  # every token but the first of each row
        return pair_batch(
            read(self._tokens, positions, self._specials),
            documents,
            provenance=provenance,
            per_example={"weight": token_weight(count, written)},
        )


def delete_words(positions: Positions, begins: BoolArray, rate: float, rng: np.random.Generator) -> Positions:
    """Delete whole words, each with probability ``rate``; a row that would lose all keeps one of them at random.

    Args:
        positions: R rows; special tokens (below zero) are never deleted.
        begins: (S,) whether a word begins with a token; the first ordinary token of a row always does.
        rate: in [0, 1).
        rng: where the draws come from.
    """
    values, offsets = positions
    ordinary = values >= 0
    first = np.zeros(len(values), np.bool_)
    first[offsets[:-1][np.diff(offsets) > 0]] = True
    first[1:] |= ~ordinary[:-1]
    begins = (begins | first) & ordinary
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    owner = rows[begins]  # the row of each word
    draws = rng.random(len(owner))
    highest = np.zeros(len(offsets) - 1)
    np.maximum.at(highest, owner, draws)
    stays = (draws >= rate) | (draws == highest[owner])
    keep = ~ordinary
    keep[ordinary] = stays[np.cumsum(begins)[ordinary] - 1]
    return Positions(values[keep], offsets_of(np.bincount(rows[keep], minlength=len(offsets) - 1)))


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> Sampler:
    """Return how documents become damaged and whole passages."""
    return Sampler(store, specials, options, provenance)


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Describe which words of each passage are deleted (for a batch made with ``provenance``)."""
    rows = describe(batch, np.asarray(store.tokens), specials, ("damaged", "original"))
    return [PairDescription(rows=pair) for pair in rows]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: the encoder is no transformer, of another family, or too short for the rows.
    """
    if options.length > encoder.max_length:
        raise UsageError(
            f"rows of {options.length} tokens do not fit an encoder of {encoder.max_length}: lower length."
        )
    return DenoisingAutoEncoder(encoder, seed)


class DenoisingAutoEncoder(Objective):
    """Cross-entropy of every token of a passage, given the tokens before it and the vector of the damaged passage.

    Attributes:
        encoder: a transformer, with its pooling.
        reconstruction: the decoder's own weights; its layers are the encoder's.
        language: the head over its states, tied to the word vectors.
    """

    encoder: TransformerEncoder

    def __init__(self, encoder: Encoder, seed: int) -> None:
        super().__init__()
        self.encoder = transformer(encoder, "tsdae")
        self.reconstruction = TiedDecoder(self.encoder, seed)
        self.language = LanguageHead(self.encoder, seed)
        self.notes = note_new(encoder, cross_attention=self.reconstruction.new, language_head=self.language.new)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Compute the loss of each example; this method has no loss between examples."""
        vectors = self.encoder(batch.column(0).rows)[:, 0]
        read_so_far, labels = shifted(batch.column(1).rows)
        states = self.reconstruction(vectors, read_so_far)
        losses = self.language.losses(states, labels, self.encoder.words)
        owners = devices.put(np.repeat(np.arange(len(batch)), read_so_far.lengths), losses.device)
        local = weighted(losses.new_zeros(len(batch)).index_add(0, owners, losses), batch)
        return Encoded(vectors={}, example_loss=local, statistics={"reconstruction": local.detach()})


def shifted(rows: Rows) -> tuple[Rows, IntArray]:
    """What a decoder reads, and what it is to say: rows without their last token, and (S - R,) the token after each."""
    last = np.zeros(len(rows.tokens), np.bool_)
    last[rows.offsets[1:] - 1] = True
    following = np.append(rows.tokens[1:], 0)
    return Rows(rows.tokens[~last], rows.offsets - np.arange(len(rows.offsets))), following[~last]
