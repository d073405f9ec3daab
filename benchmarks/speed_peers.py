"""Training and encoding beside sentence-transformers' own: its trainer, cached loss, static trainer and ``encode``.

    OMP_NUM_THREADS=1 taskset -c 1 python benchmarks/speed_peers.py -o speed.json [--rounds 3] [--toy] [--only training]

Each measurement is a process of its own, sides take turns, and processor time counts, so that a busy machine matters
less. Both sides have the same model, texts, batches, dropout, optimizer and loss (in-batch negatives, cosine over .05);
tokenizing is part of both. Peak memory is the process's, and what training added to it (Linux).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

ROWS = ("training", "cached", "static", "encoding")
SIDES = ("pretrieve", "sentence-transformers")
RATE = 2e-5


def prepare(folder: Path, toy: bool) -> None:
    """Write texts, a transformer and a static model."""
    from transformers import BertConfig, BertModel

    from pretrieve.core import files
    from pretrieve.models.export import save_model
    from pretrieve.models.static import StaticEncoder
    from pretrieve.models.transformer import TransformerEncoder
    from pretrieve.text import tokenizer as tokenizers

    rng = np.random.default_rng(0)
    words = np.array(["".join(rng.choice(list("abcdefghij"), rng.integers(2, 8))) for _ in range(5000)])
    count = 64 if toy else 4096
    texts = [" ".join(words[np.minimum(rng.zipf(1.2, rng.integers(4, 80)), 5000) - 1]) for _ in range(2 * count)]
    (folder / "texts.json").write_text(json.dumps(texts))
    tokenizer = tokenizers.train(texts, vocabulary_size=500 if toy else 16_384)
    size = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    full = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    config = BertConfig(vocab_size=tokenizer.specials.vocabulary, **(size if toy else full))
    encoder = TransformerEncoder(BertModel(config), tokenizer.specials, max_length=128)
    table = rng.standard_normal((tokenizer.specials.vocabulary, 32 if toy else 256), dtype=np.float32)
    for name, made in (("transformer", encoder), ("static", StaticEncoder(table, tokenizer.bare()))):
        with files.create(folder / name, "model") as artefact:
            save_model(artefact, made, tokenizer)


def settings(row: str, toy: bool) -> dict[str, Any]:
    """Size of the measurement of a row."""
    if row == "static":
        return {"model": "static", "size": 16 if toy else 1024, "steps": 2 if toy else 20}
    steps = 2 if toy else 3 if row == "training" else 1
    return {"model": "transformer", "size": 8 if toy else 256 if row == "cached" else 32, "steps": steps}


def ours(folder: Path, row: str, toy: bool) -> Callable[[], object]:
    """What pretrieve does."""
    from pretrieve.core.types import Batch, Rows
    from pretrieve.models.losses import in_batch_softmax
    from pretrieve.models.objective import Encoded, Loss, Objective
    from pretrieve.models.restore import load_encoder
    from pretrieve.models.text_encoder import ModelOptions, open_encoder
    from pretrieve.text import tokenizer as tokenizers
    from pretrieve.training.options import TrainingOptions
    from pretrieve.training.trainer import Trainer

    size, texts = settings(row, toy), json.loads((folder / "texts.json").read_text())
    if row == "encoding":
        opened = open_encoder(str(folder / "transformer"), ModelOptions(device="cpu"))
        return lambda: opened.encode_documents(texts[: 16 if toy else 256])
    encoder, tokenizer = load_encoder(folder / size["model"]), tokenizers.load(folder / size["model"])
    specials, pairs = encoder.specials, size["size"]

    class Pairs(Objective):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def encode(self, batch: Batch, step: int) -> Encoded:
            return Encoded(vectors={"texts": encoder(batch.rows).reshape(len(batch), 2, 1, -1)})

        def compare(self, local_vectors, global_vectors, batch, first, step) -> Loss:
            mine, all_ = local_vectors["texts"], global_vectors["texts"]
            loss, _ = in_batch_softmax(mine[:, 0, 0], all_[:, 1, 0], similarity="cosine", temperature=0.05)
            return Loss(value=loss.mean())

    def batch(step: int) -> Batch:
        rows = tokenizer.encode(texts[2 * pairs * step : 2 * pairs * (step + 1)])
        if specials.cls is not None:
            room = encoder.max_length - 2
            rows = Rows.of([[specials.cls, *rows.row(at)[:room], specials.sep] for at in range(len(rows))])
        return Batch(rows=rows, shape=(pairs, 2), documents=np.arange(pairs))

    cached = {"cache": True, "chunk": 4 if toy else 32} if row == "cached" else {}
    options = TrainingOptions(
        steps=size["steps"], batch_size=pairs, learning_rate=RATE, warmup=0.0, weight_decay=0.0, clip=1.0, beta2=0.999,
        epsilon=1e-8, **cached,
    )  # fmt: skip
    return Trainer(objective=Pairs(), batches=batch, options=options).run


def theirs(folder: Path, row: str, toy: bool) -> Callable[[], object]:
    """What sentence-transformers does."""
    from sentence_transformers import SentenceTransformer

    size, texts = settings(row, toy), json.loads((folder / "texts.json").read_text())
    model = SentenceTransformer(str(folder / size["model"]), device="cpu")
    if row == "encoding":
        return lambda: model.encode(texts[: 16 if toy else 256])
    import datasets  # the trainer needs it: pip install 'pretrieve[hub]'
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer import losses

    used = texts[: 2 * size["size"] * size["steps"]]
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder / "out"), per_device_train_batch_size=size["size"], max_steps=size["steps"], use_cpu=True,
        learning_rate=RATE, report_to="none", save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    loss = losses.MultipleNegativesRankingLoss(model)
    if row == "cached":
        loss = losses.CachedMultipleNegativesRankingLoss(model, mini_batch_size=4 if toy else 32)
    data = datasets.Dataset.from_dict({"anchor": used[::2], "positive": used[1::2]})
    return SentenceTransformerTrainer(model=model, args=arguments, train_dataset=data, loss=loss).train


def peak() -> float:
    """Peak memory of this process until now, in MB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def measure(folder: Path, row: str, side: str, toy: bool) -> None:
    """Print seconds and memory of one side, as JSON in the last line."""
    work = (ours if side == "pretrieve" else theirs)(folder, row, toy)
    before, began = peak(), time.process_time()
    work()
    print(json.dumps({"seconds": time.process_time() - began, "peak_mb": peak(), "added_mb": peak() - before}))


