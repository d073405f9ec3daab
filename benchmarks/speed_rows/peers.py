"""How sentence-transformers trains on the same pairs, and how a loop over transformers does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from speed_rows.measure import Side, Work
from speed_rows.ours import RATE, TEMPERATURE, rows_of


def trainer(work: Work, model: str, size: int, steps: int, cached: int = 0) -> Callable[[], Callable[[], object]]:
    """Prepares a run of its trainer; with ``cached``, the cached loss over chunks of so many tokens."""
    import datasets
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer import losses

    path = str(work.model(model))
    used = work.texts[: 2 * size * steps]
    data = datasets.Dataset.from_dict({"anchor": used[::2], "positive": used[1::2]})

    def prepare() -> Callable[[], object]:
        stock = SentenceTransformer(path, device="cpu")
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(work.folder / "out"), per_device_train_batch_size=size, max_steps=steps, use_cpu=True,
            learning_rate=RATE, report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        scale = {"scale": 1 / TEMPERATURE}
        loss: Any = losses.MultipleNegativesRankingLoss(stock, **scale)
        if cached:
            loss = losses.CachedMultipleNegativesRankingLoss(stock, **scale, mini_batch_num_tokens=cached)
        return SentenceTransformerTrainer(model=stock, args=arguments, train_dataset=data, loss=loss).train

    return prepare


def padded(rows: Any) -> tuple[Any, Any]:
    """Ids (R, L) and their mask, padded to the longest row."""
    import torch

    places = np.arange(rows.lengths.max()) < rows.lengths[:, None]
    ids = np.zeros(places.shape, np.int64)
    ids[places] = rows.tokens
    return torch.from_numpy(ids), torch.from_numpy(places.astype(np.int64))


def mean_of(model: Any, rows: Any) -> Any:
    """Mean of the last states over the mask."""
    ids, mask = padded(rows)
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return (states * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def loop(work: Work, model: str, size: int, steps: int) -> Callable[[], Callable[[], object]]:
    """Prepares a loop as one writes it with transformers: either side padded to its longest row."""
    import torch
    from torch.nn import functional as F
    from transformers import AutoModel

    from pretrieve.models.restore import load_encoder
    from pretrieve.text import tokenizer as tokenizers

    path = work.model(model)
    encoder, tokenizer = load_encoder(path), tokenizers.load(path)
    stock = AutoModel.from_pretrained(path).train()

    def prepare() -> Callable[[], object]:
        optimizer = torch.optim.AdamW(stock.parameters(), lr=RATE, weight_decay=0.0, fused=True)
        return lambda: [step(optimizer, number) for number in range(steps)]

    def step(optimizer: torch.optim.Optimizer, number: int) -> None:
        some = work.texts[2 * size * number : 2 * size * (number + 1)]
        vectors = [F.normalize(mean_of(stock, rows_of(side, tokenizer, encoder))) for side in (some[::2], some[1::2])]
        loss = F.cross_entropy(vectors[0] @ vectors[1].T / TEMPERATURE, torch.arange(size))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stock.parameters(), 1.0)
        optimizer.step()

    return prepare


def matmul(rows: int, width: int, inner: int, times: int) -> Side:
    """The ceiling: the largest product of the transformer's layers, on all tokens of a batch at once."""
    import torch

    left, right, out = torch.randn(rows, width), torch.randn(width, inner), torch.empty(rows, inner)

    def work() -> None:
        for _ in range(times):
            torch.mm(left, right, out=out)

    return Side(prepare=lambda: work, amounts={"flops": 2.0 * rows * width * inner * times})
