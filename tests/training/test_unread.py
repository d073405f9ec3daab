"""Steps that the host does not wait for: the same weights, figures and decisions as those it waits for."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import tiny
from pretrieve.core.errors import NotFiniteError
from pretrieve.training.checkpoint import digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Progress, Trainer

STEPS = 12


def trainer_of(preset: str, *, waits: bool, kind: str = "new", **changes) -> tuple[Trainer, list[Progress]]:
    objective, batches = tiny.run(preset, kind, seed=5)
    options = {"steps": STEPS, "batch_size": 8, "learning_rate": 0.01, "clip": 1.0, "log_every": 5, **changes}
    seen: list[Progress] = []
    made = Trainer(
        objective=objective, batches=batches, options=TrainingOptions(**options), seed=5, waits=waits,
        on_step=seen.append,
    )  # fmt: skip
    return made, seen


def poison(trainer: Trainer, *steps: int) -> None:
    """Make the loss of some steps not finite."""
    compare = trainer.objective.compare

    def wrong(local_vectors, global_vectors, batch, first, step):
        loss = compare(local_vectors, global_vectors, batch, first, step)
        if step in steps:
            loss.value = loss.value * float("nan")
        return loss

    trainer.objective.compare = wrong


@pytest.mark.parametrize("optimizer", ["adamw", "bert"])
@pytest.mark.parametrize("poisoned", [(), (4,), (0, 6, 7)])
def test_unread_steps_are_those_that_are_read(optimizer: str, poisoned: tuple[int, ...]) -> None:
    """A queue and a slow encoder among them: what follows a step is undone where it is skipped."""
    runs = [trainer_of("contriever", waits=waits, optimizer=optimizer, on_not_finite="skip") for waits in (True, False)]
    for run, _ in runs:
        poison(run, *poisoned)
        run.run()
    assert digest(runs[0][0].objective) == digest(runs[1][0].objective)
    first, second = (seen for _, seen in runs)
    assert [one.step for one in second] == list(range(1, STEPS + 1))
    assert [one.skipped for one in second] == [step in poisoned for step in range(STEPS)]
    for one, two in zip(first, second, strict=True):
        assert one.loss == pytest.approx(two.loss, nan_ok=True)
        assert one.gradient_norm == pytest.approx(two.gradient_norm, nan_ok=True)
        assert one.statistics == pytest.approx(two.statistics, nan_ok=True)


def test_figures_arrive_every_few_steps() -> None:
    run, seen = trainer_of("structure", waits=False, kind="static")
    arrived = []
    for step in range(STEPS):
        run.take(run.batches(step))
        arrived.append(len(seen))
    assert arrived == [0, 0, 0, 0, 5, 5, 5, 5, 5, 10, 10, 10]
    run.save()
    assert len(seen) == STEPS


def test_a_run_that_stops_is_as_it_was_before_the_step() -> None:
    """The steps after it change nothing, although the host learns of it later."""
    run, seen = trainer_of("contriever", waits=False)
    poison(run, 6)
    with pytest.raises(NotFiniteError, match=r"step 6 .*nothing was updated"):
        run.run()
    assert [one.step for one in seen] == list(range(1, 7))
    before, _ = trainer_of("contriever", waits=True)
    for step in range(6):
        before.take(before.batches(step))
    assert digest(run.objective) == digest(before.objective)


def test_too_many_skipped_steps_stop_the_run() -> None:
    run, _ = trainer_of("structure", waits=False, kind="static", on_not_finite="skip", skip_limit=3)
    poison(run, 2, 4, 5, 6)
    with pytest.raises(NotFiniteError, match="step 6 "):
        run.run()


WAITS = """
import pretend_device
with pretend_device.pretended() as device:
    from pretrieve.models import devices
    import tiny
    from pretrieve.training.options import TrainingOptions
    from pretrieve.training.trainer import Trainer
    objective, batches = tiny.run("contriever", "new", seed=5)
    devices.place(objective, device)
    options = TrainingOptions(steps=12, batch_size=8, learning_rate=0.01, clip=1.0, log_every=5, precision="float32")
    trainer = Trainer(objective=objective, batches=batches, options=options, seed=5)
    counts = []
    with pretend_device.waits() as waits:
        for step in range(12):
            trainer.take(batches(step))
            counts.append(sum(waits.values()))
    print([now - before for before, now in zip([0, *counts], counts)])
"""


def test_the_host_waits_for_an_accelerator_only_where_it_reads() -> None:
    tests = Path(__file__).parent.parent
    code = f"import sys; sys.path[:0] = [{str(tests)!r}, {str(tests / 'training')!r}]\n{WAITS}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "[0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]"


@pytest.mark.gpu
def test_an_accelerator_trains_as_the_cpu_does() -> None:
    from pretrieve.models import devices

    losses = []
    for device in (torch.device("cpu"), devices.chosen()):
        objective, batches = tiny.run("contriever", "new", seed=5, dropout=0.0)
        devices.place(objective, device)
        options = TrainingOptions(steps=6, batch_size=8, learning_rate=0.01, clip=1.0, precision="float32")
        seen: list[float] = []
        Trainer(objective=objective, batches=batches, options=options, seed=5,
                on_step=lambda progress, seen=seen: seen.append(progress.loss)).run()  # fmt: skip
        losses.append(seen)
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
