"""The held-out loss: a method's loss and statistics on examples that it does not train on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from pretrieve.core.types import Batch
from pretrieve.models.objective import Objective
from pretrieve.training.step import forward_step


@torch.no_grad()
def held_out(
    objective: Objective, batches: Callable[[int], Batch], steps: Sequence[int], *, at: int = 0
) -> dict[str, float]:
    """Return the mean loss and statistics of some batches, in evaluation mode and without gradient.

    Batches pass through a training step (prepare, encode, compare) on one rank. Weights, buffers, modes and torch's
    random state are unchanged, and ``after_step`` is not called. The same objective and batches give the same
    values.

    Args:
        objective: the method.
        batches: ``batch(step)``, batches of held-out documents.
        steps: steps of the batches to use.
        at: training step at which the loss is evaluated, for losses that change during training (annealing).

    Returns:
        ``loss`` and the method's statistics by name, each the mean over the batches in which it is a number.
    """
    found: dict[str, list[float]] = {}
    with _evaluating(objective), torch.random.fork_rng():
        for step in steps:
            result = forward_step(objective, batches(step), at)
            for name, value in {"loss": result.loss, **result.statistics}.items():
                found.setdefault(name, []).append(float(value))
    return {name: _mean(values) for name, values in found.items()}


def _mean(values: list[float]) -> float:
    """Mean without NaN; NaN if all are NaN."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


@contextmanager
def _evaluating(objective: Objective) -> Iterator[None]:
    """Evaluation mode; restores the mode of every module afterwards."""
    modes = {module: module.training for module in objective.modules()}
    objective.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
