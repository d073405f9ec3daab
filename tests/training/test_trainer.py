"""The loop: resume from every step, stops, signals, numbers that are not finite, calibration."""

import os
import signal
import threading
import time
from pathlib import Path

import processes
import pytest
import torch

import tiny
from pretrieve.core.errors import NotFiniteError, UsageError
from pretrieve.training.calibration import steps_for_minutes
from pretrieve.training.checkpoint import Checkpoints, digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.signals import StoppedError
from pretrieve.training.trainer import Progress, Trainer, prefetched

STEPS = 30
OPTIONS = TrainingOptions(steps=STEPS, batch_size=8, learning_rate=0.01, clip=1.0, save_every=1, max_checkpoints=STEPS)


def trainer_of(preset: str, kind: str, folder: Path | None = None, **changes) -> Trainer:
    objective, batches = tiny.run(preset, kind, seed=5)
    checkpoints = Checkpoints(folder=folder, keep=STEPS, fingerprints={"recipe": "r"}) if folder else None
    options = TrainingOptions(**{**OPTIONS.__dict__, **changes})
    return Trainer(objective=objective, batches=batches, options=options, seed=5, checkpoints=checkpoints)


@pytest.mark.parametrize("kind", ["static", "new"])
@pytest.mark.parametrize("preset", ["contriever", "orqa-ict"])
def test_resume_from_every_step_is_bit_exact(preset: str, kind: str, tmp_path: Path) -> None:
    whole = trainer_of(preset, kind, tmp_path)
    whole.run()
    expected = digest(whole.objective)
    start = digest(trainer_of(preset, kind).objective)
    assert start != expected
    assert Checkpoints(folder=tmp_path).steps() == list(range(1, STEPS + 1))
    resumed = trainer_of(preset, kind, save_every=0)
    for step in range(1, STEPS + 1):
        resumed.checkpoints = Checkpoints(folder=tmp_path, fingerprints={"recipe": "r"}, keep=STEPS)
        state = resumed.checkpoints.load(step, resumed.objective, resumed.optimizer)
        resumed.step, resumed.checkpoints = state["step"], None
        resumed.run()
        assert digest(resumed.objective) == expected, f"resumed from step {step}"


def test_two_runs_of_one_recipe_are_equal_and_another_seed_is_not() -> None:
    runs = [trainer_of("structure", "static") for _ in range(2)]
    for run in runs:
        run.run()
    assert digest(runs[0].objective) == digest(runs[1].objective)
    other = trainer_of("structure", "static")
    other.seed, other.batches = 6, tiny.run("structure", "static", seed=6)[1]
    other.run()
    assert digest(other.objective) != digest(runs[0].objective)


def test_cached_training_follows_full_training() -> None:
    runs = [trainer_of("orqa-ict", "new", chunk=3, cache=cache, precision="float64", steps=10) for cache in (0, 1)]
    for run in runs:
        run.run()
    for one, two in zip(runs[0].objective.parameters(), runs[1].objective.parameters(), strict=True):
        assert torch.allclose(one, two, rtol=1e-6, atol=1e-9)


def poison(trainer: Trainer, where: str, at: int) -> None:
    """Make the loss or only the gradient of one step not finite."""
    compare = trainer.objective.compare

    def wrong(local_vectors, global_vectors, batch, first, step):
        loss = compare(local_vectors, global_vectors, batch, first, step)
        if step == at and where == "loss":
            loss.value = loss.value * float("nan")
        if step == at and where == "gradient":
            loss.value.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    trainer.objective.compare = wrong


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_not_finite_stops_before_the_update(where: str, tmp_path: Path) -> None:
    trainer = trainer_of("contriever", "static", tmp_path)
    poison(trainer, where, 7)
    with pytest.raises(NotFiniteError, match=r"step 7 \(seed 5\).*nothing was updated. Documents \d+") as caught:
        trainer.run()
    assert caught.value.exit_code == 1
    before = trainer_of("contriever", "static", tmp_path)
    assert before.resume() == 7
    assert digest(before.objective) == digest(trainer.objective)


def test_not_finite_is_skipped_and_stops_after_too_many() -> None:
    seen: list[Progress] = []
    trainer = trainer_of("contriever", "static", on_not_finite="skip")
    trainer.on_step = seen.append
    poison(trainer, "loss", 7)
    trainer.run()
    assert [progress.step for progress in seen if progress.skipped] == [8]
    assert len(seen) == STEPS
    stubborn = trainer_of("contriever", "static", on_not_finite="skip", skip_limit=3)
    for at in (4, 5, 6):
        poison(stubborn, "loss", at)
    with pytest.raises(NotFiniteError, match="step 6"):
        stubborn.run()


