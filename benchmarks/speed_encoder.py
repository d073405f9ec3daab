"""Encoders beside what a user would take instead: packed against padded, our bags against torch's, Bag against ST.

    OMP_NUM_THREADS=1 python benchmarks/speed_encoder.py [--seconds 3]

Everything runs on one thread, on made-up rows whose lengths are ragged like crops' (uniform from 5 to 128 tokens).
"""

from __future__ import annotations

import argparse
import copy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from pretrieve.core import files
from pretrieve.core.types import Rows, SpecialTokens
from pretrieve.models.export import save_model
from pretrieve.models.losses import in_batch_softmax
from pretrieve.models.static import StaticEncoder
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.text import tokenizer as tokenizers

VOCABULARY = 16_384
SPECIALS = SpecialTokens(cls=2, sep=3, mask=4, pad=0, unknown=1, vocabulary=VOCABULARY, first_ordinary=5)


def ragged(count: int, rng: np.random.Generator) -> Rows:
    lengths = rng.integers(5, 129, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Rows(np.minimum(rng.zipf(1.3, offsets[-1]) + 4, VOCABULARY - 1).astype(np.int64), offsets)


def rate(step: Callable[[], object], units: int, seconds: float) -> float:
    """Units a second of processor time (one thread, so a busy machine matters less); the best of at least two runs."""
    step()
    best, start, runs = float("inf"), time.process_time(), 0
    while runs < 2 or time.process_time() - start < seconds:
        began = time.process_time()
        step()
        best, runs = min(best, time.process_time() - began), runs + 1
    return units / best


def padded(model: BertModel, rows: Rows) -> torch.Tensor:
    """What a user writes: pad to the longest row, mean over the mask."""
    places = np.arange(rows.lengths.max()) < rows.lengths[:, None]
    ids = np.zeros(places.shape, np.int64)
    ids[places] = rows.tokens
    mask = torch.from_numpy(places.astype(np.int64))
    states = model(input_ids=torch.from_numpy(ids), attention_mask=mask).last_hidden_state
    return (states * mask.unsqueeze(2)).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def packed_against_padded(seconds: float) -> None:
    rows = ragged(32, np.random.default_rng(0))
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=3, num_attention_heads=12, intermediate_size=1536
    )
    stock = BertModel(config)
    ours = TransformerEncoder(copy.deepcopy(stock), SPECIALS, max_length=512)
    tokens = len(rows.tokens)
    print(f"three-layer BERT of 384, 32 rows, {tokens} tokens, padded to {32 * int(rows.lengths.max())}")
    for name, mode in (("inference", False), ("training step", True)):
        for module in (stock, ours):
            module.train(mode)

        def run(encode: Callable[[], torch.Tensor], mode: bool = mode) -> None:
            with torch.set_grad_enabled(mode):
                vectors = encode()
                if mode:
                    vectors.sum().backward()

        theirs = rate(lambda: run(lambda: padded(stock, rows)), tokens, seconds)
        mine = rate(lambda: run(lambda: ours(rows)), tokens, seconds)
        print(f"  {name:14} padded {theirs:8,.0f}  packed {mine:8,.0f} tokens/s  ratio {mine / theirs:.2f}")


def static_step(seconds: float) -> None:
    rng = np.random.default_rng(0)
    rows = ragged(2048, rng)
    tokens = len(rows.tokens)
    for vocabulary, dimensions in ((16_384, 256), (32_768, 512)):
        specials = SpecialTokens(cls=None, sep=None, mask=4, pad=0, unknown=1, vocabulary=vocabulary, first_ordinary=5)
        start = rng.standard_normal((vocabulary, dimensions), dtype=np.float32)
        rates = []
        for bag in (torch_bag, lambda encoder, rows: encoder(rows)[:, 0]):
            encoder = StaticEncoder(start, specials)
            optimizer = torch.optim.AdamW(encoder.parameters(), lr=1e-3, fused=True)

            def step(bag=bag, encoder=encoder, optimizer=optimizer) -> None:
                optimizer.zero_grad()
                vectors = bag(encoder, rows)
                losses, _ = in_batch_softmax(vectors[:1024], vectors[1024:], similarity="cosine", temperature=0.05)
                losses.mean().backward()
                torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
                optimizer.step()

            rates.append(rate(step, tokens, seconds))
        print(
            f"static {vocabulary} x {dimensions}, whole step of 1,024 pairs: torch's EmbeddingBag {rates[0]:,.0f}, "
            f"ours {rates[1]:,.0f} tokens/s  ratio {rates[1] / rates[0]:.2f}"
        )


def torch_bag(encoder: StaticEncoder, rows: Rows) -> torch.Tensor:
    offsets = torch.from_numpy(rows.offsets[:-1])
    return F.embedding_bag(torch.from_numpy(rows.tokens), encoder.embedding.weight, offsets, mode="mean")


def bag_against_sentence_transformers(seconds: float) -> None:
    from sentence_transformers import SentenceTransformer

    from pretrieve.models.bag import Bag

    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghij"), rng.integers(2, 8))) for _ in range(5000)])
    texts = [" ".join(rng.choice(words, rng.integers(5, 80))) for _ in range(2000)]
    tokenizer = tokenizers.train(texts, vocabulary_size=VOCABULARY)
    start = rng.standard_normal((tokenizer.specials.vocabulary, 256))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        with files.create(path, "model") as artefact:
            save_model(artefact, StaticEncoder(start, tokenizer.bare()), tokenizer)
        stock, bag = SentenceTransformer(str(path), device="cpu"), Bag.load(path)
        for name, some in (("2,000 texts", texts), ("one query", texts[:1])):
            theirs = rate(lambda some=some: stock.encode(some), len(some), seconds)
            mine = rate(lambda some=some: bag.encode(some), len(some), seconds)
            print(f"{name}: SentenceTransformer {theirs:,.0f}, Bag {mine:,.0f} texts/s  ratio {mine / theirs:.1f}")
        cold(path)


def cold(path: Path) -> None:
    """Import, load and one query in a fresh process: processor seconds and peak memory (Linux)."""
    script = (
        "import time, sys; from pathlib import Path\nbegan = time.process_time()\n{load}\n"
        "peak = Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0]\n"
        "print(f'{{time.process_time() - began:.2f}} s, {{int(peak) / 1024:.0f}} MB')"
    )
    ours = "from pretrieve.models.bag import Bag; Bag.load(Path(sys.argv[1])).encode(['a query'])"
    stock = (
        "from sentence_transformers import SentenceTransformer\n"
        "SentenceTransformer(sys.argv[1], device='cpu').encode(['a query'])"
    )
    for name, load in (("Bag", ours), ("SentenceTransformer", stock)):
        command = [sys.executable, "-c", script.format(load=load), str(path)]
        found = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"cold process, import + load + one query, {name}: {found.stdout.strip()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each measurement")
    parser.add_argument("--only", choices=("packed", "static", "bag"), help="one part of it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parts = {"packed": packed_against_padded, "static": static_step, "bag": bag_against_sentence_transformers}
    for name in [arguments.only] if arguments.only else parts:
        parts[name](arguments.seconds)
