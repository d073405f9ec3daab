"""How far a run's losses may lie from the golden ones on another processor.

Every processor sums in an order of its own, so two machines differ in the last place of each number, and training
multiplies that difference from step to step: how fast is a property of the run, not of the machine. It is measured
by runs whose weights begin one unit in the last place away (``nudges``); what these drift apart is kept beside the
golden losses, and the bound of a step follows from the largest drift up to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from pretrieve.training.trainer import Trainer

FIRST = 1e-10  # of step 0, which has seen no update: a forward pass alone
EARLY, FLOOR = 20, 1e-8  # no drift widens the steps up to EARLY, and none narrows a later bound below FLOOR
# Single nudged runs of one method lie up to fifteen times apart; the largest of four is within two of the largest of
# twenty. A machine that rounds differently in every step is one more such run.
FACTOR = 10.0
SMALLEST = 1e-4  # a loss is a difference of scores around 1: below this its rounding no longer shrinks with it
SIGNS = 2  # runs with random directions, beside one up and one down

Nudge = Callable[[Trainer], None]


def deviations(found: Sequence[float], expected: Sequence[float]) -> NDArray[np.float64]:
    """Relative deviation of each step's loss."""
    one, other = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert one.shape == other.shape, f"{len(one)} losses against {len(other)}"
    relative: NDArray[np.float64] = np.abs(one - other) / np.maximum(np.abs(other), SMALLEST)
    return relative


def bounds(drift: Sequence[float]) -> NDArray[np.float64]:
    """The largest deviation that rounding explains, for each step."""
    grown: NDArray[np.float64] = np.maximum(FLOOR, FACTOR * np.maximum.accumulate(np.asarray(drift, np.float64)))
    grown[: EARLY + 1] = FLOOR
    grown[0] = FIRST
    return grown


def beyond(found: Sequence[float], expected: Sequence[float], drift: Sequence[float]) -> list[str]:
    """The steps whose loss is not the golden one, in words; not a number is never within a bound."""
    seen, allowed = deviations(found, expected), bounds(drift)
    return [
        f"step {step}: {found[step]!r} for {expected[step]!r}, {seen[step]:.1e} and not within {allowed[step]:.1e}"
        for step in range(len(found))
        if not seen[step] <= allowed[step]
    ]


def nudged(sign: float | None, seed: int = 0) -> Nudge:
    """Moves every weight to the next number in a direction; None for a random direction each.

    A zero stays one: it is exact on every processor, and the number next to it is smaller than any rounding.
    """

    def nudge(trainer: Trainer) -> None:
        random = np.random.default_rng(seed)
        with torch.no_grad():
            for values in trainer.objective.parameters():
                signs = random.choice((-1.0, 1.0), values.shape) if sign is None else np.full(values.shape, sign)
                moved = torch.nextafter(values, torch.as_tensor(signs * np.inf, dtype=values.dtype))
                values.copy_(torch.where(values == 0, values, moved))

    return nudge


def nudges() -> list[Nudge]:
    """The starts whose drift is kept."""
    return [nudged(1.0), nudged(-1.0), *(nudged(None, seed) for seed in range(SIGNS))]
