"""Does the default help on text that nobody tuned on? Every collection of a folder, trained on without its labels.

    python benchmarks/label_free.py DATA -o records/label-free --seeds 0 1 2
    python benchmarks/label_free.py DATA -o records/label-free --models FOLDER ...  # beside downloaded models
    python benchmarks/label_free.py DATA -o records/label-free --only-table         # makes README.md again

DATA holds BEIR folders. Each is read as `pretrieve train` reads it; every variant is trained, and all of them, the
start, BM25 and their fusions are judged on a split that may be tuned on. One run, one JSON file: what is there is not
run again. Constants of the default (the weight of the vectors, that of the best passage) are fitted on all collections
but one and shown for that one.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import label_free_table
import numpy as np
import orjson
import records

from pretrieve.evaluation.choice import Choice
from pretrieve.index.fuse import standardise
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.pseudo import full_text
from pretrieve.index.ranking import top_k
from pretrieve.models.inference import encode
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.selection import select, too_little, untrained
from pretrieve.pipeline.pretrain.train import prepare_documents, train_variants
from pretrieve.pipeline.run.progress import Silent
from pretrieve.pipeline.run.run import Run, begin
from pretrieve.pipeline.run.sources import documents_of
from pretrieve.text.beir import Collection, load_collection

SPLITS = ("dev", "train", "train_a")  # the first that a collection has; test splits are left alone
WITHOUT_TITLES = {"squad_dev"}
SEVERAL_LANGUAGES = {"debdesc_x", "xquad"}
WEIGHTS = (0.25, 0.5, 0.8, 1.0)
PASSAGES = (0.0, 0.4)
QUERIES = 1000  # at most, drawn with seed 0
DISCOUNTS = 1 / np.log2(np.arange(2, 12))


def split_of(folder: Path) -> str | None:
    """The split to judge on."""
    return next((split for split in SPLITS if (folder / "qrels" / f"{split}.tsv").is_file()), None)


def collections(data: Path) -> list[str]:
    """Collections in one language that have a split to judge on."""
    found = [path.name for path in sorted(data.iterdir()) if path.is_dir() and split_of(path) is not None]
    return [name for name in found if name not in SEVERAL_LANGUAGES]


def without_titles(folder: Path, work: Path) -> Path:
    """A copy of a collection without its titles."""
    target = work / f"{folder.name}-without-titles"
    if not target.exists():
        shutil.copytree(folder, target, copy_function=shutil.copyfile)
        for path in (target, *target.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        with gzip.open(target / "corpus.jsonl.gz") as file:
            lines = [orjson.dumps({**orjson.loads(line), "title": ""}) for line in file]
        (target / "corpus.jsonl.gz").write_bytes(gzip.compress(b"\n".join(lines) + b"\n", 1))
    return target


class Judge:
    """nDCG@10 of score matrices on sampled labelled queries; ties go by id, as in `pretrieve evaluate`."""

    def __init__(self, collection: Collection) -> None:
        names = [query for query in collection.queries if any(grade > 0 for grade in collection.qrels[query].values())]
        if len(names) > QUERIES:
            chosen = np.sort(np.random.default_rng(0).permutation(len(names))[:QUERIES])
            names = [names[place] for place in chosen.tolist()]
        place = {document.id: number for number, document in enumerate(collection.documents)}
        self.queries = [collection.queries[name] for name in names]
        self.grades: list[dict[int, float]] = [
            {place[key]: float(grade) for key, grade in collection.qrels[name].items() if grade > 0 and key in place}
            for name in names
        ]
        judged = [sorted((g for g in collection.qrels[name].values() if g > 0), reverse=True)[:10] for name in names]
        self.ideal = np.array([float(np.dot(grades, DISCOUNTS[: len(grades)])) for grades in judged])

    def __call__(self, scores: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        values = np.zeros(len(scores))
        for row, grades in enumerate(self.grades):
            best = top_k(scores[row], ranks, 10).tolist()
            values[row] = sum(grades.get(hit, 0.0) * discount for hit, discount in zip(best, DISCOUNTS, strict=False))
        return values / self.ideal


def run(folder: Path, seed: int, work: Path, models: list[Path]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Train and judge one collection with one seed: figures, and nDCG@10 of every query by system."""
    source = without_titles(folder, work) if folder.name in WITHOUT_TITLES else folder
    output = work / f"{folder.name}-{seed}"
    request = TrainRequest(
        sources=(str(source),), output=output, seed=seed, tracker="none", on_bad="skip", overwrite=True,
        settings={"save_every": 0},
    )  # fmt: skip
    with begin("train", request, Silent(), without=("sources",)) as work_run:
        return judged(work_run, request, folder, source, models)


