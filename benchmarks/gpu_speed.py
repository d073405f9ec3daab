"""Training on one GPU beside what a user would take instead: tokens a second, share of the matmul peak, peak memory.

    python benchmarks/gpu_speed.py -o records/speed/gpu.json            # at most eight minutes on one GPU
    python benchmarks/gpu_speed.py --toy -o OUT.json                    # the same in seconds, on a CPU

BERT-base and a ModernBERT of base size, randomly initialised, on pairs of crops with Contriever's lengths (5 % to 50 %
of 256 tokens), in batches of 256 to 2,048. Every system gets the same rows, the same loss, bfloat16 autocast and
a fused AdamW; dropout of hidden states is .1 and of attention 0 on all sides. Tokens are real
ones: padding does not count. The share of the peak is that of the work of packed rows, counted
by torch, over a matrix product measured in the same run.
What does not fit the time or the memory is left out, and the reason stands in its place.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pretrieve.core.types import Batch, Rows, SpecialTokens
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.losses import in_batch_softmax
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.models.static import StaticEncoder
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer

WINDOW, SHORTEST, LONGEST, TEMPERATURE = 256, 0.05, 0.5, 0.05
WARMING = 3  # steps before the clock starts


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large everything is."""

    vocabulary: int
    sizes: dict[str, int]  # of both models
    batches: tuple[int, ...]
    chunk: int  # examples encoded at a time by the gradient cache
    matmul: int  # rows of the square matrices of the ceiling
    seconds: float  # of each row of the table


