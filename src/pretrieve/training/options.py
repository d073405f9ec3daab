"""Training options and the learning rate schedule."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pretrieve.core.bounds import BATCH, COUNT, check_bounds
from pretrieve.core.errors import UsageError

NOT_DECIDING = ("sharding",)  # options that are no part of a recipe, and may change when a run resumes


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Training options. All change the result but ``save_every``, ``max_checkpoints``, ``log_every`` and ``sharding``.

    Attributes:
        steps: number of updates.
        batch_size: examples per step, over all ranks.
        chunk: examples encoded at a time; 0 for the whole batch. See ``cache``.
        chunk_tokens: tokens encoded at a time, of whole examples; 0 for no limit. An example may have more.
        cache: gradient caching: encode each chunk twice and hold the activations of one (``training/step.py``).
        learning_rate: peak learning rate.
        schedule: linear or cosine decay, or constant.
        floor: final learning rate, as a fraction of the peak.
        warmup: fraction of steps with linear warm-up from zero.
        optimizer: torch's AdamW, or BERT's Adam without bias correction, whose schedule counts from the first step
            instead of the end of the warm-up.
        weight_decay: decoupled weight decay, applied to matrices only (not to biases and norms).
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        epsilon: added to the root of the second moment.
        clip: maximum norm of the gradient; 0 to disable clipping.
        precision: precision of the forward pass; weights are float32 (float64 for float64). auto: bfloat16 on
            accelerators that have it, else float32.
        flash_attention: implementation of variable-length attention on GPUs: torch's own, FlashAttention 3 or 4
            (packages of their own), or auto, which takes what fits the GPU and is installed.
        compile: compile the forward pass of transformers; the first steps are slow.
        sharding: of several processes each holds the whole model (none), or a part of every layer (full: FSDP2); auto:
            full above 10^9 parameters. No part of a recipe: the losses are the same to 1e-5.
        save_every: steps between checkpoints; 0 for the last only.
        max_checkpoints: number of newest checkpoints to keep.
        on_not_finite: stop, or skip the step, if the loss or gradient is not finite.
        skip_limit: consecutive skipped steps after which the run stops.
        log_every: steps between records sent to trackers; on an accelerator also between readings of the loss.
        evaluate_every: steps between measurements of the held-out loss; 0 to disable.
        patience: consecutive measurements without a lower held-out loss before training stops with the weights of the
            lowest; 0 to disable early stopping.
    """

    steps: int = 1000
    batch_size: int = 256
    chunk: int = 0
    chunk_tokens: int = 0
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
    precision: Literal["auto", "float32", "bfloat16", "float64"] = "auto"
    flash_attention: Literal["stock", "auto", "FA3", "FA4"] = "stock"
    compile: bool = False
    sharding: Literal["auto", "none", "full"] = "auto"
    save_every: int = 1000
    max_checkpoints: int = 2
    on_not_finite: Literal["stop", "skip"] = "stop"
    skip_limit: int = 5
    log_every: int = 10
    evaluate_every: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        check_bounds(self, 1, COUNT, "steps", "max_checkpoints", "skip_limit", "log_every")
        check_bounds(self, 0, COUNT, "save_every", "evaluate_every", "patience", "chunk_tokens")
        check_bounds(self, 1, BATCH, "batch_size")
        check_bounds(self, 0, BATCH, "chunk")
        check_bounds(self, 0, 1, "floor", "warmup")  # fractions of the learning rate and of the steps
        check_bounds(self, 0, 1, "beta1", "beta2", below=True)
        check_bounds(self, 0, math.inf, "learning_rate", "weight_decay", "clip", "epsilon", below=True)
        if self.patience and not self.evaluate_every:
            raise UsageError("patience: set evaluate_every to the number of steps between measurements.")
        if self.cache and not (self.chunk or self.chunk_tokens):
            raise UsageError("cache: set chunk (examples) or chunk_tokens (tokens), which are encoded at a time.")

    def facts(self) -> dict[str, Any]:
        """The options that determine a run, as plain values."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_DECIDING}

    def rate(self, step: int) -> float:
        """Learning rate of a step (from 0): linear warm-up, then the schedule.

        With BERT's optimizer the first warm-up step has rate zero, and after the warm-up the rate equals that of a
        run without warm-up.
        """
        rising, bert = round(self.warmup * self.steps), self.optimizer == "bert"
        if step < rising:
            return self.learning_rate * (step if bert else step + 1) / rising
        done = step / self.steps if bert else (step - rising) / max(1, self.steps - rising)
        half_cosine = 0.5 * (1.0 + math.cos(math.pi * done))
        factor = {"constant": 1.0, "linear": 1.0 - done, "cosine": half_cosine}[self.schedule]
        return self.learning_rate * max(factor, self.floor)
