"""Does the embedded default help without labels? Trains and judges by the command line, one collection at a time.

    python benchmarks/static_without_labels.py DATA -o records/static-without-labels --seeds 0 1 2 --minutes 1.5

DATA holds BEIR folders. Each is copied without its titles where asked, trained on without its labels, and judged on the
split that was not looked at while the recipe was made.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import orjson

from pretrieve.evaluation.significance import holm

SPLITS = {"squad_dev": "test_a", "medquad": "test", "cuad": "dev", "nl2bash": "test", "pydoc": "test"}
WITHOUT_TITLES = {"squad_dev"}


def prepared(data: Path, name: str, work: Path) -> Path:
    """A folder with the collection, without titles where asked; its labels are used by `evaluate` alone."""
    target = work / name
    if target.exists():
        return target
    shutil.copytree(data / name, target)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    packed = target / "corpus.jsonl.gz"
    if name in WITHOUT_TITLES and packed.exists():
        with gzip.open(packed) as file:
            lines = [orjson.dumps({**orjson.loads(line), "title": ""}) for line in file]
        packed.unlink()
        (target / "corpus.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return target


def pretrieve(*arguments: object) -> None:
    command = [sys.executable, "-c", "from pretrieve.cli.app import main; main()", *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def test_of(found: dict, first: str, second: str) -> tuple[float, float]:
    """Difference first - second in nDCG@10, and its p before correction."""
    for test in found["tests"]:
        if test["metric"] == "nDCG@10" and {test["a"], test["b"]} == {first, second}:
            return (test["difference"] if test["a"] == first else -test["difference"]), test["p"]
    raise KeyError(f"{first} against {second}")


def summary(output: Path) -> str:
    """The table over seeds, with Holm's correction over the collections of each seed."""
    runs = [orjson.loads(path.read_bytes()) for path in sorted(output.glob("*-*.json"))]
    names = [name for name in SPLITS if any(run["collection"] == name for run in runs)]
    questions = {
        "fused against BM25": ("model (hybrid)", "BM25 (lexical)"),
        "dense against its start": ("model (dense)", "model/start (dense)"),
    }
    corrected = {}
    for question, pair in questions.items():
        for seed in {run["seed"] for run in runs}:
            mine = [run for run in runs if run["seed"] == seed]
            ps = holm([test_of(run, *pair)[1] for run in mine])
            corrected |= {(question, seed, run["collection"]): p for run, p in zip(mine, ps, strict=True)}
    lines = [
        "| collection | split | queries | BM25 | start, dense | model, dense | start, fused | model, fused |",
        "|---|" * 1 + "---|" * 7,
    ]
    for name in names:
        mine = [run for run in runs if run["collection"] == name]
        cells = [name, mine[0]["split"], f"{mine[0]['queries']:,}"]
        for system, mode in (
            ("BM25", "lexical"),
            ("model/start", "dense"),
            ("model", "dense"),
            ("model/start", "hybrid"),
            ("model", "hybrid"),
        ):
            values = [
                row["metrics"]["nDCG@10"]
                for run in mine
                for row in run["rows"]
                if (row["system"], row["mode"]) == (system, mode)
            ]
            spread = f" ± {statistics.stdev(values):.4f}" if len(set(values)) > 1 else ""
            cells.append(f"{statistics.mean(values):.4f}{spread}")
        lines.append("| " + " | ".join(cells) + " |")
    for question, pair in questions.items():
        lines += [
            "",
            f"**{question}**, difference in nDCG@10 (p after Holm over the collections), a column a seed:",
            "",
        ]
        seeds = sorted({run["seed"] for run in runs})
        lines += ["| collection | " + " | ".join(map(str, seeds)) + " |", "|---|" + "---|" * len(seeds)]
        for name in names:
            cells = []
            for run in sorted((run for run in runs if run["collection"] == name), key=lambda run: run["seed"]):
                difference, _ = test_of(run, *pair)
                cells.append(f"{difference:+.4f} ({corrected[question, run['seed'], name]:.4f})")
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "**What was handed out**, and the steps that the minutes held:",
        "",
        "| collection | seed | steps | trained part | weight beside words | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        report = run["report"]
        steps = report["recipe"]["training"]["steps"] if report["probe"] else "not trained"
        weight = run["notes"]["model"]["fusion"]["dense"]
        lines.append(
            f"| {run['collection']} | {run['seed']} | {steps} | {report['part']:g} | {weight:g} | {run['seconds']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out"))
    parser.add_argument("--collections", nargs="*", default=list(SPLITS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--split", help="one split for all collections, in place of the ones kept for the end")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    for seed in asked.seeds:
        for name in asked.collections:
            folder = prepared(asked.data, name, asked.work)
            model = asked.work / f"{name}-{seed}"
            result = asked.output / f"{name}-{seed}.json"
            if result.exists():
                continue
            started = time.time()
            report = asked.work / f"{name}-{seed}-report.json"
            pretrieve(
                "train",
                folder,
                "-o",
                model,
                "--minutes",
                asked.minutes,
                "--seed",
                seed,
                "--overwrite",
                "--json",
                report,
            )
            trained = time.time() - started
            scores = asked.work / "scores.json"
            split = asked.split or SPLITS[name]
            pretrieve(
                "evaluate", folder, "--model", model, "--model", model / "start", "--split", split, "--json", scores
            )
            found = {"seed": seed, "seconds": round(trained), **orjson.loads(scores.read_bytes())}
            found["report"] = orjson.loads(report.read_bytes())
            text = orjson.dumps(found, option=orjson.OPT_INDENT_2)
            result.write_bytes(text.replace(str(model).encode(), b"model"))
            rows = {(row["system"].endswith("start"), row["mode"]): row["metrics"]["nDCG@10"] for row in found["rows"]}
            line = " ".join(f"{'start' if start else ''} {mode} {value:.4f}" for (start, mode), value in rows.items())
            (asked.output / "table.md").write_text(summary(asked.output))
            print(f"{name} seed {seed}: {line} ({trained:.0f} s; {found['report']['reason']})", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