def judged(
    work_run: Run, request: TrainRequest, folder: Path, source: Path, models: list[Path]
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The same, in a run that holds its workspace."""
    started, seed = time.perf_counter(), request.seed
    choices = planning.choose(request)
    prepared = prepare_documents(work_run, request, choices, documents_of(work_run, request))
    reason = too_little(request, prepared)
    start, trained = train_variants(work_run, request, planning.variants(request, choices), prepared)
    training = time.perf_counter() - started
    before = time.perf_counter()
    selection = untrained(trained[0].plan, reason) if reason else select(request, start, trained, prepared, Silent())
    selecting = time.perf_counter() - before
    encoders = {"start": start, **{one.name: one.encoder for one in trained}}
    collection = load_collection(source, split_of(folder) or "")
    judge, values = Judge(collection), {}
    index = Index.of(collection.documents, None, IndexOptions(passages=1.0))
    assert index.lexical.passages is not None
    lexical = standardise(index.lexical.scores(judge.queries))
    best_passage = standardise(index.lexical.passages.scores(judge.queries))
    values["BM25"] = judge(lexical, index.ranks)
    for passages in PASSAGES[1:]:
        values[f"BM25+p{passages}"] = judge(lexical + np.float32(passages) * best_passage, index.ranks)
    texts = [full_text(document) for document in collection.documents]
    tokenizer = prepared.store.tokenizer
    for name, encoder in encoders.items():
        scores = encode(encoder, tokenizer, judge.queries) @ encode(encoder, tokenizer, texts).T
        values[name] = judge(scores, index.ranks)
        scores = standardise(scores)
        for weight, passages in itertools.product(WEIGHTS, PASSAGES):
            fused = lexical + np.float32(weight) * scores + np.float32(passages) * best_passage
            values[f"{name}@{weight}+p{passages}"] = judge(fused, index.ranks)
    for model in models:
        third = standardise(
            encode(encoders[saved_name(selection)], tokenizer, judge.queries)
            @ encode(encoders[saved_name(selection)], tokenizer, texts).T
        )
        scores = scores_of(model, request.output.parent, collection.name, judge.queries, texts)
        add_model(f"model:{model.name}", scores, third, lexical, lambda found: judge(found, index.ranks), values)
    assert selection.fusion is not None
    probe = None
    if isinstance(selection.probe, Choice):
        probe, seen = selection.probe.to_json(), selection.probe.scores
        values |= {f"probe|{kind}": found for kind, found in seen.bm25.items()}
        values |= {f"probe|{kind}|{name}": seen.fused[name][kind] for name in seen.fused for kind in seen.bm25}
    facts = {
        "collection": folder.name,
        "seed": seed,
        "split": split_of(folder),
        "documents": len(collection.documents),
        "queries": len(judge.queries),
        "saved": selection.saved,
        "weights": [selection.fusion.dense, selection.fusion.passages],
        "reason": selection.reason,
        "lexical": index.lexical.describe(),
        "seconds": {"training": round(training, 1), "selection": round(selecting, 1)},
        "means": {name: round(float(found.mean()), 5) for name, found in values.items() if "|" not in name},
        "probe": probe,
    }
    return facts, values


def saved_name(selection: Any) -> str:
    return "start" if selection.saved == "start" else selection.run.name


def scores_of(model: Path, work: Path, name: str, queries: list[str], texts: list[str]) -> np.ndarray:
    """Cosines of queries and documents by a downloaded model; its vectors are kept in the work folder."""
    kept = work / f"{model.name}-{name}.npz"
    if not kept.exists():
        import torch
        from sentence_transformers import SentenceTransformer

        encoder = SentenceTransformer(str(model), device="cpu")
        if hasattr(encoder[0], "auto_model") and torch.cpu._is_amx_tile_supported():
            encoder = encoder.bfloat16()  # several times as fast there
        how = {"batch_size": 32, "convert_to_tensor": True, "normalize_embeddings": True}
        documents, asked = (encoder.encode(part, **how).float().numpy() for part in (texts, queries))
        np.savez(kept, documents=documents.astype(np.float16), queries=asked.astype(np.float16))
    with np.load(kept) as found:
        return np.asarray(found["queries"].astype(np.float32) @ found["documents"].astype(np.float32).T)


def add_model(
    name: str, scores: np.ndarray, third: np.ndarray, lexical: np.ndarray,
    judge: Callable[[np.ndarray], np.ndarray], values: dict[str, np.ndarray],
) -> None:  # fmt: skip
    """A downloaded model: alone, fused with BM25, and with the static model as a third ranker."""
    values[name] = judge(scores)
    for weight in (1.0, 2.0, 4.0):
        fused = lexical + np.float32(weight) * standardise(scores)
        values[f"{name}@{weight}"] = judge(fused)
        for share in (0.25, 0.5, 1.0):
            values[f"{name}@{weight}+{share}"] = judge(fused + np.float32(share) * third)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out"), help="scratch; values of every query are kept here")
    parser.add_argument("--more-work", type=Path, nargs="*", default=[], help="work folders of runs made elsewhere")
    parser.add_argument("--collections", nargs="*")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="folders of models to compare with")
    parser.add_argument("--only-table", action="store_true")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    asked.work.mkdir(parents=True, exist_ok=True)
    names = asked.collections or collections(asked.data)
    for seed, name in itertools.product([] if asked.only_table else asked.seeds, names):
        target = asked.output / f"{name}-{seed}.json"
        if target.exists():
            continue
        facts, values = run(asked.data / name, seed, asked.work, asked.models)
        np.savez_compressed(asked.work / f"{name}-{seed}.npz", **values)
        target.write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2))
        means = facts["means"]
        print(
            f"{name} seed {seed}: BM25 {means['BM25']:.4f}, saved {facts['saved']}, "
            f"dense {means[facts['saved']]:.4f} (start {means['start']:.4f}), fused {means[fused_name(facts)]:.4f} "
            f"({facts['seconds']['training']:.0f} + {facts['seconds']['selection']:.0f} s)",
            flush=True,
        )

    works = [asked.work, *asked.more_work]
    label_free_table.choose_again(asked.output, works)
    runs = label_free_table.load(asked.output, works)
    (asked.output / "README.md").write_text(label_free_table.readme(runs))
    records.write(asked.output / "results.jsonl", records.label_free(asked.output))


def fused_name(facts: dict[str, Any]) -> str:
    """Name of the fused search with the weights that the run saved."""
    return "{}@{}+p{}".format(facts["saved"], *facts["weights"])


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
