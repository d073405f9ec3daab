"""Which hard negatives help, from which start, with how many labels? Fine-tuning on BEIR folders, three seeds.

    python benchmarks/finetuning.py FOLDER [FOLDER ...] -o records/finetuning
    python benchmarks/finetuning.py FOLDER -o records/finetuning --starts static --labels 1000 --negatives none bm25

A start is pre-trained on the documents of the folder, without labels, anew for each seed; it is then fine-tuned on the
split `train` with each kind of negatives, and judged on the split `test`. What is done already is not done again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import orjson

from pretrieve.core.types import FloatArray

if TYPE_CHECKING:
    from pretrieve.pipeline.compare.scores import CollectionEvaluator

METRIC = "nDCG@10"
UNKEPT: dict[Any, None] = {"dense": None, "hybrid": None}  # modes; their rankings are not kept
KINDS = ("none", "bm25", "mined", "ance")
ALL = 0


@dataclass(frozen=True)
class Start:
    """How a start is pre-trained, and how it is fine-tuned with 1,000 labels and with all."""

    base: str
    method: str
    steps: int
    settings: dict[str, str]
    few: dict[str, str]
    all: dict[str, str]


# a rate and a temperature for a model of width 128 that is compared by dot product: found on medquad's dev split
_SMALL = {
    "learning_rate": "0.001",
    "temperature": "5",
    "negatives": "1",
    "passage_length": "64",
    "query_length": "24",
}

STARTS = {
    "static": Start("static", "structure", 400, {}, few={}, all={"epochs": "3"}),
    "transformer": Start(
        "new:layers=2,hidden=128,dropout=0",
        "orqa-ict",
        160,
        {
            "batch_size": "64",
            "block": "64",
            "query": "32",
            "dropout": "0",
            "learning_rate": "0.0005",
            "max_length": "64",
        },
        few={"steps": "150", **_SMALL},
        all={"steps": "300", **_SMALL},
    ),
}


def pretrained(asked: argparse.Namespace, folder: Path, name: str, seed: int) -> Path:
    """Folder of a start."""
    from pretrieve.pipeline.pretrain.request import TrainRequest
    from pretrieve.pipeline.pretrain.train import train

    start = STARTS[name]
    target: Path = asked.work / f"{folder.name}-{name}-{seed}"
    if not (target / "MANIFEST.json").is_file():
        request = TrainRequest(
            sources=(str(folder),), output=target, method=start.method, seed=seed, overwrite=True,
            base=asked.base if asked.base and name == "transformer" else start.base,
            steps=asked.steps or start.steps, settings={"save_every": "0", **start.settings}, select=False,
            tracker="none",
        )  # fmt: skip
        train(request)
    return target


def values_of(found: Mapping[Any, FloatArray]) -> dict[str, list[float]]:
    """Values by mode as plain lists."""
    return {mode: values.tolist() for mode, values in found.items()}


def one(
    asked: argparse.Namespace, evaluator: CollectionEvaluator, folder: Path, run: tuple[str, int, str, int]
) -> dict[str, Any]:
    """Fine-tune and judge one model."""
    from pretrieve.pipeline.finetune.finetune import finetune
    from pretrieve.pipeline.finetune.request import FinetuneRequest

    name, labels, kind, seed = run
    model = pretrained(asked, folder, name, seed)
    settings = dict(STARTS[name].few if labels else STARTS[name].all)
    epochs, steps = settings.pop("epochs", None), settings.pop("steps", None)
    if asked.steps is not None:
        epochs, steps = None, asked.steps
    if kind == "none":
        settings.pop("negatives", None)
    target = asked.work / "tuned" / "-".join(map(str, (folder.name, *run)))
    began = time.perf_counter()
    report = finetune(
        FinetuneRequest(
            model=str(model), labels=folder, output=target, negatives=kind, limit=labels or None,
            epochs=int(epochs) if epochs else None,
            steps=int(steps) if steps else None, settings=settings, seed=seed, overwrite=True,
        ),
        evaluate=False,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    values = values_of(evaluator.evaluate(target, UNKEPT))
    shutil.rmtree(target)
    return {"values": values, "seconds": round(seconds, 1), "queries": dict(report.queries), "settings": settings}


def run_all(asked: argparse.Namespace, folder: Path) -> None:
    """Run what is not done of a folder."""
    from pretrieve.pipeline.compare.scores import CollectionEvaluator

    evaluator = CollectionEvaluator(folder, asked.split, METRIC)

    def kept(parts: tuple[Any, ...], make: Any) -> None:
        path = asked.work / "runs" / f"{'-'.join(map(str, (folder.name, *parts)))}.json"
        if path.is_file():
            return
        found = make()
        facts = {
            "data": folder.name,
            "split": asked.split,
            "date": datetime.now(UTC).date().isoformat(),
            "run": parts,
            **found,
        }
        path.write_bytes(orjson.dumps(facts) + b"\n")
        values = next(iter(found["values"].values()))
        print(f"{path.stem}: {sum(values) / len(values):.4f} ({found['seconds']:.0f} s)", flush=True)

    kept(("BM25",), lambda: {"values": values_of(evaluator.evaluate(None, {"lexical": None})), "seconds": 0.0})
    for seed in asked.seeds:
        for name in asked.starts:
            kept(
                (name, "start", seed),
                lambda: {
                    "values": values_of(evaluator.evaluate(pretrained(asked, folder, name, seed), UNKEPT)),  # noqa: B023
                    "seconds": 0.0,
                },
            )
            for labels in asked.labels:
                for kind in asked.negatives:
                    run = (name, labels, kind, seed)
                    kept(run, lambda: one(asked, evaluator, folder, run))  # noqa: B023


def scores_of(runs: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The runs of one collection and start as scores of a fair table; a kind of negatives is a row of it."""
    found = []
    for run in runs:
        parts = run["run"]
        for mode, values in run["values"].items():
            facts = {"mode": mode, "values": values}
            if parts[0] == "BM25":
                found.append({"method": "BM25", "seed": 0, "labels": None, **facts})
            elif parts[0] == name and parts[1] == "start":
                found.append({"method": "the start", "seed": parts[2], "labels": None, **facts})
            elif parts[0] == name:
                found.append({"method": parts[2], "seed": parts[3], "labels": parts[1], **facts})
    return found


