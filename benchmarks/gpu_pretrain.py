"""A small masked-LM BERT from nothing, and four methods that start from it: what does each add?

    python benchmarks/gpu_pretrain.py TEXTS -o records/gpu-pretrain --minutes 8       # on a GPU
    python benchmarks/gpu_pretrain.py --toy -o OUT                                    # the same in seconds, on a CPU

TEXTS is a folder of documents. Masked language modelling takes at most the minutes; condenser, retromae and
contriever-inbatch start from its model, cocondenser from condenser's, each for --minutes-each. Every model is then
tuned briefly by the same label-free pairs (`structure`), and judged by its own signal on held-out documents and by the
label-free probe, before and after the tuning. Stages that are done are not done again, so the script may be stopped.

The defaults take some 25 minutes of training and as much of probes; within --budget, stages share what is left, and
one that has no minute left waits for the next call. A stage that fails is reported and costs only those that start
from it. What the machine needs is in ``gpu_speed.py``.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import pretraining_signals as signals  # noqa: E402
import records  # noqa: E402

START = "mlm"
STAGES = {"mlm": None, "condenser": START, "retromae": START, "contriever-inbatch": START, "cocondenser": "condenser"}
TUNING = "structure"
BEGAN = time.monotonic()
LEAST = 0.05  # minutes of training below which a stage is not begun


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large everything is; values are set where a method has an option of that name."""

    base: str
    vocabulary: int
    values: dict[str, Any]
    tuning: dict[str, Any]
    characters: int  # of text that is read


FULL = Scale(
    base="new:layers=6,hidden=384",
    vocabulary=30_000,
    values={"batch_size": 256, "learning_rate": 5e-4, "warmup": 0.06, "clip": 1.0, "save_every": 0, "length": 128,
            "window": 256},
    tuning={"batch_size": 256, "learning_rate": 1e-4, "warmup": 0.1, "clip": 1.0, "save_every": 0},
    characters=400_000_000,
)  # fmt: skip
TOY = Scale(
    base="new:layers=1,hidden=32",
    vocabulary=300,
    values={"batch_size": 8, "learning_rate": 1e-3, "save_every": 0, "length": 32, "window": 48},
    tuning={"batch_size": 8, "learning_rate": 1e-3, "save_every": 0, "window": 48},
    characters=1_000_000,
)


