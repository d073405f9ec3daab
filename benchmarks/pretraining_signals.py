"""Does each preset learn what it asks for? Its own signal on held-out documents, before and after, three seeds.

    python benchmarks/pretraining_signals.py DOCUMENTS -o records/pretraining-signals
    python benchmarks/pretraining_signals.py DOCUMENTS -o records/pretraining-signals --presets mlm realm

Every preset starts from the same small BERT made from nothing (for a seed); cocondenser from that seed's condenser,
realm from its orqa-ict, with the reader of its mlm. Methods that need more steps than others take a multiple of --steps
(`LONGER`); --minutes takes as many as those hold. What is done already is not done again; a run that fails is reported
and does not stop the others. What is written below the marker in the README stays.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import statistics
import subprocess
import sys
import time
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import records  # noqa: E402

VOCABULARY = 8000
STARTS = {"cocondenser": "condenser", "realm": "orqa-ict"}  # by the beginning of the preset's name
READERS = {"realm": "mlm"}  # whose language head has been trained
# Values that fit a small model and a minute; each is set where the method or the training has an option of that name.
SMALL = {
    "batch_size": 32,
    "learning_rate": 5e-4,
    "warmup": 0.1,
    "clip": 1.0,
    "save_every": 0,
    "weight_decay": 0.01,
    "queue": 1024,
    "momentum": 0.99,
    "window": 128,
    "length": 96,
    "block": 128,
    "query": 40,
    "candidates": 4,
    "refresh": 50,
    "dropout": 0.0,
}
# Dot products without a temperature add up the noise of dropout over all dimensions: a new small model learns nothing
# from under it in hundreds of steps (docs/log.md). SimCSE is dropout; its base has the same weights.
BASES = {"simcse": "new:layers=2,hidden=128"}
# Values for some presets, by the beginning of the name. Language models take a larger rate; decoders that guess every
# word of a row need fewer rows.
MASKED = {"learning_rate": 2e-3}
DECODED = {"batch_size": 16, "learning_rate": 1e-3}
OTHERWISE = {
    **dict.fromkeys(("mlm", "condenser", "cocondenser", "tsdae"), MASKED),
    **dict.fromkeys(("retromae", "dupmae"), DECODED),
    "realm": {"batch_size": 8},
}
# Times --steps: a language model first learns how frequent words are, and only then what stands beside them; dot
# products without a temperature learn slowly.
LONGER = {**dict.fromkeys(("mlm", "condenser", "cocondenser", "tsdae"), 4), "orqa-ict": 3, "spider": 3, "realm": 2}
MARKER = "<!-- written by hand: -->"
# Contrast with a queue is judged in the batch: before training a queue is noise, which anything is told apart from.
JUDGED_BY = dict.fromkeys(("contriever", "mcontriever", "mcontriever-29"), "contriever-inbatch")
# The first of these that a preset has is its signal in the table; "higher" or "lower" is better.
SIGNALS = {
    "retrieval_utility": "higher", "accuracy": "higher", "view_use": "higher", "views_used": "higher", "mlm": "lower",
    "late_mlm": "lower", "decoder": "lower", "reconstruction": "lower", "bag": "lower", "loss": "lower",
}  # fmt: skip
# Without dropout both sides of SimCSE are the same vector and always found: its loss says how far texts lie apart.
SHOWN = {"simcse": "loss"}
EXAMPLES, BATCH = 256, 32


def known_values(preset: str, values: dict[str, Any]) -> dict[str, Any]:
    """Those of some values that the method of a preset, or training, has an option for."""
    from pretrieve import methods
    from pretrieve.training.options import TrainingOptions

    module, _ = methods.find(preset)
    known = {field.name for kind in (module.Options, TrainingOptions) for field in dataclasses.fields(kind)}
    return {key: value for key, value in values.items() if key in known}


def small_values(preset: str, given: dict[str, Any]) -> dict[str, Any]:
    """Values to set for a preset."""
    own = next((values for start, values in OTHERWISE.items() if preset.startswith(start)), {})
    return known_values(preset, {**SMALL, **own, **given})


def prepared(data: str, work: Path, vocabulary_size: int = VOCABULARY, characters: int = 1 << 62) -> Any:
    """Documents, their tokens, and the tokens of those held out; made once for all runs."""
    from pretrieve.core import files
    from pretrieve.pipeline.pretrain import data as prepare
    from pretrieve.pipeline.pretrain.request import Tokenization
    from pretrieve.pipeline.run.progress import Silent
    from pretrieve.pipeline.run.sources import read_documents
    from pretrieve.pipeline.run.tokens import store_of
    from pretrieve.text.corpus import Fields
    from pretrieve.text.documents import Documents
    from pretrieve.text.store import Store

    if not (work / "held-out" / "store" / files.MANIFEST).is_file():
        documents = read_documents((data,), work / "documents", Silent(), fields=Fields(), on_bad="skip", replace=True)
        train, held_out = divided(documents, characters)
        vocabulary = prepare.train_tokenizer(documents, train, Tokenization(vocabulary_size=vocabulary_size))
        store_of(documents, vocabulary, Silent(), folder=work / "store", select=train)
        store_of(documents, vocabulary, Silent(), folder=work / "held-out" / "store", select=held_out)
    documents = Documents.open(work / "documents")
    train, held_out = divided(documents, characters)
    everything = prepare.Prepared(documents=documents, train=train, held_out=held_out, store=Store.open(work / "store"))
    return everything, Store.open(work / "held-out" / "store")


def divided(documents: Any, characters: int) -> tuple[Any, Any]:
    """Documents to train on, up to so many characters, and those held out."""
    from pretrieve.pipeline.pretrain.data import split

    train, held_out = split(len(documents), 0)
    if characters < 1 << 62:
        length = np.mean([len(documents[int(index)].text) for index in train[:: max(1, len(train) // 500)]])
        most = max(1, int(characters / max(length, 1)))
        train = train[:: -(-len(train) // most)]
    return train, held_out


def judge_of(
    made: Any, preset: str, request: Any, store: Any, held: Any, values: dict[str, Any] | None = None
) -> tuple[Any, Any]:
    """What measures a preset: its own objective, or one over the same encoder; and batches of held-out documents."""
    from pretrieve.core.config import options_of
    from pretrieve.pipeline.pretrain import build as planning
    from pretrieve.sampling.batches import Batches

    name = JUDGED_BY.get(preset, preset)
    choices = planning.choose(
        dataclasses.replace(
            request, method=name, settings=known_values(name, values) if values else small_values(name, {})
        )
    )
    options = options_of(choices.module.Options, {**choices.options, **planning.suited(choices, store)})
    if name == preset:
        objective, options = made.objective, options_of(choices.module.Options, dict(made.recipe.options))
    else:
        objective = choices.module.objective(made.objective.encoder, options, request.seed, store)
    sampler = choices.module.sampler(held, made.encoder.specials, options)
    return objective, Batches(sampler=sampler, batch_size=BATCH, seed=1000)


def train_one(asked: argparse.Namespace, preset: str, seed: int) -> None:
    """One run: train, measure before and after, keep the model for those that start from it."""
    import torch

    from pretrieve.pipeline.pretrain import build as planning
    from pretrieve.pipeline.pretrain.publish import publish
    from pretrieve.pipeline.pretrain.request import TrainRequest
    from pretrieve.pipeline.pretrain.selection import unselected
    from pretrieve.pipeline.run.progress import Silent
    from pretrieve.pipeline.run.run import begin
    from pretrieve.training.calibration import steps_for_minutes
    from pretrieve.training.held_out import held_out
    from pretrieve.training.trainer import Trainer

    torch.set_num_threads(asked.threads)
    found, held = prepared(asked.data, asked.work)
    start = start_of(preset)
    model = asked.work / "models" / f"{preset}-{seed}"
    given = dict(value.split("=", 1) for value in asked.set)
    request = TrainRequest(
        sources=(asked.data,), output=model, method=preset, seed=seed, overwrite=True,
        base=str(asked.work / "models" / f"{start}-{seed}") if start else BASES.get(preset, asked.base),
        settings={**small_values(preset, given), **reader_of(asked, preset, seed)},
    )  # fmt: skip
    made = planning.make(request, planning.choose(request), found.store)
    steps = asked.steps * longer(preset)
    if asked.minutes:
        known = known_steps(asked, preset)
        steps = known or steps_for_minutes(made.objective, made.batches, made.training, asked.minutes, seed)
    made = dataclasses.replace(
        made,
        training=dataclasses.replace(made.training, steps=steps),
        recipe=dataclasses.replace(made.recipe, training={**made.recipe.training, "steps": steps}),
    )
    beginning = deepcopy(made.objective.encoder)
    measured = range(EXAMPLES // BATCH)
    objective, batches = judge_of(made, preset, request, found.store, held)
    before = held_out(objective, batches, measured, at=steps - 1)
    losses: list[float] = []
    began = time.perf_counter()
    Trainer(
        objective=made.objective, batches=made.batches, options=made.training, seed=seed,
        on_step=lambda progress: losses.append(progress.loss),
    ).run()  # fmt: skip
    seconds = time.perf_counter() - began
    objective, batches = judge_of(made, preset, request, found.store, held)
    after = held_out(objective, batches, measured, at=steps - 1)
    with begin("train", request, Silent()) as run:
        publish(run, unselected(made, beginning), found)
    facts = {
        "preset": preset, "seed": seed, "base": f"the {start} run of the seed" if start else asked.base, "steps": steps,
        "judged by": JUDGED_BY.get(preset, preset), "data": Path(asked.data).name.split(".")[0],
        "documents": len(found.store), "held out": len(held), "tokens": len(found.store.tokens),
        "method": made.objective.__module__.rsplit(".", 1)[-1], "seconds": round(seconds, 1),
        "before": before, "after": after, "settings": {key: plain(value) for key, value in request.settings.items()},
        "training loss": {"first ten": float(np.mean(losses[:10])), "last ten": float(np.mean(losses[-10:]))},
        "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    path = asked.output / f"{preset}-{seed}.json"
    path.write_bytes(orjson.dumps(facts, option=orjson.OPT_INDENT_2) + b"\n")
    name = signal_of(facts)
    print(
        f"{preset} seed {seed}: {name} {before[name]:.4f} -> {after[name]:.4f} ({steps} steps, {seconds:.0f} s)",
        flush=True,
    )


def start_of(preset: str) -> str | None:
    """The preset whose run another starts from."""
    return next((start for name, start in STARTS.items() if preset.startswith(name)), None)


def reader_of(asked: argparse.Namespace, preset: str, seed: int) -> dict[str, str]:
    """The setting of a method whose reader is another preset's run."""
    found = next((reader for name, reader in READERS.items() if preset.startswith(name)), None)
    return {"reader": str(asked.work / "models" / f"{found}-{seed}")} if found else {}


