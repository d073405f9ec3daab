"""How near does a static student come to its teacher? Distils, one collection at a time, and judges every stage.

    python benchmarks/distill.py DATA --teacher FOLDER -o records/distill --bfloat16

DATA holds BEIR folders. Labels are used for judging alone, and only the splits named below are looked at. The teacher's
vectors are kept in --work, so that a run that was stopped goes on. Where the library model2vec can be imported with its
extra `distill`, its own distillation of the same teacher is judged as well; it sees no documents.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import safetensors.torch
import torch

from pretrieve.evaluation.benchmark import evaluate_rankings, parse_metrics, rank
from pretrieve.evaluation.significance import paired_permutation
from pretrieve.index.fuse import Fusion
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.pseudo import full_text
from pretrieve.models.bag import Bag
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.distill.distill import distill
from pretrieve.pipeline.distill.request import DistillRequest
from pretrieve.pipeline.run.workspace import CHECKPOINTS, workspace_of
from pretrieve.text.beir import Collection, load_collection

SPLITS = {"policyqa": "dev", "covidqa_psg": "dev", "squad_dev": "train_a", "dbpedia_mini": "dev", "scifact": "train"}
WITHOUT_TITLES = {"squad_dev"}
QUERIES = 300
WEIGHTS = (0.6, 1.0, 2.0)
METRIC = "nDCG@10"


class Cached:
    """A teacher whose vectors are kept on disk by text."""

    separator = " "

    def __init__(self, inner: Any, folder: Path) -> None:
        self.inner, self.folder = inner, folder
        self.fingerprint, self.location, self.similarity = inner.fingerprint, inner.location, inner.similarity
        folder.mkdir(parents=True, exist_ok=True)
        self.known: dict[str, np.ndarray] = {}
        for path in sorted(folder.glob("[0-9]*.npz")):
            part = np.load(path)
            self.known |= dict(zip(part["keys"].tolist(), part["vectors"], strict=True))

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        keys = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.known}
        order = sorted(new, key=lambda key: (len(new[key]), key))
        for first in range(0, len(order), 1024):
            part = order[first : first + 1024]
            vectors = self.inner.encode_documents([new[key] for key in part]).astype(np.float32)
            self.known |= dict(zip(part, vectors, strict=True))
            target = self.folder / f"{time.time_ns()}.npz"
            beside = self.folder / f"part-{target.name}"
            np.savez(beside, keys=np.array(part), vectors=vectors)
            beside.rename(target)
        return np.stack([self.known[key] for key in keys])

    encode_queries = encode_documents


class Foreign:
    """A model of the library model2vec, which gives vectors of length one."""

    similarity, separator, fingerprint, location = "cosine", " ", "model2vec", "model2vec"

    def __init__(self, model: Any) -> None:
        self.model = model

    def encode_documents(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self.model.encode(list(texts)), np.float32)

    encode_queries = encode_documents


def sampled(data: Path, name: str) -> Collection:
    """The collection with the same few of its queries every time."""
    found = load_collection(data / name, SPLITS[name], titles=name not in WITHOUT_TITLES)
    chosen = sorted(found.queries)
    random.Random(0).shuffle(chosen)
    chosen = chosen[:QUERIES]
    return replace(
        found, queries={key: found.queries[key] for key in chosen}, qrels={key: found.qrels[key] for key in chosen}
    )


def judged(collection: Collection, encoder: Any, words: Index) -> dict[str, np.ndarray]:
    """nDCG@10 of every query, by dense search and fused at each weight."""
    index = Index.of(collection.documents, encoder, IndexOptions(dense=1.0), lexical=words.lexical)
    systems = {"dense": (index, "dense")}
    systems |= {f"fused {w:g}": (replace(index, fusion=Fusion(dense=w)), "hybrid") for w in WEIGHTS}
    measures = parse_metrics((METRIC,))
    return {
        name: evaluate_rankings(rank(one, collection, 10, mode, drop_same_id=False), collection, measures)[METRIC]
        for name, (one, mode) in systems.items()
    }


def stages(output: Path, steps: dict[str, int]) -> dict[str, Bag]:
    """The student after each training, out of its checkpoints."""
    saved, found = Bag.load(output), {}
    for name, count in steps.items():
        path = workspace_of(output) / CHECKPOINTS / name / f"step-{count:06d}" / "weights.safetensors"
        found[name] = replace(saved, vectors=safetensors.torch.load_file(path)["encoder.embedding.weight"].numpy())
    return found


def run(name: str, asked: argparse.Namespace, inner: Any, foreign: Any) -> dict[str, Any]:
    collection = sampled(asked.data, name)
    source = asked.work / f"{name}.jsonl"
    records = ({"id": d.id, "title": d.title, "text": d.text} for d in collection.documents)
    source.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))
    shared = Cached(inner, asked.work / "teacher" / name)
    usual = {"sources": (str(source),), "teacher": str(asked.teacher), "seed": asked.seed, "bfloat16": asked.bfloat16}
    tokens_only, output = asked.work / f"{name}-tokens", asked.work / name
    distill(
        DistillRequest(**usual, output=tokens_only, stages=("tokens",), overwrite=tokens_only.exists()), encoder=shared
    )
    started = time.time()
    request = DistillRequest(**usual, output=output, overwrite=output.exists(), keep_workspace=True)
    report = distill(request, encoder=shared)
    seconds = time.time() - started
    words = Index.of(collection.documents)
    systems = {"teacher": shared, "tokens": Bag.load(tokens_only)}
    systems |= stages(output, {"distil": request.steps, "contrast": request.contrast_steps})
    systems |= {"model2vec": Foreign(foreign)} if foreign is not None else {}
    measures = parse_metrics((METRIC,))
    bm25 = evaluate_rankings(rank(words, collection, 10, "lexical", drop_same_id=False), collection, measures)[METRIC]
    values = {system: judged(collection, encoder, words) for system, encoder in systems.items()}
    return {
        "collection": name,
        "split": SPLITS[name],
        "documents": len(collection.documents),
        "queries": len(collection.queries),
        "seed": asked.seed,
        "BM25": float(bm25.mean()),
        "nDCG@10": {system: {mode: float(v.mean()) for mode, v in found.items()} for system, found in values.items()},
        "p against the teacher, dense": {
            system: paired_permutation(found["dense"], values["teacher"]["dense"])
            for system, found in values.items()
            if system != "teacher"
        },
        "saved": report.saved,
        "agreement": (report.signal or {}).get("stages"),
        "seconds of the run, teacher's vectors partly known": round(seconds, 1),
        "speed": speed(inner, Bag.load(output), [full_text(d) for d in collection.documents]),
    }


def speed(teacher: Any, student: Bag, texts: list[str]) -> dict[str, float]:
    """Documents a second of processor time, so that other work on the machine does not count."""
    few = texts[:: max(1, len(texts) // 96)][:96]
    found = {}
    for name, encode, read in (
        ("teacher", teacher.encode_documents, few),
        ("student", student.encode_documents, texts),
    ):
        encode(read[:16])
        before = time.process_time()
        encode(read)
        found[name] = len(read) / (time.process_time() - before)
    return {**found, "ratio": found["student"] / found["teacher"]}


def model2vec_of(teacher: Path) -> Any:
    try:
        from model2vec.distill import distill as other
    except ImportError:
        return None
    return other(str(teacher), pca_dims=256)


def table(folder: Path) -> str:
    """All collections, a row a system."""
    found = [orjson.loads(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    lines = ["| collection | system | dense | " + " | ".join(f"fused {w:g}" for w in WEIGHTS) + " | p, dense |"]
    lines.append("|---|---|" + "---|" * (len(WEIGHTS) + 2))
    for one in found:
        where = f"{one['collection']} ({one['split']}, {one['queries']} queries, {one['documents']:,} documents)"
        lines.append(f"| {where} | BM25 | {one['BM25']:.4f} |" + " |" * (len(WEIGHTS) + 1))
        for system, values in one["nDCG@10"].items():
            p = one["p against the teacher, dense"].get(system)
            cells = [f"{value:.4f}" for value in values.values()]
            mark = " (saved)" if system == one["saved"] else ""
            lines.append(f"| | {system}{mark} | " + " | ".join(cells) + f" | {'' if p is None else f'{p:.4f}'} |")
    lines += ["", "| collection | teacher, documents/s | student, documents/s | ratio |", "|---|---|---|---|"]
    for one in found:
        fast = one["speed"]
        lines.append(f"| {one['collection']} | {fast['teacher']:.0f} | {fast['student']:,.0f} | {fast['ratio']:,.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/distill"))
    parser.add_argument("--collections", nargs="*", default=list(SPLITS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="the teacher runs in half precision")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for folder in (asked.output, asked.work):
        folder.mkdir(parents=True, exist_ok=True)
    inner = open_encoder(str(asked.teacher), ModelOptions(similarity="cosine", batch_size=64))
    if asked.bfloat16:
        inner.query_model.bfloat16()
    foreign = model2vec_of(asked.teacher)
    for name in asked.collections:
        target = asked.output / f"{name}-{asked.seed}.json"
        if not target.exists():
            found = run(name, asked, inner, foreign)
            target.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
            print(name, orjson.dumps(found["nDCG@10"]).decode(), flush=True)
        (asked.output / "table.md").write_text(table(asked.output))


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
