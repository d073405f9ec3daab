"""Masked language modelling on your own documents: the baseline for every other method.

Devlin et al., *BERT*, NAACL 2019, arXiv 1810.04805; Gururangan et al., *Don't stop pretraining*, ACL 2020,
arXiv 2004.10964, for continued pre-training on the documents of a domain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pretrieve.core.bounds import TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, SpecialTokens
from pretrieve.methods import BERT_OPTIMISER, Card, Preset, Value
from pretrieve.methods._bibliography import BERT, DONT_STOP
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import note_new, transformer
from pretrieve.models.language import LanguageHead, per_example, weighted
from pretrieve.models.objective import Encoded, Objective
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.masked_passages import MaskedPassages, Passages
from pretrieve.sampling.pairs import PairDescription, describe

CARD = Card(
    title="MLM: masked language modelling on the documents",
    paper="Devlin, Chang, Lee, Toutanova: BERT: Pre-training of Deep Bidirectional Transformers, NAACL 2019, "
    "arXiv 1810.04805; Gururangan et al.: Don't Stop Pretraining, ACL 2020, arXiv 2004.10964",
    papers=(BERT, DONT_STOP),
    idea="Mask 15 % of the words of a passage and predict them. The model learns the vocabulary of the domain; nothing "
    "trains its vector to represent the passage.",
    released="BERT masks word pieces; a later release whole words. RoBERTa draws masks anew at every visit.",
    differs="Whole words, drawn anew at every visit; no next-sentence prediction.",
    good_for="A domain with words that are new to the base, before fine-tuning. Fine-tune before search.",
    encoders=("transformer",),
    pretraining_only=True,
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options.

    Attributes:
        length: maximum length of a row in tokens, special tokens included.
        rate: fraction of tokens masked, in whole words.
        short: probability that a row is shorter than its passage.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    length: int = 128
    rate: float = 0.15
    short: float = 0.1
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 8, TOKENS, "length")
        check_bounds(self, 0, 1, "coefficient")
        if not 0.0 < self.rate < 1.0 or not 0.0 <= self.short <= 1.0:
            raise UsageError("rate lies between 0 and 1, both excluded, and short between 0 and 1.")


PRESETS: dict[str, Preset] = {
    "mlm": Preset(
        summary="whole-word masking of your documents, 15 %: BERT's pre-training, continued",
        options={
            "length": Value(128, "ours", "as for the other pre-training-only methods"),
            "rate": Value(0.15, "code", "BERT: create_pretraining_data.py, masked_lm_prob 0.15"),
            "short": Value(0.1, "code", "BERT: create_pretraining_data.py, short_seq_prob 0.1"),
        },
        training={
            "batch_size": Value(256, "paper", "BERT: 256 sequences"),
            "steps": Value(100_000, "ours", "a tenth of BERT's million: the documents of a domain are fewer"),
            "learning_rate": Value(1e-4, "paper", "BERT: 1e-4, by its README too"),
            "warmup": Value(0.1, "ours", "as Condenser; BERT: 10,000 steps"),
            **BERT_OPTIMISER,
        },
        encoder={"pooling": Value("mean", "ours", "no sentence vector is trained; the mean uses all states")},
    ),
}


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> MaskedPassages:
    """Return how documents become masked passages."""
    passages = Passages(store, specials, options.length, short=options.short, coefficient=options.coefficient)
    return MaskedPassages(store, specials, passages, options.rate, provenance)


def task(options: Options) -> str:
    """Describe the task of an example in a sentence."""
    return f"Predict the masked words of each row, {options.rate:.0%} of them."


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Describe which words of each passage are masked (for a batch made with ``provenance``)."""
    return [PairDescription(rows=rows) for rows in describe(batch, np.asarray(store.tokens), specials, ("passage",))]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: the encoder is no transformer, or too short for the rows.
    """
    if options.length > encoder.max_length:
        raise UsageError(
            f"rows of {options.length} tokens do not fit an encoder of {encoder.max_length}: lower length."
        )
    return MaskedLanguageModel(encoder, seed)


class MaskedLanguageModel(Objective):
    """Cross-entropy of the masked words, averaged over all of them.

    Attributes:
        encoder: a transformer.
        language: the head over its last hidden states.
    """

    encoder: TransformerEncoder

    def __init__(self, encoder: Encoder, seed: int) -> None:
        super().__init__()
        self.encoder = transformer(encoder, "mlm")
        self.language = LanguageHead(self.encoder, seed)
        self.notes = note_new(encoder, language_head=self.language.new)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Compute the loss of each example; this method has no loss between examples."""
        (states,) = self.encoder.states(batch.rows)
        losses = self.language.losses(states, batch.per_token["labels"], self.encoder.words)
        local = weighted(per_example(losses, batch), batch)
        return Encoded(vectors={}, example_loss=local, statistics={"mlm": local.detach()})
