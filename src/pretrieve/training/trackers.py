"""Curves for people: TensorBoard where it is installed, or another tracker of Accelerate by name."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from pretrieve.core.errors import MissingExtraError

if TYPE_CHECKING:
    from pretrieve.training.trainer import Progress

NONE, AUTO = "none", "auto"


class Tracker:
    """Sends what is known after a step to a tracker; curves never decide a result.

    Args:
        folder: where local trackers write.
        name: ``auto`` (TensorBoard where it is installed), ``none``, or a tracker that Accelerate knows.
        every: steps between two points.

    Raises:
        MissingExtraError: the named tracker is not installed.
    """

    def __init__(self, folder: Path, *, name: str = AUTO, every: int = 10) -> None:
        self._every = every
        self._trackers: list[Any] = []
        chosen = _installed() if name == AUTO else name
        if chosen != NONE:
            self._trackers = _open(chosen, folder)

    def __enter__(self) -> Tracker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for tracker in self._trackers:
            tracker.finish()

    def log(self, progress: Progress) -> None:
        """Send loss, learning rate, gradient norm, speed and the method's own statistics of a step."""
        if self._trackers and progress.step % self._every == 0:
            values = {
                "loss": progress.loss,
                "learning rate": progress.learning_rate,
                "gradient norm": progress.gradient_norm,
                "tokens per second": progress.tokens_per_second,
                **progress.statistics,
            }
            for tracker in self._trackers:
                tracker.log(values, step=progress.step)


def _installed() -> str:
    return "tensorboard" if importlib.util.find_spec("tensorboard") else NONE


def _open(name: str, folder: Path) -> list[Any]:
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, filter_trackers

    if name not in LOGGER_TYPE_TO_CLASS or not filter_trackers([name], folder):
        raise MissingExtraError(
            f"tracker {name!r} is not installed: pip install 'pretrieve[track]' for TensorBoard, or set tracker=none."
        )
    kind = LOGGER_TYPE_TO_CLASS[name]
    arguments = {"logging_dir": folder} if kind.requires_logging_directory else {}
    tracker = kind("curves", **arguments)
    tracker.start()
    return [tracker]
