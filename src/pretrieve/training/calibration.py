"""Convert minutes to steps with a short timed run on a copy, so that the run has a fixed number of steps."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

from pretrieve.core.types import Batch
from pretrieve.models.objective import Objective
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer, prefetched

_WARMING = 2  # untimed first steps: memory is allocated and kernels are chosen
_LEAST = 5  # minimum number of timed steps


def steps_for_minutes(
    objective: Objective,
    batches: Callable[[int], Batch],
    options: TrainingOptions,
    minutes: float,
    seed: int = 0,
) -> int:
    """Time steps on a copy and return how many fit into the remaining minutes.

    Calibration takes up to 5 % of the time (at least seven steps).

    Args:
        objective: the method; copied, not changed.
        batches: the run's batches.
        options: the run's options; ``steps`` is ignored.
        minutes: wall-clock time of calibration and training together.
        seed: seed of the run.

    Returns:
        Number of steps, at least 1.
    """
    started = time.perf_counter()
    seconds = minutes * 60
    trial = Trainer(
        objective=copy.deepcopy(objective), batches=batches, options=replace(options, steps=1_000_000), seed=seed
    )
    times: list[float] = []
    before = time.perf_counter()
    for batch in prefetched(batches, 0, trial.options.steps):
        trial.take(batch)
        trial.read()  # or a step is over before an accelerator has done it
        now = time.perf_counter()
        times.append(now - before)
        before = now
        enough = len(times) >= _WARMING + _LEAST
        if enough and trial.ranks.largest(int(now - started > seconds / 20)):  # all ranks take the same steps
            break
    left = seconds - (time.perf_counter() - started)
    return trial.ranks.smallest(max(1, int(left / statistics.median(times[_WARMING:]))))
