"""``training.evaluate_every`` and ``training.patience`` on every command that trains, by the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest

from pretrieve.core.errors import UsageError
from pretrieve.training.early_stopping import HeldOutLoss
from pretrieve.training.options import TrainingOptions

SMALL = ("--set", "batch_size=8", "--set", "dimensions=16", "--set", "vocabulary_size=300")


def weights(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.safetensors")))


COMMANDS = {
    "train": ("docs.jsonl", "--method", "structure", "--variants", "mix", *SMALL),
    "finetune": ("start", "many", "--negatives", "none", "--set", "batch_size=8"),
    "distill": ("docs.jsonl", "--teacher", "teacher", "--stages", "tokens,distil", "--teacher-tokens", "3000",
                "--set", "batch_size=8"),
    "read": ("towns.jsonl", "--questions", "questions.jsonl", "--model", "towers", "--set", "batch_size=2", "--set",
             "block=48", "--set", "read=2"),
}  # fmt: skip


@pytest.fixture(scope="module")
def room(things, tmp_path_factory) -> Path:
    """The things, with enough labels to hold some out."""
    import labelling

    folder = tmp_path_factory.mktemp("held-out") / "things"
    shutil.copytree(things, folder)
    labelling.beir(folder / "many")
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_the_loss_is_measured_and_changes_nothing(run, room, monkeypatch, command: str) -> None:
    monkeypatch.chdir(room)
    words = (*COMMANDS[command], "--steps", "7", "--tracker", "none")
    if command != "read":  # there a tenth of the questions is held out only where it is asked for
        assert run(command, *words, "-o", f"{command}-plain").code == 0
    found = run(command, *words, "-o", f"{command}-measured", "--set", "evaluate_every=2")
    assert found.code == 0, found.err
    assert "held-out loss" in found.err + found.out
    if command != "read":
        assert weights(room / f"{command}-plain") == weights(room / f"{command}-measured")


def test_training_ends_when_the_loss_no_longer_falls(run, room, monkeypatch) -> None:
    """At a rate that makes every step worse; the weights are those of the first measurement."""
    monkeypatch.chdir(room)
    words = ("finetune", *COMMANDS["finetune"], "--steps", "40", "--set", "learning_rate=30", "--set", "warmup=0")
    words = (*words, "--set", "schedule=constant", "--set", "evaluate_every=1")
    assert run(*words, "--set", "patience=2", "-o", "stopped").code == 0
    assert run(*words, "-o", "whole").code == 0
    assert weights(room / "stopped") != weights(room / "whole")
    assert run(*words, "--set", "patience=2", "-o", "again").code == 0
    assert weights(room / "stopped") == weights(room / "again")


def test_too_few_examples_are_told(run, room, monkeypatch) -> None:
    monkeypatch.chdir(room)
    found = run("finetune", "start", "beir", "--negatives", "none", "--steps", "2", "-o", "few", "--set",
                "evaluate_every=1")  # fmt: skip
    assert found.code == 2
    assert "evaluate_every=1: no examples are held out" in found.err
    assert not (room / "few").exists()
    assert not (room / "few.work").exists()


def test_patience_counts_from_the_lowest() -> None:
    losses = iter([3.0, 2.0, float("nan"), 2.5, 1.0, 1.0, 1.5, 4.0])
    held_out = HeldOutLoss(measure=lambda: next(losses), every=2, patience=3)
    over = []
    for step in range(1, 17):
        held_out.after(step, None)  # type: ignore[arg-type]
        over.append(held_out.is_over)
    assert over.index(True) == 15, "three measurements after the first 1.0, which is the lowest"
    assert len(held_out.losses) == 8
    with pytest.raises(UsageError, match="evaluate_every"):
        TrainingOptions(patience=2)


def test_the_lowest_loss_is_in_the_checkpoint(tmp_path) -> None:
    """A resumed run knows what was measured before."""
    import torch

    from pretrieve.training.checkpoint import Checkpoints

    model = torch.nn.Linear(2, 1)
    best = Checkpoints(folder=tmp_path / "best")
    losses = iter([2.0, 1.0, 3.0])
    held_out = HeldOutLoss(measure=lambda: next(losses), every=1, patience=1, best=best)
    seen = []
    for step in (1, 2, 3):
        with torch.no_grad():
            model.weight += 1
        seen.append(model.weight.clone())
        held_out.after(step, model)
    assert held_out.is_over
    assert held_out.restore(model) == 2
    assert torch.equal(model.weight, seen[1])
    assert orjson.dumps(held_out.losses) == b"[2.0,1.0,3.0]"
