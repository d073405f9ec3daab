"""What a user would take instead on a GPU, for ``gpu_speed.py``: a padded loop, and sentence-transformers."""

from __future__ import annotations

import tempfile
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pretrieve.core.types import Batch
from pretrieve.models import devices
from pretrieve.models.losses import in_batch_softmax

if TYPE_CHECKING:
    from gpu_speed import Bench

WINDOW, TEMPERATURE = 256, 0.05
WARMING = 3  # steps before the clock starts


def padded(bench: Bench, name: str, size: int) -> dict[str, Any]:
    """A loop as one writes it with transformers: pad to the longest row, mean over the mask."""
    model = bench.model(name).to(bench.device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step(number: int) -> None:
        rows = bench.batch(size, number).rows
        places = np.arange(rows.lengths.max()) < rows.lengths[:, None]
        ids = np.zeros(places.shape, np.int64)
        ids[places] = rows.tokens
        mask = torch.from_numpy(places.astype(np.int64)).to(bench.device)
        with half(bench.device):
            states = model(input_ids=torch.from_numpy(ids).to(bench.device), attention_mask=mask).last_hidden_state
        vectors = (states.float() * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        losses, _ = in_batch_softmax(vectors[::2], vectors[1::2], similarity="cosine", temperature=TEMPERATURE)
        optimizer.zero_grad()
        losses.mean().backward()
        optimizer.step()

    return bench.timed(size, step)


def half(device: torch.device) -> Any:
    """bfloat16 autocast where ``precision=auto`` has it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=devices.precision_of("auto", device) == "bfloat16")


def sentence_transformers(bench: Bench, name: str, size: int, mini: int = 0) -> dict[str, Any]:
    """The peer's model and loss in a loop of steps; with ``mini``, its cached loss."""
    from sentence_transformers.sentence_transformer.losses import (
        CachedMultipleNegativesRankingLoss,
        MultipleNegativesRankingLoss,
    )

    model = peer(bench, name)
    scale = {"scale": 1 / TEMPERATURE}
    cached = CachedMultipleNegativesRankingLoss(model, **scale, mini_batch_size=mini) if mini else None
    loss = cached or MultipleNegativesRankingLoss(model, **scale)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    texts = {step: sides(bench.batch(size, step)) for step in range(8)}

    def step(number: int) -> None:
        features = [
            {
                key: value.to(bench.device)
                for key, value in model.preprocess(list(side)).items()
                if torch.is_tensor(value)
            }
            for side in texts[number % 8]
        ]
        with half(bench.device):
            value = loss(features, None)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()

    return bench.timed(size, step)


def sentence_transformers_trainer(bench: Bench, name: str, size: int) -> dict[str, Any]:
    """The peer's trainer, which needs the library of data sets; it shuffles the same pairs."""
    if find_spec("datasets") is None:
        return {"left_out": "datasets is not installed"}
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model, clock = peer(bench, name), Clock(bench)
    pairs = [sides(bench.batch(size, step)) for step in range(8)] * 16
    columns = {
        key: [text for step in pairs for text in step[place]] for place, key in enumerate(("anchor", "positive"))
    }
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder, per_device_train_batch_size=size, max_steps=len(pairs), report_to=[],
            save_strategy="no", bf16=bench.device.type == "cuda", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=Dataset.from_dict(columns), callbacks=[clock.callback()],
            loss=MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE),
        ).train()  # fmt: skip
    tokens = sum(len(bench.batch(size, step).rows.tokens) for step in range(8)) / 8
    return {"tokens_per_second": tokens / clock.seconds_per_step}


class Clock:
    """Seconds of a step of a trainer that is not ours, from the third step on; stops it after the seconds of a row."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self._began, self._ended, self._steps = bench, 0.0, 0.0, 0

    def callback(self) -> Any:
        """What the trainer calls after every step."""
        from transformers import TrainerCallback

        class Watch(TrainerCallback):
            def on_step_end(_, arguments: Any, state: Any, control: Any, **others: Any) -> None:  # noqa: N805
                control.should_training_stop = self._stepped(state.global_step)

        return Watch()

    def _stepped(self, step: int) -> bool:
        self._bench.wait()
        now = time.perf_counter()
        if step <= WARMING:
            self._began = now
        else:
            self._ended, self._steps = now, step - WARMING
        return self._steps > 0 and now - self._began > self._bench.scale.seconds

    @property
    def seconds_per_step(self) -> float:
        """Mean over the steps that count."""
        return (self._ended - self._began) / self._steps


def peer(bench: Bench, name: str) -> Any:
    """A model of sentence-transformers with the same weights; a word of its tokenizer is a token of ours."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = names + [f"w{number}" for number in range(5, bench.scale.vocabulary)]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        bench.model(name).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        transformer = modules.Transformer(folder, max_seq_length=WINDOW)
        pooling = modules.Pooling(transformer.get_embedding_dimension(), "mean")
        return SentenceTransformer(modules=[transformer, pooling], device=str(bench.device)).train()


def sides(batch: Batch) -> tuple[list[str], list[str]]:
    """The texts of both sides of a batch."""
    texts = [" ".join(f"w{token}" for token in batch.rows.row(row)[1:-1]) for row in range(len(batch.rows))]
    return texts[::2], texts[1::2]
