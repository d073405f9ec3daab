"""How pretrieve trains on pairs of texts: in-batch negatives, cosine over .05."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from pretrieve.core.types import Batch, Rows
from pretrieve.models.encoder import Encoder
from pretrieve.models.losses import in_batch_softmax
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.models.restore import load_encoder
from pretrieve.text import tokenizer as tokenizers
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer
from speed_rows.measure import Work

RATE, TEMPERATURE = 2e-5, 0.05


class Pairs(Objective):
    """Texts 2 b and 2 b + 1 belong together."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Both sides in one pass."""
        return Encoded(vectors={"texts": self.encoder(batch.rows).reshape(len(batch), 2, 1, -1)})

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Softmax over the batch."""
        mine, every = local_vectors["texts"], global_vectors["texts"]
        loss, _ = in_batch_softmax(mine[:, 0, 0], every[:, 1, 0], similarity="cosine", temperature=TEMPERATURE)
        return Loss(value=loss.mean())


def rows_of(texts: list[str], tokenizer: tokenizers.Tokenizer, encoder: Encoder) -> Rows:
    """Rows of tokens, with [CLS] and [SEP] where the encoder takes them."""
    rows, specials = tokenizer.encode(texts), encoder.specials
    if specials.cls is None or specials.sep is None:
        return rows
    room = encoder.max_length - 2
    return Rows.of([[specials.cls, *rows.row(at)[:room], specials.sep] for at in range(len(rows))])


def training(work: Work, model: str, size: int, steps: int, **options: Any) -> Callable[[], Callable[[], object]]:
    """Prepares a run over the texts, ``size`` pairs a step, from texts to weights; texts are tokenized once."""
    path = work.model(model)
    encoder, tokenizer = load_encoder(path), tokenizers.load(path)

    def prepare() -> Callable[[], object]:
        tokenized: dict[int, Rows] = {}

        def batch(step: int) -> Batch:
            place = step % (len(work.texts) // (2 * size))
            if place not in tokenized:
                tokenized[place] = rows_of(work.texts[2 * size * place : 2 * size * (place + 1)], tokenizer, encoder)
            return Batch(rows=tokenized[place], shape=(size, 2), documents=np.arange(size))

        chosen = TrainingOptions(
            steps=steps, batch_size=size, learning_rate=RATE, warmup=0.0, weight_decay=0.0, clip=1.0, beta2=0.999,
            epsilon=1e-8, **options,
        )  # fmt: skip
        return Trainer(objective=Pairs(encoder), batches=batch, options=chosen).run

    return prepare


def amounts(work: Work, model: str, size: int, steps: int) -> dict[str, float]:
    """Pairs, real tokens, and operations of the matrix products of the transformer, of a run."""
    path = work.model(model)
    encoder, tokenizer = load_encoder(path), tokenizers.load(path)
    batches = len(work.texts) // (2 * size)
    lengths = rows_of(work.texts[: 2 * size * min(steps, batches)], tokenizer, encoder).lengths.astype(float)
    times = max(1.0, steps / batches)
    found = {"pairs": float(size * steps), "tokens": float(lengths.sum()) * times}
    config = getattr(getattr(encoder, "model", None), "config", None)
    if config is not None:
        width, inner = config.hidden_size, config.intermediate_size
        dense = lengths.sum() * 2 * (4 * width * width + 2 * width * inner)
        attention = (lengths**2).sum() * 4 * width
        found["flops"] = 3 * times * config.num_hidden_layers * float(dense + attention)  # forward, and twice backward
    return found
