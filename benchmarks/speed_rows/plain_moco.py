"""Contriever's MoCo as published, in plain torch: two padded encoders, a queue, one update after the other."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel

from pretrieve.core.types import Batch
from pretrieve.methods import contriever
from pretrieve.models.restore import load_encoder
from pretrieve.sampling.batches import Batches
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer
from speed_rows import inputs, peers
from speed_rows.measure import Side, Work
from speed_rows.ours import RATE, TEMPERATURE

MOMENTUM = 0.9995


class PlainMoCo:
    """The state of the algorithm: query encoder, momentum encoder without gradient, queue of columns."""

    def __init__(self, model: torch.nn.Module, queue: int, width: int) -> None:
        self.query, self.key = model.train(), copy.deepcopy(model).requires_grad_(False).train()
        self.queue, self.place = F.normalize(torch.randn(width, queue), dim=0), 0
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)

    def step(self, batch: Batch) -> Tensor:
        """Follow, encode, compare with the queue alone, update, enqueue; returns the loss."""
        queries = peers.mean_of(self.query, batch.column(0).rows)
        with torch.no_grad():
            for slow, fast in zip(self.key.parameters(), self.query.parameters(), strict=True):
                slow.mul_(MOMENTUM).add_(fast, alpha=1 - MOMENTUM)
            keys = peers.mean_of(self.key, batch.column(1).rows)
        own = (queries * keys).sum(dim=1, keepdim=True)
        scores = torch.cat([own, queries @ self.queue], dim=1) / TEMPERATURE
        loss = F.cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.queue[:, self.place : self.place + len(keys)] = keys.T
        self.place = (self.place + len(keys)) % self.queue.shape[1]
        return loss.detach()


def store(work: Work, model: Path) -> Store:
    """Tokens of made-up prose."""
    target = work.folder / f"prose-of-{model.name}"
    if target.exists():
        return Store.open(target)
    documents = Documents.write(work.folder / "documents", inputs.prose(work.pick(0.5, 0.05)), replace=True)
    return Store.build(target, documents, tokenizers.load(model), sentences=False)


def both(work: Work, model: str, steps: int = 1) -> tuple[Batches, Callable[[], Trainer], PlainMoCo]:
    """Batches of crops, our trainer, and the plain algorithm, which begins with the queue of the first trainer."""
    path, size, queue = work.model(model), work.pick(32, 8), work.pick(32_768, 64)
    tokens, encoder = store(work, path), load_encoder(path)
    options = contriever.Options(
        queue=queue, momentum=MOMENTUM, temperature=TEMPERATURE, window=work.pick(252, 120),  # crops of half fit 128
        concat=True, mask_same_document=False, key_dropout=True,
    )  # fmt: skip
    batches = Batches(sampler=contriever.sampler(tokens, encoder.specials, options), batch_size=size, seed=0)
    objective = contriever.objective(encoder, options, 0, tokens)
    training = TrainingOptions(
        steps=steps, batch_size=size, learning_rate=RATE, schedule="constant", warmup=0.0, weight_decay=0.0,
        beta2=0.999, epsilon=1e-8,
    )  # fmt: skip
    plain = PlainMoCo(AutoModel.from_pretrained(path), queue, encoder.dimensions)
    assert isinstance(objective, contriever.MomentumQueue)
    plain.queue.copy_(objective.queue.keys.T)
    return batches, lambda: Trainer(objective=objective, batches=batches, options=training), plain


def sides(work: Work) -> dict[str, Side]:
    """Both on the same batch, which is drawn before."""
    batches, trainer, plain = both(work, "transformer-0.1")
    batch = batches(0)

    def ours() -> Callable[[], object]:
        made = trainer()
        return lambda: made.take(batch)

    amounts = {"tokens": float(len(batch.rows.tokens))}
    return {
        "pretrieve": Side(prepare=ours, amounts=amounts),
        "plain MoCo": Side(prepare=lambda: lambda: plain.step(batch), amounts=amounts),
    }
