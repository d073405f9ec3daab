"""SimCSE: a text encoded twice with different dropout is a pair; the other texts of the batch are negatives.

Gao, Yao, Chen, *SimCSE: Simple contrastive learning of sentence embeddings*, EMNLP 2021, arXiv 2104.08821; the
unsupervised one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pretrieve.core.bounds import TOKENS, check_bounds
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, IntArray, Rows, SpecialTokens
from pretrieve.methods import TRAINER_OPTIMISER, Card, Preset, Value
from pretrieve.methods._bibliography import SIMCSE
from pretrieve.models.encoder import Encoder
from pretrieve.models.heads import kept_heads, seeded, start_from
from pretrieve.models.losses import in_batch_softmax, same_document
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.sampling.batches import Address
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.masked_passages import Passages
from pretrieve.sampling.pairs import PairDescription, describe, span_batch

CARD = Card(
    title="SimCSE: dropout as the only difference",
    paper="Gao, Yao, Chen: SimCSE: Simple Contrastive Learning of Sentence Embeddings, EMNLP 2021, arXiv 2104.08821",
    papers=(SIMCSE,),
    idea="Encode a text twice; dropout gives two vectors, which are trained to be closest to each other among all "
    "texts of the batch, by cosine. A tanh layer on [CLS] is used in training and removed afterwards.",
    released="English sentences of Wikipedia, cut at 32 tokens; no text is excluded as a negative. Across devices "
    "only the vectors of the same device have a gradient. The saved checkpoint is the best on labelled pairs (STS-B), "
    "evaluated every 125 steps.",
    differs="Rows are whole sentences of your documents packed up to the length; only a sentence that is too long is "
    "cut. Gradients reach the vectors of all ranks. The model's similarity is cosine, as in training. No labelled "
    "pairs select a checkpoint. The layer of a released checkpoint (mlp.dense) is left out, with a note, and a new "
    "one is trained.",
    good_for="Sentence similarity. For search it is weak (in Contriever's paper 24.6 nDCG@10 on BEIR, BM25 41.7): "
    "both sides are the same words, so it does not learn what questions look like.",
    encoders=("transformer",),
    negatives=("text",),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options; dropout is that of the model.

    Attributes:
        length: maximum length of a row in tokens, special tokens included.
        short: probability that a row is shorter than its passage.
        temperature: divisor of cosine similarities.
        mlp: apply a linear layer and tanh to the vectors in training.
        mask_same_document: exclude texts of the same document from the negatives.
        coefficient: exponent of group sizes: 0 samples languages or sources equally, 1 in proportion to size.
    """

    length: int = 32
    short: float = 0.0
    temperature: float = 0.05
    mlp: bool = True
    mask_same_document: bool = False
    coefficient: float = 1.0

    def __post_init__(self) -> None:
        check_bounds(self, 4, TOKENS, "length")
        check_bounds(self, 0, 1, "coefficient")
        if self.temperature <= 0 or not 0.0 <= self.short <= 1.0:
            raise UsageError("temperature is above 0, and short lies between 0 and 1.")


PRESETS: dict[str, Preset] = {
    "simcse": Preset(
        summary="unsupervised: each text twice under dropout, cosine, the batch as negatives",
        options={
            "length": Value(32, "code", "run_unsup_example.sh: --max_seq_length 32"),
            "short": Value(0.0, "code", "texts are sentences as they are"),
            "temperature": Value(0.05, "code", "run_unsup_example.sh: --temp 0.05"),
            "mlp": Value(True, "code", "README: --mlp_only_train for the unsupervised models"),
            "mask_same_document": Value(False, "code", "simcse/models.py: all others of the batch are negatives"),
        },
        training={
            **TRAINER_OPTIMISER,
            "batch_size": Value(64, "code", "README, for BERT"),
            "steps": Value(15_625, "code", "a million sentences, once"),
            "learning_rate": Value(3e-5, "code", "README, for BERT base"),
        },
        encoder={
            "pooling": Value("cls", "code", "run_unsup_example.sh: --pooler_type cls"),
            "attention_dropout": Value(True, "paper", "the standard dropout of the transformer, which makes the pair"),
        },
    ),
}


