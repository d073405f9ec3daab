"""Does mcontriever lift retrieval across languages? Trains on documents in many languages, judges every pair of six.

    python benchmarks/crosslingual.py UNLABELLED TEST -o records/cross-lingual --seeds 0 1 2 --steps 300
    python benchmarks/crosslingual.py UNLABELLED TEST -o records/cross-lingual-transformer \\
        --base new:layers=2,hidden=256 --set loss=inbatch --set batch_size=64 --set learning_rate=0.0005 \\
        --set window=128 --set clip=1

UNLABELLED holds ``debdocs_multi.jsonl.gz`` and ``podocs_multi.jsonl.gz``; TEST is a folder of
``corpus/LANGUAGE.jsonl``, ``queries/LANGUAGE.jsonl`` and ``qrels/test.tsv``. No translation is paired with another, and
no label is read in training. Documents are read, and the vocabulary is made, once; a seed changes the random start and
what is drawn. Judged are the start, the model after its last step, and the mean of the two, which ``train`` may hand
out where its label-free probe prefers it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import records

from pretrieve.core import files
from pretrieve.core.config import parse_assignments
from pretrieve.evaluation.crosslingual import evaluate_pairs, load_languages
from pretrieve.models.encoder import Encoder
from pretrieve.models.export import save_model
from pretrieve.models.interpolation import interpolated
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain import data as prepare
from pretrieve.pipeline.pretrain.request import Tokenization, TrainRequest
from pretrieve.pipeline.run.progress import Silent
from pretrieve.pipeline.run.sources import read_documents
from pretrieve.pipeline.run.tokens import store_of
from pretrieve.text.corpus import Fields
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.training.trainer import Trainer

CORPORA = ("debdocs_multi.jsonl.gz", "podocs_multi.jsonl.gz")
SYSTEMS = (
    ("BM25", "lexical"),
    ("start", "dense"),
    ("model", "dense"),
    ("half", "dense"),
    ("start", "hybrid"),
    ("model", "hybrid"),
    ("half", "hybrid"),
)
PARTS = ("same_language", "other_languages", "all_languages_pooled")
METRICS = ("nDCG@10", "R@100")
Run = dict[str, Any]


def prepared(sources: list[Path], work: Path) -> Store:
    """The tokens of the documents that ``train`` would not hold out; what is in ``work`` already is kept."""
    place = work / "documents"
    if place.is_dir():
        documents = Documents.open(place)
    else:
        documents = read_documents(list(map(str, sources)), place, Silent(), fields=Fields(), on_bad="fail")
    select, _ = prepare.split(len(documents), 0)
    if (work / "store").is_dir():
        vocabulary = Store.open(work / "store").tokenizer
    else:
        vocabulary = prepare.train_tokenizer(documents, select, Tokenization())
    return store_of(documents, vocabulary, Silent(), folder=work / "store", select=select)


def trained(request: TrainRequest, store: Store) -> tuple[Run, list[float]]:
    """Train; the start and the model are kept below the output. Returns the recipe, and the losses."""
    made = planning.make(request, planning.choose(request), store)
    losses: list[float] = []
    start = deepcopy(made.encoder)
    keep_model(request.output / "start", start, store)
    Trainer(
        objective=made.objective,
        batches=made.batches,
        options=replace(made.training, save_every=0),
        seed=request.seed,
        on_step=lambda progress: losses.append(progress.loss),
    ).run()
    keep_model(request.output / "model", made.objective.encoder, store)
    keep_model(request.output / "half", interpolated(start, made.objective.encoder, 0.5), store)
    return made.recipe.to_json(), losses


def keep_model(path: Path, encoder: Encoder, store: Store) -> None:
    with files.create(path, "model", replace=True) as folder:
        save_model(folder, encoder, store.tokenizer)


def evaluated(folder: Path, output: Path) -> Run:
    models = {name: open_encoder(str(output / name)) for name in ("start", "model", "half")}
    return evaluate_pairs(load_languages(folder), models, metrics=METRICS).to_json()


def read_run(path: Path) -> Run:
    """A run's figures; the keys of early records had spaces."""
    text = path.read_text(encoding="utf-8").replace("own language among the first ten", "own_language_in_first_ten")
    for part in PARTS:
        text = text.replace(f'"{part.replace("_", " ")}"', f'"{part}"')
    return dict(orjson.loads(text))


def row_of(run: Run, system: str, mode: str) -> Run:
    return next(row for row in run["rows"] if (row["system"], row["mode"]) == (system, mode))


def spread(values: list[float], digits: int = 4) -> str:
    """Mean and standard deviation over seeds; one value where all are the same."""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(set(values)) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def means(runs: list[Run]) -> list[str]:
    """Means over pairs of every system, with the spread over seeds."""
    names = [f"{metric}, {part.replace('_', ' ')}" for part in PARTS for metric in METRICS]
    lines = [
        "| system | mode | " + " | ".join(names) + " | own language in first ten |",
        "|" + "---|" * (len(names) + 3),
    ]
    for system, mode in SYSTEMS:
        rows = [row_of(run, system, mode) for run in runs]
        cells = [
            spread([row["parts"][part]["metrics"][metric] for row in rows]) for part in PARTS for metric in METRICS
        ]
        own = spread([statistics.mean(row["own_language_in_first_ten"]) for row in rows], 2)
        lines.append(f"| {system} | {mode} | " + " | ".join(cells) + f" | {own} |")
    return lines