def times_of(runs: list[dict[str, Any]], name: str, stages: list[int]) -> str:
    """A table of the seconds of fine-tuning, mining included."""
    from pretrieve.evaluation.tables import markdown

    taken: dict[tuple[str, int], list[float]] = {}
    for run in runs:
        if len(parts := run["run"]) == 4 and parts[0] == name:
            taken.setdefault((parts[2], parts[1]), []).append(run["seconds"])
    lines = [
        [kind, *(f"{mean(taken[kind, labels]):.0f}" if (kind, labels) in taken else "" for labels in stages)]
        for kind in KINDS
    ]
    head = ["fine-tuning, s", *(f"{labels:,} labels" if labels else "all labels" for labels in stages)]
    return markdown(head, lines)


def write_up(output: Path, work: Path) -> None:
    """Write the tables from the runs that are there."""
    from pretrieve.evaluation.fair import fair_table
    from pretrieve.evaluation.significance import paired_permutation

    runs = [orjson.loads(path.read_bytes()) for path in sorted((work / "runs").glob("*.json"))]
    parts, facts = [], []
    for data in sorted({run["data"] for run in runs}):
        mine = [run for run in runs if run["data"] == data]
        for name in STARTS:
            scores = scores_of(mine, name)
            if len({score["method"] for score in scores}) < 3:
                continue
            table = fair_table(scores, title=f"{data}, {name} start", metric=METRIC, base="none")
            parts.append(table.markdown().split("\n## hybrid")[0].replace("\n## ", "\n### ").replace("# ", "## ", 1))
            stages = [stage for stage in table.stages if stage is not None]
            for stage in stages:
                for better, worse in (("bm25", "none"), ("mined", "bm25"), ("ance", "bm25")):
                    one, other = (table.cells.get((kind, stage, "dense")) for kind in (better, worse))
                    if one is not None and other is not None:
                        p = paired_permutation(one.values, other.values)
                        said = f"{better} − {worse} {one.mean - other.mean:+.4f}, p = {p:.4f}"
                        parts.append(f"* {f'{stage:,}' if stage else 'All'} labels: {said}.")
            parts.append(f"\n{times_of(mine, name, stages)}\n")
            facts.append(table.to_json())
    (output / "tables.md").write_text("\n".join(parts))
    (output / "tables.jsonl").write_bytes(b"".join(orjson.dumps(fact) + b"\n" for fact in facts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/finetuning"))
    parser.add_argument("--starts", nargs="*", default=list(STARTS), choices=list(STARTS))
    parser.add_argument("--base", help="of the transformer start: a folder or hub name, instead of a new one")
    parser.add_argument("--labels", nargs="*", type=int, default=[1000, ALL], help="0 for all")
    parser.add_argument("--negatives", nargs="*", default=list(KINDS), choices=KINDS)
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--split", default="test", help="to judge on")
    parser.add_argument("--steps", type=int, help="of pre-training and of fine-tuning, instead of what suits each")
    asked = parser.parse_args()
    for place in (asked.output, asked.work / "runs"):
        place.mkdir(parents=True, exist_ok=True)
    for folder in asked.folders:
        run_all(asked, folder)
    write_up(asked.output, asked.work)
    print((asked.output / "tables.md").read_text())


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