def plain(value: object) -> str:
    """A setting as a record shows it: of a model's folder only the name."""
    return Path(str(value)).name


def longer(preset: str) -> int:
    """How many times the steps of the others a preset takes."""
    return next((times for name, times in LONGER.items() if preset.startswith(name)), 1)


def needed_by(preset: str) -> list[str]:
    """Presets whose models a preset needs."""
    tables = (STARTS, READERS)
    return [needed for table in tables for name, needed in table.items() if preset.startswith(name)]


def known_steps(asked: argparse.Namespace, preset: str) -> int | None:
    """Steps of another seed's run: all seeds train for as long."""
    runs = [orjson.loads(path.read_bytes()) for path in asked.output.glob(f"{preset}-[0-9]*.json")]
    steps = [run["steps"] for run in runs if run["preset"] == preset]
    return steps[0] if steps else None


def signal_of(run: dict[str, Any]) -> str:
    """Name of the value that says whether a preset learned."""
    known = SHOWN.get(run["preset"])
    return known or next(name for name in SIGNALS if run["after"].get(name) is not None)


def run_all(asked: argparse.Namespace) -> list[str]:
    """Run what is not done, each in its own process; returns what failed."""
    failed = []
    order = sorted(asked.presets, key=lambda preset: (start_of(preset) is not None, preset))
    wanted = list(dict.fromkeys(name for preset in order for name in (*needed_by(preset), preset)))
    kept = {name for preset in order for name in needed_by(preset)}
    for seed in asked.seeds:
        for preset in wanted:
            model = asked.work / "models" / f"{preset}-{seed}" / "MANIFEST.json"
            done = (asked.output / f"{preset}-{seed}.json").is_file() and (model.is_file() or preset not in kept)
            if done:
                continue
            ended = subprocess.run(command_for(asked, preset, seed), stderr=subprocess.PIPE, text=True)
            if ended.returncode:
                line = (ended.stderr.strip().splitlines() or ["no message"])[-1]
                failed.append(f"{preset} seed {seed}: {line}")
                print(f"FAILED {failed[-1]}", flush=True)
            write_up(asked.output, asked)
    return failed


