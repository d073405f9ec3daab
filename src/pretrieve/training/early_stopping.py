"""The loss on held-out examples while a run trains: every few steps, and when it no longer falls the run ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import nn

from pretrieve.training.checkpoint import Checkpoints


@dataclass(kw_only=True)
class HeldOutLoss:
    """Measures the held-out loss of a run, and remembers the weights of the lowest one where it may end the run.

    Attributes:
        measure: the loss now; has no effect on the run.
        every: steps between measurements.
        patience: measurements in a row without a lower loss that end the run; 0 for never.
        best: where the weights of the lowest loss are kept; needed with ``patience`` only.
        on_measured: hears of each measurement: the step and the loss.
        losses: what was measured so far, in order.
    """

    measure: Callable[[], float]
    every: int
    patience: int = 0
    best: Checkpoints | None = None
    on_measured: Callable[[int, float], None] | None = None
    losses: list[float] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether the loss has not fallen for long enough to end the run."""
        return bool(self.patience) and self._since_best >= self.patience

    @property
    def _since_best(self) -> int:
        """Measurements since the lowest one; one that is not a number is no lower than any other."""
        known = [loss if math.isfinite(loss) else math.inf for loss in self.losses]
        return len(known) - 1 - known.index(min(known)) if known else 0

    def after(self, step: int, weights: nn.Module) -> None:
        """Measure if it is time to.

        Args:
            step: steps done.
            weights: kept where the loss is the lowest so far.

        Raises:
            StorageError: the disk refused.
        """
        if step % self.every:
            return
        self.losses.append(self.measure())
        if self.on_measured is not None:
            self.on_measured(step, self.losses[-1])
        if self.best is not None and self._since_best == 0:
            self.best.save_weights(step, weights)

    def restore(self, weights: nn.Module) -> int | None:
        """Take the weights of the lowest loss.

        Args:
            weights: written over.

        Returns:
            The step that they are of; None where nothing was kept.

        Raises:
            CorruptError: what was kept is damaged.
        """
        step = self.best.latest() if self.best is not None else None
        if step is not None:
            assert self.best is not None
            self.best.load_weights(step, weights)
        return step