def compared(folder: Path, row: str, rounds: int, toy: bool) -> dict[str, Any]:
    """Both sides in turns: medians, least and greatest, and the ratio of each pair."""
    runs: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--measure", row, side, str(folder), *(["--toy"] if toy else [])]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{row}, {side}: {done.stderr}")
            runs[side].append(json.loads(done.stdout.splitlines()[-1]))
    pairs = list(zip(*(runs[side] for side in SIDES), strict=True))
    ratios = [other["seconds"] / mine["seconds"] for mine, other in pairs]
    return {
        "row": row,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "memory_ratio": statistics.median(other["added_mb"] / max(mine["added_mb"], 1.0) for mine, other in pairs),
        "runs": runs,
        "settings": settings(row, toy),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="JSON file of the results")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of each row")
    parser.add_argument("--toy", action="store_true", help="a size that takes seconds, and says nothing")
    parser.add_argument("--only", choices=ROWS, action="append", help="rows to measure; all by default")
    parser.add_argument("--measure", nargs=3, metavar=("ROW", "SIDE", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        row, side, folder = arguments.measure
        measure(Path(folder), row, side, arguments.toy)
        return
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), arguments.toy)
        rows, chosen = [], arguments.only or list(ROWS)
        if find_spec("datasets") is None and set(chosen) - {"encoding"}:
            print("sentence-transformers' trainer needs datasets (pip install 'pretrieve[hub]'): encoding alone")
            chosen = [row for row in chosen if row == "encoding"]
        for row in chosen:
            rows.append(compared(Path(folder), row, arguments.rounds, arguments.toy))
            print(
                f"{row:9} {rows[-1]['ratio']:.2f} times as fast ({', '.join(f'{r:.2f}' for r in rows[-1]['ratios'])})"
            )
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