def command_for(asked: argparse.Namespace, preset: str, seed: int) -> list[str]:
    """One run in a process of its own."""
    values = [part for value in asked.set for part in ("--set", value)]
    budget = ["--minutes", str(asked.minutes), "--steps", str(asked.steps), "--threads", str(asked.threads)]
    places = [asked.data, "-o", str(asked.output), "--work", str(asked.work), "--base", asked.base]
    return [sys.executable, __file__, *places, *budget, *values, "--one", preset, str(seed)]


def write_up(output: Path, asked: argparse.Namespace) -> None:
    """Write results.jsonl and the table of the README from the runs that are there."""
    runs = [orjson.loads(path.read_bytes()) for path in sorted(output.glob("*-[0-9]*.json"))]
    rows, lines = (
        [],
        ["| preset | starts from | signal | before | after | steps | better on |", "|---|---|---|---|---|---|---|"],
    )
    command = f"python benchmarks/pretraining_signals.py DOCUMENTS -o records/{output.name}"
    for preset in sorted({run["preset"] for run in runs}):
        mine = {run["seed"]: run for run in runs if run["preset"] == preset}
        first = mine[min(mine)]
        shown = signal_of(first)
        for name in [shown, *[other for other in SIGNALS if other in first["after"] and other != shown]]:
            before = {seed: run["before"].get(name) for seed, run in mine.items()}
            after = {seed: run["after"].get(name) for seed, run in mine.items()}
            if any(value is None or not math.isfinite(value) for value in [*before.values(), *after.values()]):
                continue
            rows.append(
                records.row(
                    preset=preset, method=first["method"], base=first["base"], data=first["data"], split="held out",
                    metric=name, command=f"{command} --presets {preset}", before=before, after=after,
                    better=SIGNALS[name], steps=first["steps"], date=first["date"],
                )
            )  # fmt: skip
            if name == shown:
                lines.append(table_line(preset, first, name, before, after))
    records.write(output / "results.jsonl", rows)
    readme = output / "README.md"
    said = readme.read_text().partition(MARKER)[2] if readme.is_file() else ""
    table = "\n".join(lines)
    readme.write_text(f"{text(asked, runs)}\n{table}\n" + (f"\n{MARKER}{said}" if said else ""))


