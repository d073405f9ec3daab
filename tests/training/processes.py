"""Real processes that train: forked from one server that has imported torch, so that each costs milliseconds."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import save_file

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.methods import names
from pretrieve.models.shards import is_part
from pretrieve.training.checkpoint import Checkpoints, digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.signals import StoppedError
from pretrieve.training.trainer import Trainer

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["processes"])


def start(target: Any, *arguments: Any) -> tuple[Any, Connection]:
    """A process, and where it sends from."""
    here, there = SERVER.Pipe(duplex=False)
    process = SERVER.Process(target=target, args=(there, *arguments))
    with pytest.MonkeyPatch.context() as patch:  # the server of Python 3.11 looks here alone for what it preloads
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        process.start()
    there.close()
    return process, here


def train(report: Connection, folder: Path, preset: str, pause: float = 0.0) -> None:
    """Train 300 steps from the last checkpoint; sends every step, then the digest or what stopped it."""
    torch.set_num_threads(1)
    objective, batches = tiny.run(preset, "static", seed=5)
    options = TrainingOptions(steps=300, batch_size=8, learning_rate=0.01, save_every=20)
    trainer = Trainer(objective=objective, batches=batches, options=options, seed=5)
    trainer.checkpoints = Checkpoints(folder=folder)
    trainer.checkpoints.sweep()
    trainer.resume()

    def tell(progress: Any) -> None:
        report.send(progress.step)
        time.sleep(pause)

    trainer.on_step = tell
    try:
        trainer.run()
    except StoppedError as error:
        report.send(str(error))
        sys.exit(error.exit_code)
    report.send(digest(objective))


# Every preset once with and once without the cache, and variants that the presets do not take.
CASES: list[tuple[str, str, dict[str, Any], bool]] = [
    *[(preset, kind, {}, cache) for preset in names() for kind in tiny.kinds(preset) for cache in (False, True)],
    ("contriever", "new", {"queue": 24, "mask_same_document": True}, False),
    ("orqa-ict", "new", {"encoders": "untied", "projection": 8}, True),
    ("realm", "new", {"update": "background", "encoders": "untied"}, True),
    ("structure", "static", {"symmetric": True}, False),
]


def resharded(report: Connection, number: int, meet: str, folder: Path) -> None:
    """One of two sharded ranks that reads a whole checkpoint of 3 steps, and writes it again, as one of 4 steps."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=number, world_size=2)
    trainer = small_trainer(folder, "full", seed=7)
    assert trainer.resume() == 3
    assert any(is_part(state["exp_avg"]) for state in trainer.optimizer.state.values())
    trainer.step = 4
    trainer.save()
    report.send("done")


def small_trainer(folder: Path, sharding: Literal["none", "full"], seed: int) -> Trainer:
    """A trainer of MoCo with checkpoints in a folder."""
    objective, batches = tiny.run("contriever", "new", size=8, seed=seed)
    options = TrainingOptions(steps=3, batch_size=8, sharding=sharding)
    return Trainer(objective=objective, batches=batches, options=options, checkpoints=Checkpoints(folder=folder))


def rank(
    report: Connection, world: int, number: int, meet: str, out: str, sharding: Literal["none", "full"] = "none"
) -> None:
    """Train every case on one rank of ``world``; keeps losses, the last gradient, and buffers."""
    torch.set_num_threads(1)
    if world > 1:
        torch.distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=number, world_size=world)
    results = {}
    for case, (preset, kind, changes, cache) in enumerate(CASES):
        objective, batches = tiny.run(preset, kind, size=8, seed=2, dropout=0.2, **changes)
        losses: list[float] = []
        options = TrainingOptions(
            steps=4,
            batch_size=8,
            chunk=2,
            cache=cache,
            precision="float64",
            learning_rate=0.001,
            clip=1.0,
            sharding=sharding,
        )
        try:
            trainer = Trainer(objective=objective, batches=batches, options=options, seed=2)
        except UsageError:  # it cannot be sharded
            assert sharding == "full"
            continue
        trainer.on_step = lambda progress, losses=losses: losses.append(progress.loss)
        assert trainer.ranks.world == world
        trainer.run()
        grads = [p.grad for p in objective.parameters() if p.grad is not None]
        gradients = [(grad.full_tensor() if is_part(grad) else grad).reshape(-1) for grad in grads]
        results[f"{case}/losses"] = torch.tensor(losses, dtype=torch.float64)
        results[f"{case}/gradient"] = torch.cat(gradients)
        for name, values in objective.named_buffers():
            results[f"{case}/buffer/{name}"] = values.double()
    save_file(results, f"{out}-{world}-{number}")
    report.send("done")