def matrix(runs: list[Run], title: str, cell: Callable[[int, int], str]) -> list[str]:
    """A table of pairs: queries down, documents across."""
    codes = runs[0]["languages"]
    lines = ["", f"**{title}**, queries down, documents across:", "", "| | " + " | ".join(codes) + " |"]
    lines.append("|" + "---|" * (len(codes) + 1))
    for q, code in enumerate(codes):
        lines.append(f"| {code} | " + " | ".join(cell(q, d) for d in range(len(codes))) + " |")
    return lines


def tests(runs: list[Run], system: str) -> list[str]:
    """Differences of each seed to its start with p after Holm, and pairs of two languages that are higher and lower."""
    lines = ["", f"**{system} against its start, dense**, a line a seed and metric:", ""]
    lines += ["| seed | metric | same language | other languages | pooled | of 30 pairs: higher, lower |"]
    lines.append("|---|---|---|---|---|---|")
    sides = (f"{system} (dense)", "start (dense)")
    for metric in METRICS:
        for run in runs:
            cells = []
            for part in PARTS:
                found = (test for test in run["tests"][part] if (test["a"], test["b"]) == sides)
                test = next(test for test in found if test["metric"] == metric)
                cells.append(f"{test['difference']:+.4f} (p {test['p_holm']:.4f})")
            cells.append(counts(run, system, metric))
            lines.append(f"| {run['seed']} | {metric} | " + " | ".join(cells) + " |")
    return lines


def counts(run: Run, system: str, metric: str) -> str:
    """In how many pairs of two languages a system is above and below its start; how many are sure, where tested."""
    mine, start = (row_of(run, name, "dense")["matrices"][metric] for name in (system, "start"))
    places = [(q, d) for q in range(len(mine)) for d in range(len(mine)) if q != d]
    up = [(q, d) for q, d in places if mine[q][d] > start[q][d]]
    down = [(q, d) for q, d in places if mine[q][d] < start[q][d]]
    sides = (f"{system} (dense)", "start (dense)", metric)
    text = f"{len(up)}, {len(down)}"
    for pair in run["pair_tests"]:
        if (pair["a"], pair["b"], pair["metric"]) == sides:
            sure = [sum(pair["p_holm"][q][d] < 0.05 for q, d in some) for some in (up, down)]
            text += f" (sure: {sure[0]}, {sure[1]})"
    return text


def summary(output: Path) -> str:
    """All tables over the seeds that are there."""
    runs = [read_run(path) for path in sorted(output.glob("seed-*.json"))]
    runs.sort(key=lambda run: run["seed"])

    def average(system: str, metric: str, q: int, d: int) -> float:
        return statistics.mean(row_of(run, system, "dense")["matrices"][metric][q][d] for run in runs)

    lines = means(runs) + tests(runs, "model") + tests(runs, "half")
    for metric in METRICS:

        def cell(q: int, d: int, metric: str = metric) -> str:
            values = (average(system, metric, q, d) for system in ("start", "model", "half"))
            return " → ".join(f"{value:.3f}" for value in values)

        lines += matrix(runs, f"{metric}, start → model → half, dense, mean over seeds", cell)
    bm25 = row_of(runs[0], "BM25", "lexical")["matrices"]
    lines += matrix(
        runs, "BM25, nDCG@10 / R@100", lambda q, d: f"{bm25['nDCG@10'][q][d]:.3f} / {bm25['R@100'][q][d]:.3f}"
    )
    lines += ["", "| seed | steps | processor seconds of training |", "|---|---|---|"]
    for run in runs:
        lines.append(f"| {run['seed']} | {run['recipe']['training']['steps']} | {run['seconds']} |")
    return "\n".join(lines) + "\n"


def rows(output: Path) -> list[dict[str, Any]]:
    """Rows of the record: pairs of two languages, dense, the model after its last step."""
    runs = [read_run(path) for path in sorted(output.glob("seed-*.json"))]
    recipe = runs[0]["recipe"]

    def values(system: str, metric: str) -> dict[int, float]:
        part = "other_languages"
        return {run["seed"]: row_of(run, system, "dense")["parts"][part]["metrics"][metric] for run in runs}

    return [
        records.row(
            preset=recipe["method"],
            method="contriever",
            base=recipe["base"],
            data=f"{runs[0]['collection']}, 30 pairs of two languages",
            split=runs[0]["split"],
            metric=f"{metric}, dense",
            command="python benchmarks/crosslingual.py UNLABELLED TEST -o RECORD",
            before=values("start", metric),
            after=values("model", metric),
            queries=runs[0]["queries"],
            bm25=row_of(runs[0], "BM25", "lexical")["parts"]["other_languages"]["metrics"][metric],
        )
        for metric in METRICS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("unlabelled", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out"))
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--method", default="mcontriever")
    parser.add_argument("--base", default="static")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    asked.work.mkdir(parents=True, exist_ok=True)
    store = prepared([asked.unlabelled / name for name in CORPORA], asked.work)
    for seed in asked.seeds:
        result = asked.output / f"seed-{seed}.json"
        if not result.exists():
            request = TrainRequest(
                sources=CORPORA,
                output=asked.work / f"seed-{seed}",
                method=asked.method,
                base=asked.base,
                steps=asked.steps,
                seed=seed,
                settings=parse_assignments(asked.set),
            )
            started = time.process_time()
            recipe, losses = trained(request, store)
            seconds = round(time.process_time() - started)
            found = {"seed": seed, "seconds": seconds, **evaluated(asked.test, request.output)}
            found |= {"recipe": recipe, "losses": losses[::25]}
            result.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2))
        (asked.output / "table.md").write_text(summary(asked.output))
        records.write(asked.output / "results.jsonl", rows(asked.output))
        print(f"seed {seed} is done", flush=True)


if __name__ == "__main__":
    main()
