"""A method's own training signal on examples that it does not train on: loss and statistics, without any effect."""

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

    Batches go the road of a training step (prepare, encode, compare), on one rank. Nothing is changed: not a weight,
    a buffer, a mode or the state of torch's generator, and ``after_step`` is not called. The same objective and batches
    give the same values.

    Args:
        objective: the method.
        batches: ``batch(step)``, of documents that were held out.
        steps: which of the batches.
        at: the training step that losses are computed as of, for those that change on the way (annealing).

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
    """Mean of those that are numbers; NaN where none is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


@contextmanager
def _evaluating(objective: Objective) -> Iterator[None]:
    """Evaluation mode; afterwards every module has the mode that it had, which need not be its parent's."""
    modes = {module: module.training for module in objective.modules()}
    objective.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
