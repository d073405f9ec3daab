"""TensorBoard really gets the figures."""

from pathlib import Path

import pytest

from pretrieve.core.errors import UsageError
from pretrieve.training.trackers import Tracker, default_tracker
from pretrieve.training.trainer import Progress


def progress(step: int) -> Progress:
    return Progress(
        step=step, steps=25, loss=1.0 / step, statistics={"accuracy": 0.5, "kept_accuracy": float("nan")},
        learning_rate=0.1, gradient_norm=2.0, tokens_per_second=10.0, real_share=0.5,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # tensorboard's own
def test_tensorboard_gets_every_tenth_step_and_the_last(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = Tracker("tensorboard", tmp_path)
    for step in range(1, 26):
        tracker(progress(step))
    tracker.close()
    (events,) = tmp_path.rglob("events*")
    found = EventAccumulator(str(events.parent))
    found.Reload()
    assert [event.step for event in found.Scalars("loss")] == [10, 20, 25]
    assert found.Scalars("loss")[-1].value == pytest.approx(1 / 25)
    assert "kept_accuracy" not in found.Tags()["scalars"]


def test_unknown_tracker(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'tensorboard'"):
        Tracker("tensorbord", tmp_path)
    assert default_tracker() in ("tensorboard", None)
