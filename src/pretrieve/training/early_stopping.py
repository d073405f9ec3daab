"""Evaluate the held-out loss during training, and stop early when it no longer decreases."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from torch import nn

from pretrieve.training.checkpoint import Checkpoints
from pretrieve.training.ranks import Ranks


@dataclass(kw_only=True)
class HeldOutLoss:
    """Measures the held-out loss of a run; with ``patience``, saves the weights of the lowest loss.

    All ranks take the loss of rank 0, and rank 0 saves for all.

    Attributes:
        measure: function that returns the current held-out loss, called on every rank; it does not change the run.
        every: steps between measurements.
        patience: consecutive measurements without a lower loss before the run stops; 0 to never stop.
        best: checkpoints that hold the weights of the lowest loss; used with ``patience`` only.
        on_measured: callback that receives the step and the loss of each measurement.
        losses: measured losses, in order.
        ranks: the processes that train together.
        gathered: in it, rank 0 can compute alone; set by the trainer.
    """

    measure: Callable[[], float]
    every: int
    patience: int = 0
    best: Checkpoints | None = None
    on_measured: Callable[[int, float], None] | None = None
    losses: list[float] = field(default_factory=list)
    ranks: Ranks = field(default_factory=Ranks.current)
    gathered: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def is_over(self) -> bool:
        """Whether ``patience`` is exhausted."""
        return bool(self.patience) and self._since_best >= self.patience

    @property
    def _since_best(self) -> int:
        """Number of measurements since the lowest; NaN never counts as lower."""
        known = [loss if math.isfinite(loss) else math.inf for loss in self.losses]
        return len(known) - 1 - known.index(min(known)) if known else 0

    def after(self, step: int, weights: nn.Module) -> None:
        """Measure if this step is due.

        Args:
            step: steps done.
            weights: module to save if the loss is the lowest so far.

        Raises:
            StorageError: writing fails.
        """
        if step % self.every:
            return
        with self.gathered():
            self.losses.append(self.ranks.of_first(self.measure()))
        if self.on_measured is not None:
            self.on_measured(step, self.losses[-1])
        if self.best is not None and self._since_best == 0:
            self.best.save_weights(step, weights)

    def restore(self, weights: nn.Module) -> int | None:
        """Load the weights of the lowest loss.

        Args:
            weights: module to load into.

        Returns:
            Step of the loaded weights; None if none were saved.

        Raises:
            CorruptError: the saved weights are damaged.
        """
        step = self.best.latest() if self.best is not None else None
        if step is not None:
            assert self.best is not None
            self.best.load_weights(step, weights)
        return step