FULL = Scale(
    vocabulary=30_522, sizes={}, batches=(256, 1024, 2048), chunk=256, matmul=8192, seconds=6.0
)  # fmt: skip
TOY = Scale(
    vocabulary=500,
    sizes={"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
    batches=(8,),
    chunk=4,
    matmul=128,
    seconds=0.05,
)


class Pairs(Objective):
    """Two crops of a document are a pair; the other documents of the batch are negatives."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Encode both sides in one pass."""
        vectors = self.encoder(batch.rows).view(len(batch), 2, 1, -1)
        return Encoded(vectors={"query": vectors[:, :1], "key": vectors[:, 1:]})

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Softmax over the batch."""
        query, key = local_vectors["query"][:, 0, 0], global_vectors["key"][:, 0, 0]
        losses, _ = in_batch_softmax(query, key, similarity="cosine", temperature=TEMPERATURE, first=first)
        return Loss(value=losses.mean())


@dataclass(kw_only=True)
class Bench:
    """What all rows of the table share."""

    scale: Scale
    device: torch.device
    deadline: float
    batches: dict[tuple[int, int], Batch]

    @property
    def specials(self) -> SpecialTokens:
        """Special tokens of the made-up vocabulary."""
        return SpecialTokens(cls=2, sep=3, mask=4, pad=0, unknown=1, vocabulary=self.scale.vocabulary, first_ordinary=5)

    def batch(self, size: int, step: int) -> Batch:
        """A batch of pairs of crops; the same for every system, drawn once."""
        step %= 8
        if (size, step) not in self.batches:
            rng = np.random.default_rng((size, step))
            lengths = (rng.uniform(SHORTEST, LONGEST, 2 * size) * WINDOW).astype(int)
            rows = [
                [2, *np.minimum(rng.zipf(1.3, length) + 4, self.scale.vocabulary - 1).tolist(), 3] for length in lengths
            ]
            self.batches[size, step] = Batch(rows=Rows.of(rows), shape=(size, 2), documents=np.arange(size))
        return self.batches[size, step]

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def timed(self, size: int, step: Callable[[int], object]) -> dict[str, Any]:
        """Run steps for the seconds of a row; median tokens a second of three parts, and peak memory in GiB."""
        for number in range(WARMING):
            step(number)
        self.wait()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        rates, number = [], WARMING
        for _ in range(3):
            tokens, began = 0, time.perf_counter()
            while not tokens or time.perf_counter() - began < self.scale.seconds / 3:
                for _ in range(4):  # between two looks at the clock, the host runs ahead
                    step(number)
                    tokens += len(self.batch(size, number).rows.tokens)
                    number += 1
                self.wait()
            rates.append(tokens / (time.perf_counter() - began))
        memory = torch.cuda.max_memory_allocated() / 2**30 if self.device.type == "cuda" else None
        return {"tokens_per_second": statistics.median(rates), "spread": max(rates) - min(rates), "peak_gib": memory}


def model_of(bench: Bench, name: str) -> torch.nn.Module:
    """A randomly initialised model of a published size."""
    from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel

    torch.manual_seed(0)
    sizes = {"vocab_size": bench.scale.vocabulary, "pad_token_id": 0, **bench.scale.sizes}
    if name == "bert-base":
        return BertModel(BertConfig(**sizes, attention_probs_dropout_prob=0.0), add_pooling_layer=False)
    tokens = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
    return ModernBertModel(ModernBertConfig(**sizes, **tokens, mlp_dropout=0.1))


def packed(bench: Bench, name: str, size: int, **changes: Any) -> dict[str, Any]:
    """Ours: rows without padding."""
    model = model_of(bench, name)
    encoder = TransformerEncoder(model, bench.specials, max_length=WINDOW)
    encoder.drop_attention = False
    trainer = trainer_of(bench, encoder, size, **changes)
    found = bench.timed(size, lambda step: trainer.take(bench.batch(size, step)))
    if not changes:
        found["flops_per_token"] = flops(trainer, bench.batch(size, 0))
    return found


def trainer_of(bench: Bench, encoder: Encoder, size: int, **changes: Any) -> Trainer:
    """The trainer of an encoder on pairs, on the device."""
    objective = Pairs(encoder)
    devices.place(objective, bench.device)
    options = TrainingOptions(steps=1_000_000, batch_size=size, log_every=4, learning_rate=1e-5, **changes)
    return Trainer(objective=objective, batches=lambda step: bench.batch(size, step), options=options)


def flops(trainer: Trainer, batch: Batch) -> float:
    """Floating-point operations of a step for each real token, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        trainer.take(batch)
    return counter.get_total_flops() / len(batch.rows.tokens)


def padded(bench: Bench, name: str, size: int) -> dict[str, Any]:
    """A loop as one writes it with transformers: pad to the longest row, mean over the mask."""
    model = model_of(bench, name).to(bench.device).train()
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
    """The peer's trainer, which needs the library of data sets."""
    if find_spec("datasets") is None:
        return {"left_out": "datasets is not installed"}
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    model = peer(bench, name)
    pairs = [sides(bench.batch(size, step)) for step in range(8)]
    columns = {
        key: [text for step in pairs for text in step[place]] for place, key in enumerate(("anchor", "positive"))
    }
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder, per_device_train_batch_size=size, max_steps=8, report_to=[], save_strategy="no",
            bf16=bench.device.type == "cuda", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        made = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=Dataset.from_dict(columns),
            loss=MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE),
        )  # fmt: skip
        made.train()  # warms up
        seconds = made.train().metrics["train_runtime"]
    tokens = sum(len(bench.batch(size, step).rows.tokens) for step in range(8))
    return {"tokens_per_second": tokens / seconds}


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
        model_of(bench, name).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        transformer = modules.Transformer(folder, max_seq_length=WINDOW)
        pooling = modules.Pooling(transformer.get_embedding_dimension(), "mean")
        return SentenceTransformer(modules=[transformer, pooling], device=str(bench.device)).train()


def sides(batch: Batch) -> tuple[list[str], list[str]]:
    """The texts of both sides of a batch."""
    texts = [" ".join(f"w{token}" for token in batch.rows.row(row)[1:-1]) for row in range(len(batch.rows))]
    return texts[::2], texts[1::2]


