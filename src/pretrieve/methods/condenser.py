"""Condenser: a small head predicts masked words from early tokens and the late [CLS], which has to carry the rest.

Gao & Callan, *Condenser: a pre-training architecture for dense retrieval*, EMNLP 2021, arXiv 2104.08253.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.bounds import TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, SpecialTokens
from pretrieve.methods import TRAINER_OPTIMISER, Card, Preset, Value
from pretrieve.methods._bibliography import CONDENSER
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import kept_heads, note_new, start_from, transformer
from pretrieve.models.language import LanguageHead, per_example, weighted
from pretrieve.models.layers import Layers
from pretrieve.models.objective import Encoded, Objective
from pretrieve.models.torch_file import read_torch
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.masked_passages import MaskedPassages, Passages
from pretrieve.sampling.pairs import PairDescription, describe

RELEASED_HEAD = "model.pt"  # file of heads in checkpoints of the released code

CARD = Card(
    title="Condenser: a head that reads the late [CLS] and early tokens",
    paper="Gao, Callan: Condenser: a Pre-training Architecture for Dense Retrieval, EMNLP 2021, arXiv 2104.08253",
    papers=(CONDENSER,),
    idea="Two additional layers predict the masked words of a passage from the tokens of a middle layer and the [CLS] "
    "of the last layer: the upper half contributes through [CLS] alone. The head is removed before fine-tuning.",
    released="The published models have a head of 2 layers over layer 6 of 12, and the loss of the last layer has the "
    "same weight as the head's; the code's defaults are layer 2 and the head alone. Text that is too long is cut at "
    "random twice, once for the masks and once for the ids, so they can differ. Whole words are found by BERT's ## "
    "even with RoBERTa's tokenizer. The README does not give length and batch size. Written for an old Trainer, it "
    "does not run on today's transformers.",
    differs="The head of a released checkpoint (model.pt) is loaded. Text is cut once. Words are found by the "
    "tokenizer's own marks. A new head is initialised from the seed. The early layer is half of the model's layers. "
    "Supports the families of BERT, RoBERTa and ModernBERT; on the last, the late [CLS] is after the final norm, and "
    "the head ends in a norm of its own.",
    good_for="Starting point for fine-tuning and for coCondenser. Fine-tune before search.",
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
        head_layers: number of layers of the head.
        skip_from: layer whose tokens the head reads, 0 for the embeddings; by default half of the model's layers.
        late_mlm: add the loss of the last layer, with the same weight as the head's.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    length: int = 128
    rate: float = 0.15
    short: float = 0.1
    head_layers: int = 2
    skip_from: int | None = None
    late_mlm: bool = True
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 8, TOKENS, "length")
        check_bounds(self, 0, 1, "coefficient")
        if not 0.0 < self.rate < 1.0 or not 0.0 <= self.short <= 1.0:
            raise UsageError("rate lies between 0 and 1, both excluded, and short between 0 and 1.")
        check_head(self.head_layers, self.skip_from)


def check_head(head_layers: int, skip_from: int | None) -> None:
    """Check the options of the head.

    Raises:
        UsageError: no layers or too many, or a layer below the embeddings.
    """
    if not 1 <= head_layers <= 100 or not 0 <= (skip_from or 0) <= 1000:
        raise UsageError(f"head_layers={head_layers} lies between 1 and 100, skip_from={skip_from} from 0 to 1,000.")


HEAD: Mapping[str, Value] = {
    "rate": Value(0.15, "code", "arguments.py: mlm_probability"),
    "head_layers": Value(2, "code", "README: --n_head_layers 2"),
    "skip_from": Value(None, "code", "README: --skip_from 6, of 12; half of other models is ours"),
    "late_mlm": Value(True, "code", "README: --late_mlm"),
}
TRAINING: Mapping[str, Value] = {
    **TRAINER_OPTIMISER,
    "learning_rate": Value(1e-4, "code", "README: --learning_rate 1e-4"),
    "warmup": Value(0.1, "code", "README: --warmup_ratio 0.1"),
    "weight_decay": Value(0.01, "code", "README: --weight_decay 0.01"),
}

PRESETS: dict[str, Preset] = {
    "condenser": Preset(
        summary="as published: two additional layers over layer 6 of 12 and the late [CLS], whole-word masking",
        options={
            **HEAD,
            "length": Value(128, "ours", "the README leaves it open"),
            "short": Value(0.1, "code", "helper/create_train.py: --short_sentence_prob 0.1"),
        },
        training={
            "batch_size": Value(1024, "ours", "the README leaves it open, and the paper's is not certain"),
            "steps": Value(100_000, "ours", "README: 8 epochs, of Wikipedia and BookCorpus"),
            **TRAINING,
        },
        encoder={"pooling": Value("cls", "code", "modeling.py: the late [CLS]")},
    ),
}


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> MaskedPassages:
    """Return how documents become masked passages."""
    passages = Passages(store, specials, options.length, short=options.short, coefficient=options.coefficient)
    return MaskedPassages(store, specials, passages, options.rate, provenance)


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Describe which words of each passage are masked (for a batch made with ``provenance``)."""
    return [PairDescription(rows=rows) for rows in describe(batch, np.asarray(store.tokens), specials, ("passage",))]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: the encoder has no hidden states, [CLS] or such layers, or is too short for the rows.
    """
    return Condenser(checked(encoder, options.length, "condenser"), options, seed)


def checked(encoder: Encoder, length: int, method: str) -> TransformerEncoder:
    """Return an encoder whose [CLS] can be trained.

    Raises:
        UsageError: it is no transformer, has no [CLS], is pooled otherwise, or is too short for the rows.
    """
    found = transformer(encoder, method)
    if found.specials.cls is None:
        raise UsageError(f"{method} trains [CLS], and the tokenizer of this base has none: use another base.")
    if found.pooling != "cls":
        raise UsageError(f"{method} trains [CLS], and pooling={found.pooling} would not read it: set pooling=cls.")
    if length > found.max_length:
        raise UsageError(f"rows of {length} tokens do not fit an encoder of {found.max_length}: lower length.")
    return found


def head_weights(encoder: TransformerEncoder) -> dict[str, Tensor]:
    """The head beside a base, as ``head.*``: an earlier run's, or else a released checkpoint's; may be empty.

    The released code keeps its head in ``model.pt``, as ``c_head.0.attention.self.query.weight`` and so on; other
    names of that file are of no use here.

    Raises:
        CorruptError: a file is damaged, or holds more than weights.
    """
    kept = {name: values for name, values in kept_heads(encoder).items() if name.startswith("head.")}
    path = encoder.source / RELEASED_HEAD if encoder.source is not None else None
    if kept or path is None or not path.is_file():
        return kept
    found = {name: values for name, values in read_torch(path).items() if name.startswith("c_head.")}
    return {f"head.layers.{name.removeprefix('c_head.')}": values for name, values in found.items()}


class Condenser(Objective):
    """Cross-entropy of the masked words, predicted by the head and, with ``late_mlm``, from the last layer.

    As in ``modeling.py``, both predictions share one language head, and each is averaged over all masked words.

    Attributes:
        encoder: a transformer.
        head: layers over early tokens and the late [CLS]; those of an earlier run where the base is one.
        language: the head over its last hidden states and those of ``head``.
        early: the layer whose tokens the head reads.
        new_head: whether ``head`` is randomly initialised.

    Args:
        encoder: a transformer, pooled by [CLS].
        options: ``head_layers``, ``skip_from`` and ``late_mlm`` are read.
        seed: seed of the run, for new heads.
    """

    encoder: TransformerEncoder

    def __init__(self, encoder: TransformerEncoder, options: Any, seed: int) -> None:
        super().__init__()
        self.encoder, self.late_mlm = encoder, options.late_mlm
        self.head = Layers(encoder, options.head_layers, seed)
        self.early = _early(encoder, options.skip_from)
        self.new_head = not start_from(self.head, head_weights(encoder), "head")
        self.language = LanguageHead(encoder, seed)
        self.notes = note_new(encoder, Condenser_head=self.new_head, language_head=self.language.new)

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Compute the loss of each example; this method has no loss between examples."""
        return self.guessed(batch)[0]

    def guessed(self, batch: Batch) -> tuple[Encoded, Tensor]:
        """Predict masked words: losses and statistics of B examples, and the late [CLS] of their rows (B*N, D)."""
        late, early = self.encoder.states(batch.rows, layers=(-1, self.early))
        first = devices.put(batch.rows.offsets[:-1], late.device)
        is_first = torch.zeros(len(late), 1, dtype=torch.bool, device=late.device).index_fill(0, first, True)
        local, hits = self._scored(self.head(torch.where(is_first, late, early), batch.rows), batch)
        statistics = {"head_mlm": local.detach(), "head_accuracy": hits}
        if self.late_mlm:
            own, hits = self._scored(late, batch)
            local = local + own
            statistics |= {"late_mlm": own.detach(), "late_accuracy": hits}
        return Encoded(vectors={}, example_loss=local, statistics=statistics), late[first]

    def _scored(self, states: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss and hits of each example (B,), weighted so that their means are those over all masked words."""
        losses, hits = self.language.scored(states, batch.per_token["labels"], self.encoder.words)
        return weighted(per_example(losses, batch), batch), weighted(per_example(hits, batch), batch)


def _early(encoder: TransformerEncoder, skip_from: int | None) -> int:
    config: Any = encoder.model.config
    layers = int(config.num_hidden_layers)
    if skip_from is None:
        return layers // 2
    if skip_from >= layers:
        raise UsageError(
            f"skip_from={skip_from}: the model has {layers} layers; set it to at most {layers - 1}, "
            f"or omit it for {layers // 2}."
        )
    return skip_from
