"""Training on one GPU beside what a user would take instead: tokens a second, share of the matmul peak, peak memory.

    python benchmarks/gpu_speed.py -o records/speed/gpu.json            # at most eight minutes on one GPU
    python benchmarks/gpu_speed.py --toy -o OUT.json                    # the same in seconds, on a CPU

BERT-base and a ModernBERT of base size, randomly initialised, on pairs of crops with Contriever's lengths (5 % to 50 %
of 256 tokens), in batches of 256 to 2,048. Every system gets the same rows, the same loss, bfloat16 autocast and
a fused AdamW; dropout of hidden states is .1 and of attention 0 on all sides. Tokens are real
ones: padding does not count. The share of the peak is that of the work of packed rows, counted
by torch, over a matrix product measured in the same run.
What does not fit the time or the memory is left out, and the reason stands in its place: a row that fails costs that
row, one that runs into the end is stopped, and the file is written after every row.

Nothing is downloaded. For a machine without a network, collect the wheels on one of the same Python, with the torch
of its CUDA, and install from them; compiling also needs a C compiler and Python's headers there:

    pip download -d wheels ".[train]" datasets --index-url https://download.pytorch.org/whl/cu130 \\
        --extra-index-url https://pypi.org/simple
    python -m venv venv && venv/bin/pip install --no-index --find-links wheels "pretrieve[train]" datasets
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parent))

from gpu_peers import (
    TEMPERATURE,
    WARMING,
    WINDOW,
    padded,
    sentence_transformers,
    sentence_transformers_trainer,
)

from pretrieve.core.types import Batch, Rows, SpecialTokens
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.losses import in_batch_softmax
from pretrieve.models.objective import Encoded, Loss, Objective
from pretrieve.models.static import StaticEncoder
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer, prefetched

SHORTEST, LONGEST = 0.05, 0.5  # crops, in parts of the window
BEGAN = time.monotonic()
LEAVING = 5  # seconds in which a stopped row ends


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

    def model(self, name: str) -> torch.nn.Module:
        """A randomly initialised model of a published size."""
        from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel

        torch.manual_seed(0)
        sizes = {"vocab_size": self.scale.vocabulary, "pad_token_id": 0, **self.scale.sizes}
        if name == "bert-base":
            return BertModel(BertConfig(**sizes, attention_probs_dropout_prob=0.0), add_pooling_layer=False)
        tokens = {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3}
        return ModernBertModel(ModernBertConfig(**sizes, **tokens, mlp_dropout=0.1))

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


def packed(bench: Bench, name: str, size: int, **changes: Any) -> dict[str, Any]:
    """Ours: rows without padding."""
    model = bench.model(name)
    encoder = TransformerEncoder(model, bench.specials, max_length=WINDOW)
    encoder.drop_attention = False
    trainer = trainer_of(bench, encoder, size, **changes)
    found = bench.timed(size, steps_of(trainer))
    if not changes:
        found["flops_per_token"] = flops(trainer, bench.batch(size, 0))
    return found


def trainer_of(bench: Bench, encoder: Encoder, size: int, **changes: Any) -> Trainer:
    """The trainer of an encoder on pairs, on the device."""
    objective = Pairs(encoder)
    devices.place(objective, bench.device)
    options = TrainingOptions(steps=1_000_000, batch_size=size, log_every=4, learning_rate=1e-5, **changes)

    def drawn(step: int) -> Batch:
        """A batch of its own, so that it is laid out for every step as in a run."""
        batch = bench.batch(size, step)
        return replace(batch, rows=Rows(batch.rows.tokens, batch.rows.offsets))

    return Trainer(objective=objective, batches=drawn, options=options)


def steps_of(trainer: Trainer) -> Callable[[int], None]:
    """Take steps as a run does: batches are drawn and laid out ahead, in a thread."""
    batches = prefetched(trainer.drawn, 0, trainer.options.steps)
    return lambda _: trainer.take(next(batches))


def flops(trainer: Trainer, batch: Batch) -> float:
    """Floating-point operations of a step for each real token, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        trainer.take(batch)
    return counter.get_total_flops() / len(batch.rows.tokens)