def static(bench: Bench, size: int) -> dict[str, Any]:
    """A static encoder of 512 dimensions."""
    weights = np.random.default_rng(0).standard_normal((bench.scale.vocabulary, 512)).astype(np.float32)
    trainer = trainer_of(bench, StaticEncoder(weights, bench.specials), size)
    return bench.timed(size, lambda step: trainer.take(bench.batch(size, step)))


def ceiling(bench: Bench) -> float:
    """Floating-point operations a second of a large matrix product, in the precision of the runs."""
    dtype = torch.bfloat16 if devices.precision_of("auto", bench.device) == "bfloat16" else torch.float32
    one = torch.randn(bench.scale.matmul, bench.scale.matmul, device=bench.device, dtype=dtype)
    best = float("inf")
    for _ in range(10):
        bench.wait()
        began = time.perf_counter()
        for _ in range(4):
            one @ one
        bench.wait()
        best = min(best, (time.perf_counter() - began) / 4)
    return 2 * bench.scale.matmul**3 / best


def rows_of(bench: Bench) -> Iterator[tuple[str, str, int, Callable[[], dict[str, Any]]]]:
    """Model, system and batch size of every row of the table, the most important first."""
    chunk, first = bench.scale.chunk, bench.scale.batches[0]
    for size in bench.scale.batches:
        for name in ("bert-base", "modernbert-base"):
            yield name, "packed", size, lambda n=name, s=size: packed(bench, n, s)
            yield name, "padded loop", size, lambda n=name, s=size: padded(bench, n, s)
            yield name, "sentence-transformers", size, lambda n=name, s=size: sentence_transformers(bench, n, s)
            yield name, "packed, compiled", size, lambda n=name, s=size: packed(bench, n, s, compile=True)
            cached = {"cache": True, "chunk": chunk}
            yield name, "gradient cache", size, lambda n=name, s=size, c=cached: packed(bench, n, s, **c)
    largest = bench.scale.batches[-1]
    yield (
        "bert-base",
        "sentence-transformers, cached",
        largest,
        lambda: sentence_transformers(bench, "bert-base", largest, chunk),
    )
    yield (
        "bert-base",
        "sentence-transformers' trainer",
        first,
        lambda: sentence_transformers_trainer(bench, "bert-base", first),
    )
    yield "static", "static", largest, lambda: static(bench, largest)


def measured(bench: Bench, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A row, or the reason why it is left out."""
    if time.monotonic() > bench.deadline:
        return {"left_out": "no time is left"}
    try:
        return dict(make())
    except torch.OutOfMemoryError:
        return {"left_out": "out of memory"}
    except Exception as error:  # one system that fails is no reason to lose the others
        return {"left_out": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    finally:
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()


def table(bench: Bench) -> dict[str, Any]:
    """All rows, with their share of the peak and their ratio to the peers."""
    peak = ceiling(bench)
    rows, work = [], {}
    for model, system, size, make in rows_of(bench):
        row = {"model": model, "system": system, "batch_size": size, **measured(bench, make)}
        work.setdefault((model, size), row.get("flops_per_token"))
        if "tokens_per_second" in row and work[model, size]:
            row["share_of_peak"] = row["tokens_per_second"] * work[model, size] / peak
        rows.append(row)
        print(json.dumps(row), flush=True)
    return {
        "device": devices.product(bench.device),
        "precision": devices.precision_of("auto", bench.device),
        "torch": torch.__version__,
        "matmul_flops_per_second": peak,
        "rows": rows,
    }


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--toy", action="store_true", help="seconds on a CPU, to see that it runs")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    device = devices.chosen(asked.device)
    devices.tune(device)
    deadline = time.monotonic() + 60 * asked.minutes * 0.9  # the last row is finished
    bench = Bench(scale=TOY if asked.toy else FULL, device=device, deadline=deadline, batches={})
    found = table(bench)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