class Sampler:
    """One passage an example, as it stands.

    Attributes:
        mixture: the passages and the shares of their groups.

    Args:
        store: the documents.
        specials: special tokens of the encoder.
        options: options of the method.
        provenance: whether batches record where each token comes from (for ``explain``).
    """

    def __init__(self, store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> None:
        self._passages = Passages(store, specials, options.length, short=options.short, coefficient=options.coefficient)
        self._store, self._specials, self._provenance = store, specials, provenance
        self.mixture = self._passages.mixture

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Read each passage (B,)."""
        documents, starts, lengths = self._passages.spans(items, address)
        begins, ends = starts[:, None], (starts + lengths)[:, None]
        return span_batch(self._store, documents, begins, ends, self._specials, provenance=self._provenance)


def sampler(store: TokenStore, specials: SpecialTokens, options: Options, provenance: bool = False) -> Sampler:
    """Return how documents become texts."""
    return Sampler(store, specials, options, provenance)


def explain(batch: Batch, store: TokenStore, specials: SpecialTokens) -> list[PairDescription]:
    """Describe each text (for a batch made with ``provenance``)."""
    described = describe(batch, np.asarray(store.tokens), specials, ("text",))
    return [PairDescription(rows=rows, note="encoded twice under dropout") for rows in described]


def objective(encoder: Encoder, options: Options, seed: int, store: TokenStore) -> Objective:
    """Return the loss over an encoder.

    Raises:
        UsageError: the encoder is static, or too short for the rows.
    """
    if options.length > encoder.max_length:
        raise UsageError(
            f"rows of {options.length} tokens do not fit an encoder of {encoder.max_length}: lower length."
        )
    return SimCSE(encoder, options, seed)


class SimCSE(Objective):
    """Softmax of cosines: a text's first vector against the second vectors of all texts.

    Attributes:
        mlp: layer on the vectors in training.

    Raises:
        UsageError: the encoder has no dropout layer: a static one.
    """

    def __init__(self, encoder: Encoder, options: Options, seed: int) -> None:
        super().__init__()
        rates = [module.p for module in encoder.modules() if isinstance(module, nn.Dropout)]
        if not rates:
            raise UsageError(
                "simcse needs dropout, and a static encoder has none: add --base "
                "new:layers=4,hidden=256, or the folder or hub name of a transformer."
            )
        if not any(rates):
            self.notes = ("this model's dropout is 0: both vectors of a text are the same, so only negatives teach.",)
        encoder.similarity = "cosine"  # the model is trained with cosine similarity
        self.encoder, self.options = encoder, options
        self.mlp: nn.Module = nn.Identity()
        if options.mlp:
            with seeded(seed, "simcse"):
                dense = nn.Linear(encoder.dimensions, encoder.dimensions)
                nn.init.normal_(dense.weight, std=0.02)
            nn.init.zeros_(dense.bias)
            self.mlp = nn.Sequential(dense, nn.Tanh())
            start_from(self.mlp, kept_heads(encoder), "mlp")

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode texts as "first" and "second", (B, 1, V, D) each, in one pass over both."""
        vectors: Tensor = self.mlp(self.encoder(batch.rows.once(_twice)))
        first, second = torch.split(vectors.unsqueeze(1), len(batch))
        return Encoded(vectors={"first": first, "second": second})

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Cross-entropy of each text's own second vector against all second vectors."""
        queries = local_vectors["first"][:, 0, 0]
        exclude = None
        if self.options.mask_same_document:
            exclude = same_document(batch, first, len(queries), queries.device)
        losses, hits = in_batch_softmax(
            queries,
            global_vectors["second"][:, 0, 0],
            similarity="cosine",
            temperature=self.options.temperature,
            first=first,
            exclude=exclude,
        )
        return Loss(value=losses.mean(), statistics={"accuracy": hits.mean()})


def _twice(rows: Rows) -> Rows:
    """The rows, and after them the same rows again."""
    return Rows(np.tile(rows.tokens, 2), np.concatenate([rows.offsets, rows.offsets[1:] + rows.offsets[-1]]))