def generated(folder: Path) -> Path:
    """Some documents of a made-up language, whose topics have words of their own."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abdegiklmnoprstu"), rng.integers(3, 8))) for _ in range(400)]
    lines = []
    for number in range(80):
        own = rng.choice(words, 25)
        sentences = [" ".join(rng.choice(own, rng.integers(5, 10))).capitalize() + "." for _ in range(8)]
        lines.append(orjson.dumps({"id": str(number), "title": " ".join(own[:3]), "text": " ".join(sentences)}))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.jsonl").write_bytes(b"\n".join(lines))
    return folder


def plan_of(asked: argparse.Namespace, preset: str, base: str, output: Path, values: dict[str, Any], store: Any) -> Any:
    """The request and everything its run needs, on the device."""
    from pretrieve.pipeline.pretrain import build as planning
    from pretrieve.pipeline.pretrain.request import TrainRequest

    given = signals.known_values(preset, values)
    if asked.device == "cuda":
        given |= {"precision": "bfloat16"}
    request = TrainRequest(
        sources=(str(asked.texts),), output=output, method=preset, base=base, seed=asked.seed, overwrite=True,
        settings=given,
    )  # fmt: skip
    made = planning.make(request, planning.choose(request), store)
    made.objective.to(asked.device)
    return request, made


def trained(asked: argparse.Namespace, made: Any, minutes: float) -> tuple[Any, float]:
    """Train for the minutes, or the steps; returns the run with its number of steps, and the seconds."""
    from pretrieve.training.calibration import steps_for_minutes
    from pretrieve.training.trainer import Trainer

    steps = asked.steps or steps_for_minutes(made.objective, made.batches, made.training, minutes, asked.seed)
    training = replace(made.training, steps=steps)
    made = replace(
        made, training=training, recipe=replace(made.recipe, training={**made.recipe.training, "steps": steps})
    )
    began = time.perf_counter()
    Trainer(objective=made.objective, batches=made.batches, options=training, seed=asked.seed).run()
    return made, time.perf_counter() - began


def kept(made: Any, start: Any, prepared: Any, output: Path) -> None:
    """Leave a model folder, from which others start."""
    from pretrieve.pipeline.pretrain.publish import publish
    from pretrieve.pipeline.pretrain.request import TrainRequest
    from pretrieve.pipeline.pretrain.selection import unselected
    from pretrieve.pipeline.run.progress import Silent
    from pretrieve.pipeline.run.run import begin

    made.objective.to("cpu")
    request = TrainRequest(sources=(str(made.recipe.sources),), output=output, overwrite=True)
    with begin("train", request, Silent()) as run:
        publish(run, unselected(made, start), prepared)


def probed(asked: argparse.Namespace, made: Any, start: Any, prepared: Any) -> dict[str, float]:
    """nDCG@10 of the label-free probe, mean over the kinds of query: BM25, start, trained."""
    from pretrieve.evaluation.probe import ProbeResult
    from pretrieve.pipeline.pretrain.selection import Trained, select_transformer
    from pretrieve.pipeline.run.progress import Silent

    for part in (start, made.objective):  # the probe encodes where the weights are
        part.to(asked.device)
    probe = select_transformer(start, Trained(name="trained", plan=made), prepared, Silent(), asked.seed).probe
    for part in (start, made.objective):
        part.to("cpu")
    assert isinstance(probe, ProbeResult)
    return {name: float(probe.mean(name)) for name in probe.values}


def stage(asked: argparse.Namespace, preset: str, prepared: Any, held: Any) -> dict[str, Any]:
    """Pre-train with one preset, tune its model briefly, and judge both."""
    from pretrieve.training.held_out import held_out

    start = STAGES[preset]
    base = asked.scale.base if start is None else str(asked.work / "models" / start)
    output = asked.work / "models" / preset
    request, made = plan_of(asked, preset, base, output, asked.scale.values, prepared.store)
    beginning = deepcopy(made.objective.encoder).to("cpu")
    objective, batches = signals.judge_of(made, preset, request, prepared.store, held, asked.scale.values)
    before = held_out(objective.to(asked.device), batches, range(asked.batches))
    made, seconds = trained(asked, made, share_of(asked, preset))
    after = held_out(objective.to(asked.device), batches, range(asked.batches))
    kept(made, beginning, prepared, output)
    plain = probed(asked, made, beginning, prepared)
    _, tuned = plan_of(asked, TUNING, str(output), asked.work / "tuned", asked.scale.tuning, prepared.store)
    tuned, _ = trained(asked, tuned, asked.minutes_tuning)
    tuned.objective.to("cpu")
    return {
        "preset": preset, "starts from": start or "nothing", "base": asked.scale.base, "steps": made.training.steps,
        "seconds": round(seconds, 1), "device": device_name(asked.device),
        "method": made.objective.__module__.rsplit(".", 1)[-1],
        "documents": len(prepared.store), "tokens": len(prepared.store.tokens), "seed": asked.seed,
        "before": before, "after": after, "probe": plain, "tuning steps": tuned.training.steps,
        "probe, tuned": probed(asked, tuned, beginning, prepared), "date": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip


def share_of(asked: argparse.Namespace, preset: str) -> float:
    """Minutes of training of a stage: those asked for, or its part of half of what is left for the stages to come."""
    wanted = {name: asked.minutes if start is None else asked.minutes_each for name, start in STAGES.items()}
    to_come = sum(wanted[name] for name in asked.stages if not (asked.output / f"{name}.json").is_file())
    left = (asked.deadline - time.monotonic()) / 60
    return float(min(wanted[preset], wanted[preset] * max(0.0, left) / (2 * max(to_come, 1e-9))))


def reason_against(asked: argparse.Namespace, preset: str) -> str:
    """Why a stage cannot be done now; empty where it can."""
    start = STAGES[preset]
    if start is not None and not (asked.work / "models" / start).is_dir():
        return f"{start}, from which it starts, is not there"
    late = time.monotonic() > asked.deadline or (not asked.steps and share_of(asked, preset) < LEAST)
    return "no time is left" if late else ""


def done(asked: argparse.Namespace, preset: str, prepared: Any, held: Any) -> bool:
    """Do a stage and write what is known by then; says why where that fails."""
    path = asked.output / f"{preset}.json"
    if preset not in asked.stages or path.is_file():
        return True
    if reason := reason_against(asked, preset):
        print(f"LEFT OUT {preset}: {reason}", flush=True)
        return False
    try:
        found = stage(asked, preset, prepared, held)
    except Exception as error:  # one method that fails is no reason to lose the others
        print(f"FAILED {preset}: {type(error).__name__}: {' '.join(str(error).split())[:300]}", flush=True)
        return False
    path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    write_up(asked.output, asked.toy)
    print(f"{preset}: {found['steps']} steps in {found['seconds']} s, probe {found['probe']}", flush=True)
    return True


def device_name(device: str) -> str:
    """What was computed on."""
    import torch

    return torch.cuda.get_device_name(0) if device == "cuda" else "CPU"


def write_up(output: Path, toy: bool) -> None:
    """results.jsonl and README.md from the stages that are done."""
    runs = [
        orjson.loads((output / f"{name}.json").read_bytes()) for name in STAGES if (output / f"{name}.json").is_file()
    ]
    rows, lines = [], []
    for run in runs:
        name = signals.signal_of(run)
        figures = {
            name: (run["before"][name], run["after"][name]),
            "label-free probe, nDCG@10": (run["probe"]["start"], run["probe"]["trained"]),
            f"label-free probe, nDCG@10, tuned by {TUNING}": (run["probe"]["start"], run["probe, tuned"]["trained"]),
        }
        for metric, (before, after) in figures.items():
            rows.append(
                records.row(
                    preset=run["preset"], method=run["method"], base=f"{run['base']}, from {run['starts from']}",
                    data="the texts of the folder", split="held out", metric=metric,
                    command="python benchmarks/gpu_pretrain.py TEXTS -o records/gpu-pretrain",
                    before={run["seed"]: before}, after={run["seed"]: after},
                    better=signals.SIGNALS.get(metric, "higher"), steps=run["steps"], date=run["date"],
                    device=run["device"],
                )
            )  # fmt: skip
        lines.append(
            f"| {run['preset']} | {run['starts from']} | {run['steps']:,} in {run['seconds']:.0f} s "
            f"| {name} {run['before'][name]:.3f} → {run['after'][name]:.3f} | {run['probe']['BM25']:.3f} "
            f"| {run['probe']['trained']:.3f} | {run['probe, tuned']['trained']:.3f} |"
        )
    records.write(output / "results.jsonl", rows)
    first = runs[0]
    head = [
        "# A small BERT from nothing, and what each method adds",
        "",
        __doc__.strip().splitlines()[0] if not toy else "A toy run: the figures mean nothing.",
        "",
        f"`{first['base']}` on {first['documents']:,} documents of {first['tokens']:,} tokens; one seed.",
        f"Computed on {first['device']}.",
        "The probe is label-free: nDCG@10 on queries taken out of held-out documents. *Tuned* is "
        f"{first['tuning steps']:,} steps of `{TUNING}`,",
        "label-free too, from each model.",
        "",
        "| preset | starts from | steps | own signal, held out | BM25 | probe | probe, tuned |",
        "|---|---|---|---|---|---|---|",
    ]
    (output / "README.md").write_text("\n".join([*head, *lines]) + "\n")


def main(arguments: list[str] | None = None) -> None:
    """Run what is not done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("texts", type=Path, nargs="?", help="a folder of documents")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("out/gpu"))
    parser.add_argument("--stages", nargs="*", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--minutes", type=float, default=8.0, help="of masked language modelling")
    parser.add_argument("--minutes-each", type=float, default=2.0, help="of each other method")
    parser.add_argument("--minutes-tuning", type=float, default=0.5)
    parser.add_argument("--budget", type=float, default=60.0, help="minutes of everything")
    parser.add_argument("--steps", type=int, help="of everything, instead of minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--toy", action="store_true", help="one layer, a few steps, generated text, on the CPU")
    asked = parser.parse_args(arguments)
    import torch

    from pretrieve.models import devices

    asked.device = "cuda" if torch.cuda.is_available() and not asked.toy else "cpu"
    asked.scale, asked.batches = (TOY, 1) if asked.toy else (FULL, signals.EXAMPLES // signals.BATCH)
    if asked.toy:
        asked.texts, asked.steps = generated(asked.work / "texts"), asked.steps or 3
    if asked.texts is None:
        parser.error("name a folder of documents, or --toy")
    asked.deadline = BEGAN + 60 * asked.budget
    devices.tune(torch.device(asked.device))
    asked.output.mkdir(parents=True, exist_ok=True)
    prepared, held = signals.prepared(str(asked.texts), asked.work, asked.scale.vocabulary, asked.scale.characters)
    whole = [done(asked, preset, prepared, held) for preset in STAGES]  # every one is tried
    if not all(whole):
        raise SystemExit(1)


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