def test_clipping_covers_everything_that_learns() -> None:
    trainer = trainer_of("orqa-ict", "new", clip=0.01)
    seen: list[Progress] = []
    trainer.on_step = seen.append
    trainer.take(trainer.batches(0))
    norm = torch.stack([p.grad.norm() for p in trainer.objective.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(0.01, rel=1e-3)
    assert seen[0].gradient_norm > 0.02
    assert any("linear" in name for name, p in trainer.objective.named_parameters() if p.grad is not None)


def test_bfloat16_learns_and_float64_is_float64() -> None:
    half = trainer_of("contriever-inbatch", "new", precision="bfloat16", steps=5)
    half.run()
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in half.objective.parameters())
    double = trainer_of("contriever-inbatch", "new", precision="float64", steps=2)
    double.run()
    assert all(p.dtype == torch.float64 for p in double.objective.parameters())


def test_progress_counts_real_tokens() -> None:
    seen: list[Progress] = []
    trainer = trainer_of("contriever", "static", steps=3)
    trainer.on_step = seen.append
    trainer.run()
    lengths = trainer.batches(2).rows.lengths
    assert seen[-1].real_share == pytest.approx(lengths.sum() / (len(lengths) * lengths.max()))
    assert (seen[-1].step, seen[-1].steps) == (3, 3)
    assert seen[-1].tokens_per_second > 0
    assert "accuracy" in seen[-1].statistics


def test_learning_rate_follows_its_schedule() -> None:
    linear = TrainingOptions(steps=100, learning_rate=1.0, warmup=0.1)
    assert [linear.rate(step) for step in (0, 9, 10, 55)] == pytest.approx([0.1, 1.0, 1.0, 0.5])
    assert TrainingOptions(steps=100, learning_rate=1.0, warmup=0.1, schedule="cosine").rate(55) == pytest.approx(0.5)
    assert TrainingOptions(steps=100, learning_rate=1.0, warmup=0, schedule="constant").rate(99) == 1.0
    assert TrainingOptions(steps=100, learning_rate=1.0, warmup=0, floor=0.05).rate(99) == 0.05
    for wrong in ({"steps": 0}, {"warmup": 2.0}, {"cache": True}, {"floor": 2.0}, {"learning_rate": float("nan")}):
        with pytest.raises(UsageError):
            TrainingOptions(**wrong)


def test_prefetch_keeps_the_order_and_passes_errors_on() -> None:
    before = set(threading.enumerate())
    assert list(prefetched(lambda step: step, 3, 50)) == list(range(3, 50))  # type: ignore[arg-type]

    def broken(step: int) -> int:
        if step == 5:
            raise UsageError("at five")
        return step

    seen = []
    with pytest.raises(UsageError, match="at five"):
        seen.extend(prefetched(broken, 0, 10))  # type: ignore[arg-type]
    assert seen == [0, 1, 2, 3, 4]
    assert set(threading.enumerate()) <= before


def test_minutes_become_steps_without_a_trace() -> None:
    trainer = trainer_of("contriever", "static")
    before = digest(trainer.objective)
    started = time.perf_counter()
    steps = steps_for_minutes(trainer.objective, trainer.batches, OPTIONS, 0.02, seed=5)
    assert time.perf_counter() - started < 1.2
    assert steps > 5
    assert digest(trainer.objective) == before


def until(report, step: int) -> None:
    while report.recv() < step:
        pass


def rest(report) -> list:
    found = []
    try:
        while True:
            found.append(report.recv())
    except EOFError:
        return found


@pytest.mark.parametrize("preset", ["contriever", "orqa-ict"])
def test_killed_processes_resume_bit_exactly(preset: str, tmp_path: Path) -> None:
    _, report = processes.start(processes.train, tmp_path / "whole", preset)
    *steps, expected = rest(report)
    assert steps == list(range(1, 301))
    done = 0
    for at in (33, 117):
        killed, report = processes.start(processes.train, tmp_path / "killed", preset, 0.001)
        until(report, at)
        killed.kill()
        killed.join()
        assert killed.exitcode == -signal.SIGKILL
        done = Checkpoints(folder=tmp_path / "killed").latest()
        assert done >= at // 20 * 20
    _, report = processes.start(processes.train, tmp_path / "killed", preset)
    *steps, found = rest(report)
    assert steps == list(range(done + 1, 301))
    assert found == expected
    assert [path.name for path in (tmp_path / "killed").glob(".pretrieve*")] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_leave_a_checkpoint_and_their_exit_code(number: int, code: int, tmp_path: Path) -> None:
    process, report = processes.start(processes.train, tmp_path, "contriever", 0.01)
    until(report, 10)
    started = time.monotonic()
    os.kill(process.pid, number)
    *steps, said = rest(report)
    process.join(timeout=20)
    assert time.monotonic() - started < 10
    assert process.exitcode == code
    assert "add --resume to continue" in said
    assert Checkpoints(folder=tmp_path).latest() == [10, *steps][-1]
    assert StoppedError(number, 1, None).exit_code == code


@pytest.mark.parametrize("save_every", [0, 1])
@pytest.mark.parametrize("rate", [1e38, 1e30])
def test_weights_that_an_update_ruined_are_not_handed_on(rate: float, save_every: int, tmp_path: Path) -> None:
    """The last update of a run, and that before a checkpoint: the checkpoint before stays the newest."""
    before = trainer_of("contriever-inbatch", "static", tmp_path, steps=2, save_every=1)
    before.run()
    trainer = trainer_of("contriever-inbatch", "static", tmp_path, steps=3, save_every=save_every)
    assert trainer.resume() == 2
    object.__setattr__(trainer.options, "learning_rate", rate)
    with pytest.raises(NotFiniteError, match=r"step 3 \(seed 5\).*first encoder.*not saved.*lower learning_rate"):
        trainer.run()
    assert Checkpoints(folder=tmp_path).steps() == [1, 2]
    alone = trainer_of("contriever-inbatch", "static", steps=1, warmup=0.0, learning_rate=rate)
    with pytest.raises(NotFiniteError, match="step 1"):
        alone.run()


def test_a_weight_that_is_not_a_number_is_named(tmp_path: Path) -> None:
    trainer = trainer_of("orqa-ict", "new", tmp_path, steps=3)
    with torch.no_grad():
        trainer.objective.encoder.linear.bias[3] = float("nan")
    with pytest.raises(NotFiniteError, match=r"encoder\.linear\.bias"):
        trainer.save()
    assert not Checkpoints(folder=tmp_path).steps()