def static(bench: Bench, size: int) -> dict[str, Any]:
    """A static encoder of 512 dimensions."""
    weights = np.random.default_rng(0).standard_normal((bench.scale.vocabulary, 512)).astype(np.float32)
    trainer = trainer_of(bench, StaticEncoder(weights, bench.specials), size)
    return bench.timed(size, steps_of(trainer))


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
    chunk, (first, *others) = bench.scale.chunk, bench.scale.batches
    names, largest = ("bert-base", "modernbert-base"), bench.scale.batches[-1]
    cached = {"cache": True, "chunk": chunk}
    for size in dict.fromkeys((first, largest, *others)):
        for name in names:
            yield name, "packed", size, lambda n=name, s=size: packed(bench, n, s)
            yield name, "padded loop", size, lambda n=name, s=size: padded(bench, n, s)
            yield name, "sentence-transformers", size, lambda n=name, s=size: sentence_transformers(bench, n, s)
            if size == first:
                trainer = sentence_transformers_trainer
                yield name, "sentence-transformers' trainer", size, lambda n=name, s=size, t=trainer: t(bench, n, s)
            if size > chunk:
                yield name, "gradient cache", size, lambda n=name, s=size: packed(bench, n, s, **cached)
        if size == first:
            yield "static", "static", largest, lambda: static(bench, largest)
            peer_cached = "sentence-transformers, cached"
            yield names[0], peer_cached, largest, lambda: sentence_transformers(bench, names[0], largest, chunk)
    for size in dict.fromkeys((largest, first)):  # last, because compiling takes a minute
        for name in names:
            yield name, "packed, compiled", size, lambda n=name, s=size: packed(bench, n, s, compile=True)


@contextmanager
def ending(bench: Bench) -> Iterator[None]:
    """Stop what runs into the end of the time, wherever it is."""

    def stop(*_: object) -> None:
        raise TimeoutError("no time is left")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, bench.deadline - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def measured(bench: Bench, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A row, or the reason why it is left out."""
    if time.monotonic() > bench.deadline:
        return {"left_out": "no time is left"}
    try:
        with ending(bench):
            return dict(make())
    except TimeoutError:
        return {"left_out": "no time is left"}
    except torch.OutOfMemoryError:
        return {"left_out": "out of memory"}
    except Exception as error:  # one system that fails is no reason to lose the others
        return {"left_out": f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"}
    finally:
        if bench.device.type != "cpu":
            gc.collect()  # a stopped step leaves cycles that hold memory
            torch.accelerator.memory.empty_cache()


def table(bench: Bench, output: Path) -> None:
    """All rows, with their share of the peak; written after each, so that what is measured is kept."""
    work: dict[tuple[str, int], float | None] = {}
    found: dict[str, Any] = {
        "device": devices.product(bench.device),
        "precision": devices.precision_of("auto", bench.device),
        "torch": torch.__version__,
        "matmul_flops_per_second": ceiling(bench),
        "rows": [],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    for model, system, size, make in rows_of(bench):
        row = {"model": model, "system": system, "batch_size": size, **measured(bench, make)}
        work.setdefault((model, size), row.get("flops_per_token"))
        if "tokens_per_second" in row and work[model, size]:
            row["share_of_peak"] = row["tokens_per_second"] * work[model, size] / found["matmul_flops_per_second"]
        found["rows"].append(row)
        print(json.dumps(row), flush=True)
        output.write_text(json.dumps(found, indent=1) + "\n")


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
    deadline = BEGAN + 60 * asked.minutes - LEAVING
    bench = Bench(scale=TOY if asked.toy else FULL, device=device, deadline=deadline, batches={})
    table(bench, asked.output)


if __name__ == "__main__":
    main()
