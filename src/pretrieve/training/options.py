"""What can be set about training, and how the learning rate follows from the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pretrieve.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Values of a run; every one of them decides the result, but ``save_every``, ``max_checkpoints`` and ``log_every``.

    Attributes:
        steps: updates.
        batch_size: examples of a step, all ranks together.
        chunk: examples encoded at a time; 0 for the whole batch. ``cache`` says what a chunk is for.
        cache: encode chunks twice, to hold the activations of one only (``training/step.py``).
        learning_rate: at the top of the schedule.
        schedule: down in a line or half a cosine, or constant.
        floor: where the schedule ends, as a part of the learning rate.
        warmup: fraction of the steps in which the rate rises from zero.
        weight_decay: decoupled, on matrices only (not on biases and norms).
        beta1: AdamW's decay of the mean.
        beta2: AdamW's decay of the square.
        epsilon: AdamW's.
        clip: largest norm of the whole gradient; 0 for none.
        precision: of the forward pass; weights stay in float32 (float64 only for float64).
        save_every: steps between checkpoints; 0 for the last only.
        max_checkpoints: checkpoints kept, the newest.
        on_not_finite: stop at a loss or gradient that is not finite, or skip the step.
        skip_limit: skipped steps in a row that stop the run.
        log_every: steps between what trackers get.
    """

    steps: int = 1000
    batch_size: int = 256
    chunk: int = 0
    cache: bool = False
    learning_rate: float = 5e-5
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    floor: float = 0.0
    warmup: float = 0.1
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    clip: float = 0.0
    precision: Literal["float32", "bfloat16", "float64"] = "float32"
    save_every: int = 1000
    max_checkpoints: int = 2
    on_not_finite: Literal["stop", "skip"] = "stop"
    skip_limit: int = 5
    log_every: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "max_checkpoints", "skip_limit", "log_every"):
            self._at_least(name, 1)
        if self.floor > 1:
            raise UsageError(f"floor={self.floor}: it is a part of the learning rate, between 0 and 1.")
        for name in ("floor", "chunk", "save_every", "learning_rate", "warmup", "weight_decay", "clip", "epsilon"):
            self._at_least(name, 0)
        if self.warmup > 1:
            raise UsageError(f"warmup={self.warmup}: it is a fraction of the steps, between 0 and 1.")
        if self.cache and not self.chunk:
            raise UsageError("cache: set chunk to the number of examples that are encoded at a time.")

    def rate(self, step: int) -> float:
        """Learning rate of a step (from 0): a line up, then the schedule down."""
        rising = round(self.warmup * self.steps)
        if step < rising:
            return self.learning_rate * (step + 1) / rising
        done = (step - rising) / max(1, self.steps - rising)
        half_cosine = 0.5 * (1.0 + math.cos(math.pi * done))
        factor = {"constant": 1.0, "linear": 1.0 - done, "cosine": half_cosine}[self.schedule]
        return self.learning_rate * max(factor, self.floor)

    def _at_least(self, name: str, lowest: int) -> None:
        if not getattr(self, name) >= lowest:
            raise UsageError(f"{name}={getattr(self, name)}: it is at least {lowest}.")
