"""Contriever pairs a second on one core: the vectorised sampler beside a loop that makes one pair at a time.

Usage: python benchmarks/speed_sampling.py [--documents 20000] [--batch 1024] [--seconds 3]
Two crops of 5 to 50 % of 256-token windows, 10 % of tokens deleted, with [CLS] and [SEP].
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pretrieve.core.memory import keep_freed_memory
from pretrieve.core.types import SpecialTokens
from pretrieve.methods import contriever
from pretrieve.sampling.batches import Batches

SPECIALS = SpecialTokens(cls=101, sep=102, mask=103, pad=0, unknown=100, vocabulary=30_000, first_ordinary=999)


def documents(count: int, length: int = 1024) -> SimpleNamespace:
    """Random documents of four windows each."""
    tokens = np.random.default_rng(0).integers(999, 30_000, size=count * length).astype(np.uint16)
    starts = np.arange(count) * length
    return SimpleNamespace(
        path=Path(),
        tokens=tokens,
        starts=starts,
        bodies=starts,
        ends=starts + length,
        groups=np.zeros(count, np.uint16),
    )


def one_by_one(store: SimpleNamespace, window: int = 256) -> int:
    """One pair, the way a per-item data set makes it; returns its tokens."""
    start = random.randrange(len(store.tokens) // window) * window
    item = store.tokens[start : start + window].tolist()
    total = 0
    for _ in range(2):
        size = int(len(item) * random.uniform(0.05, 0.5))
        at = random.randint(0, len(item) - size)
        crop = [token for token in item[at : at + size] if random.random() >= 0.1]
        total += len(np.array([SPECIALS.cls, *crop, SPECIALS.sep]))
    return total


def measure(work: object, seconds: float) -> tuple[float, float]:
    """Calls a second of processor time, and the mean of what they return."""
    calls, total, started = 0, 0, time.process_time()
    while time.process_time() - started < seconds:
        total += work(calls)  # type: ignore[operator]
        calls += 1
    return calls / (time.process_time() - started), total / calls


def main() -> None:
    """Measure both and print a line for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--seconds", type=float, default=3.0)
    arguments = parser.parse_args()
    keep_freed_memory()  # as the trainer does
    store = documents(arguments.documents)
    batches = Batches(
        sampler=contriever.sampler(store, SPECIALS, contriever.Options()), batch_size=arguments.batch, seed=0
    )
    batches(0)
    rate, tokens = measure(lambda step: len(batches(step).rows.tokens), arguments.seconds)
    slow, slow_tokens = measure(lambda _: one_by_one(store), arguments.seconds)
    fast = rate * arguments.batch
    print(f"vectorised   {fast:10,.0f} pairs/s  {tokens / arguments.batch:6.1f} tokens a pair")
    print(f"one by one   {slow:10,.0f} pairs/s  {slow_tokens:6.1f} tokens a pair")
    print(f"ratio        {fast / slow:10.1f}")


if __name__ == "__main__":
    main()
