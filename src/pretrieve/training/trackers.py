"""Experiment trackers: TensorBoard if installed, others through Accelerate."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrieve.core.errors import MissingExtraError, UsageError, suggest

if TYPE_CHECKING:
    from pretrieve.training.trainer import Progress

AUTO, NONE = "auto", "none"


class Tracker:
    """Sends the metrics of every ``every``-th step to one of Accelerate's trackers.

    Args:
        name: "tensorboard", "wandb", "mlflow", "trackio", or another tracker of Accelerate.
        folder: output folder of trackers that write files.
        run: name of the run.
        values: hyperparameters to store with the run.
        every: steps between records.

    Raises:
        UsageError: Accelerate has no such tracker.
        MissingExtraError: the tracker is not installed.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        run: str = "pretrieve",
        values: Mapping[str, Any] | None = None,
        every: int = 10,
    ) -> None:
        from accelerate import PartialState  # imported here because it takes a second

        kind = _kind(name)
        PartialState()
        self._tracker = kind(run, logging_dir=str(folder)) if kind.requires_logging_directory else kind(run)
        if hasattr(self._tracker, "start"):
            self._tracker.start()
        if values:
            self._tracker.store_init_configuration(dict(values))
        self._every = every

    def __call__(self, progress: Progress) -> None:
        """Send the metrics of a step, if it is due."""
        if progress.step % self._every and progress.step != progress.steps:
            return
        figures = {
            "loss": progress.loss,
            "learning_rate": progress.learning_rate,
            "gradient_norm": progress.gradient_norm,
            "tokens_per_second": progress.tokens_per_second,
            **progress.statistics,
        }
        self.log(figures, progress.step)

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Send the metrics of a step; non-finite values are left out."""
        self._tracker.log({name: value for name, value in figures.items() if math.isfinite(value)}, step=step)

    def close(self) -> None:
        """Flush and close the tracker."""
        self._tracker.finish()


def check_tracker(name: str) -> None:
    """Check that a tracker is available before anything is read; ``auto`` and ``none`` always are.

    Args:
        name: value of ``--tracker``.

    Raises:
        UsageError: Accelerate has no such tracker.
        MissingExtraError: the tracker is not installed.
    """
    if name not in (AUTO, NONE):
        _kind(name)


def _kind(name: str) -> Any:
    """Accelerate's class of a tracker."""
    from accelerate import tracking

    known = {str(kind): tracker for kind, tracker in tracking.LOGGER_TYPE_TO_CLASS.items()}
    if name not in known:
        raise UsageError(f"unknown tracker {name!r}.{suggest(name, [AUTO, NONE, *known])}")
    if name not in {str(kind.value) for kind in tracking.get_available_trackers()}:
        raise MissingExtraError(f"tracker {name!r} is not installed: pip install {name}.")
    return known[name]


def default_tracker() -> str | None:
    """The default tracker: TensorBoard if installed, otherwise none."""
    return "tensorboard" if importlib.util.find_spec("tensorboard") else None