def table_line(preset: str, first: dict[str, Any], name: str, before: dict[int, float], after: dict[int, float]) -> str:
    """One preset in the table: means and standard deviations over seeds."""
    sign = 1 if SIGNALS[name] == "higher" else -1
    gained = sum(sign * (after[seed] - before[seed]) > 0 for seed in after)
    cells = []
    for values in (list(before.values()), list(after.values())):
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{spread}")
    judged = "" if first["judged by"] == preset else f", judged by {first['judged by']}"
    return (
        f"| {preset} | {first['base']} | {name} ({SIGNALS[name]} is better{judged}) | {cells[0]} | {cells[1]} "
        f"| {first['steps']} | {gained} of {len(after)} seeds |"
    )


def text(asked: argparse.Namespace, runs: list[dict[str, Any]]) -> str:
    """What stands above the table."""
    if not runs:
        return "# Does each preset learn what it asks for?\n\nNothing was run."
    first = runs[0]
    budget = f"{asked.minutes:g} minutes" if asked.minutes else "as many steps as the table says,"
    return f"""# Does each preset learn what it asks for?

Each preset's own training signal on documents that were held out, before and after {budget} on {asked.threads} core(s),
from the same small BERT made from nothing (`{asked.base}`; simcse with dropout, by which it learns).
Data: {first["data"]}, {first["documents"]:,} documents of
{first["tokens"]:,} tokens, {first["held out"]} held out; a vocabulary of {VOCABULARY:,}. Before and after are mean and
standard deviation over seeds, on {EXAMPLES} examples in batches of {BATCH}, without dropout. Values that a small model
and a short run need are set (`SMALL` and `OTHERWISE` in the script; each run's file says which); all others are the
preset's own. The figures say that a loss works, not how well its vectors search.

```console
python benchmarks/pretraining_signals.py DOCUMENTS -o records/pretraining-signals
```
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/signals"))
    parser.add_argument("--presets", nargs="*", help="all that train transformers, if not given")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--base", default="new:layers=2,hidden=128,dropout=0")
    parser.add_argument("--minutes", type=float, default=0.0, help="instead of steps")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--one", nargs=2, metavar=("PRESET", "SEED"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    if asked.one:
        train_one(asked, asked.one[0], int(asked.one[1]))
        return
    from pretrieve import methods

    asked.presets = asked.presets or [
        name for name in methods.names() if "transformer" in methods.find(name)[0].CARD.encoders
    ]
    prepared(asked.data, asked.work)
    failed = run_all(asked)
    print("\n".join([(asked.output / "README.md").read_text(), *failed]))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
