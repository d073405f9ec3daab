"""What can be set about training, and how the learning rate follows from the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pretrieve.core.bounds import BATCH, COUNT, check_bounds
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
        optimizer: torch's AdamW; or BERT's Adam, without bias correction, whose schedule counts from the first step and
            not from the end of the warm-up.
        weight_decay: decoupled, on matrices only (not on biases and norms).
        beta1: decay of the mean, of either optimizer.
        beta2: decay of the square.
        epsilon: added to the root of the square.
        clip: largest norm of the whole gradient; 0 for none.
        precision: of the forward pass; weights stay in float32 (float64 only for float64).
        save_every: steps between checkpoints; 0 for the last only.
        max_checkpoints: checkpoints kept, the newest.
        on_not_finite: stop at a loss or gradient that is not finite, or skip the step.
        skip_limit: skipped steps in a row that stop the run.
        log_every: steps between what trackers get.
        evaluate_every: steps between measurements of the loss on held-out examples; 0 for none.
        patience: measurements in a row without a lower held-out loss that end the training; the weights of the lowest
            one are the result. 0 to train to the last step and take its weights.
    """

    steps: int = 1000
    batch_size: int = 256
    chunk: int = 0
    cache: bool = False
    learning_rate: float = 5e-5
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    floor: float = 0.0
    warmup: float = 0.1
    optimizer: Literal["adamw", "bert"] = "adamw"
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
    evaluate_every: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, 1, COUNT, "steps", "max_checkpoints", "skip_limit", "log_every")
        check_bounds(self, 0, COUNT, "save_every", "evaluate_every", "patience")
        check_bounds(self, 1, BATCH, "batch_size")
        check_bounds(self, 0, BATCH, "chunk")
        check_bounds(self, 0, 1, "floor", "warmup")  # parts of the learning rate and of the steps
        check_bounds(self, 0, 1, "beta1", "beta2", below=True)
        check_bounds(self, 0, math.inf, "learning_rate", "weight_decay", "clip", "epsilon", below=True)
        if self.patience and not self.evaluate_every:
            raise UsageError("patience: set evaluate_every to the number of steps between measurements.")
        if self.cache and not self.chunk:
            raise UsageError("cache: set chunk to the number of examples that are encoded at a time.")

    def rate(self, step: int) -> float:
        """Learning rate of a step (from 0): a line up, then the schedule down.

        With BERT's optimizer the first of the rising steps has rate zero, and after them the rate is what it would be
        without a warm-up.
        """
        rising, bert = round(self.warmup * self.steps), self.optimizer == "bert"
        if step < rising:
            return self.learning_rate * (step if bert else step + 1) / rising
        done = step / self.steps if bert else (step - rising) / max(1, self.steps - rising)
        half_cosine = 0.5 * (1.0 + math.cos(math.pi * done))
        factor = {"constant": 1.0, "linear": 1.0 - done, "cosine": half_cosine}[self.schedule]
        return self.learning_rate * max(factor, self.floor)
