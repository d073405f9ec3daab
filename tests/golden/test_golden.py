"""Losses of every preset are the golden ones, as far as rounding lets two processors agree (``drift.py``)."""

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pretrieve import methods
from pretrieve.methods import names
from pretrieve.models.losses import in_batch_softmax
from pretrieve.training.trainer import Trainer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import drift  # noqa: E402
import start  # noqa: E402
from make import STEPS, losses  # noqa: E402

import tiny  # noqa: E402

RUNS = [(preset, kind) for preset in names() for kind in tiny.kinds(preset)]


def golden(preset: str, kind: str) -> dict[str, list[float]]:
    return json.loads((HERE / f"{preset}.json").read_text())[kind]


def beyond(preset: str, kind: str, *changes: Callable[[Trainer], None]) -> list[str]:
    kept = golden(preset, kind)
    return drift.beyond(losses(preset, kind, start.restore, *changes), kept["losses"], kept["drift"])


@pytest.mark.parametrize(("preset", "kind"), RUNS)
def test_golden_losses(preset: str, kind: str) -> None:
    assert len(golden(preset, kind)["losses"]) == len(golden(preset, kind)["drift"]) == STEPS
    assert beyond(preset, kind) == []


@pytest.mark.parametrize(("preset", "kind"), RUNS)
def test_bounds_are_tight_at_first_and_only_grow(preset: str, kind: str) -> None:
    """And nowhere wide enough for a change of the method to hide in: a run that rounding carries farther is no test."""
    found = drift.bounds(golden(preset, kind)["drift"])
    assert (found[0], found[1], found[20]) == (1e-10, 1e-8, 1e-8)
    assert (np.diff(found) >= 0).all()
    assert found[-1] <= 1e-6


def test_a_bound_follows_the_largest_drift_so_far() -> None:
    """But not among the first steps, whose bound is the same for every run."""
    drifts = [0.0, 5e-10, *[1e-13] * 18, 1.5e-9, 2e-9, 5e-9, 3e-9]
    assert drift.bounds(drifts).tolist() == pytest.approx([1e-10, *[1e-8] * 20, 2e-8, 5e-8, 5e-8])
    assert drift.bounds([0.0] * 30)[-1] == 1e-8


@pytest.mark.parametrize("step", [0, 1, 20, 21, 22])
def test_a_loss_is_compared_with_its_own_step(step: int) -> None:
    kept = [2.0] * 23
    drifts = [0.0] * 22 + [1e-7]
    allowed = drift.bounds(drifts)[step]
    for apart, wrong in ((0.9 * allowed, []), (1.1 * allowed, [step]), (-1.1 * allowed, [step]), (np.nan, [step])):
        found = [*kept[:step], 2.0 * (1 + apart), *kept[step + 1 :]]
        lines = drift.beyond(found, kept, drifts)
        assert [line.partition(":")[0] for line in lines] == [f"step {place}" for place in wrong]


def test_a_run_that_is_short_or_a_loss_near_zero() -> None:
    with pytest.raises(AssertionError, match="2 losses against 3"):
        drift.deviations([1.0, 1.0], [1.0, 1.0, 1.0])
    assert drift.deviations([1e-13, 1e-4], [0.0, 2e-4]) == pytest.approx([1e-9, 0.5])


@pytest.mark.parametrize(("preset", "kind"), [("simcse", "new"), ("orqa-ict", "new")])
def test_rounding_alone_stays_within(preset: str, kind: str) -> None:
    """Of a start that is none of those whose drift is kept; these two runs are carried farthest."""
    nudge = drift.nudged(None, seed=drift.SIGNS + 7)
    assert beyond(preset, kind, nudge) == []
    assert losses(preset, kind, start.restore, nudge) != losses(preset, kind, start.restore)


def temperature(trainer: Trainer) -> None:
    options = trainer.objective.options
    trainer.objective.options = dataclasses.replace(options, temperature=options.temperature * (1 + 1e-6))


def learning_rate(trainer: Trainer) -> None:
    rate = trainer.options.learning_rate * (1 + 1e-5)
    trainer.options = dataclasses.replace(trainer.options, learning_rate=rate)


def no_weight_decay(trainer: Trainer) -> None:
    for group in trainer.optimizer.param_groups:
        group["weight_decay"] = 0.0


def other_batch(trainer: Trainer) -> None:
    """Step 80, where the bound has grown, sees the batch of another seed."""
    plain, other = trainer.batches, dataclasses.replace(trainer.batches, seed=12)
    trainer.batches = lambda step: (other if step == 80 else plain)(step)


CHANGED = [("simcse", "new"), ("contriever-inbatch", "static")]


@pytest.mark.parametrize("change", [temperature, learning_rate, no_weight_decay, other_batch])
@pytest.mark.parametrize(("preset", "kind"), CHANGED)
def test_a_change_is_seen(preset: str, kind: str, change: Callable[[Trainer], None]) -> None:
    found = beyond(preset, kind, change)
    assert found
    if change is other_batch:
        assert found[0].startswith("step 80:")


@pytest.mark.parametrize(("preset", "kind"), CHANGED)
def test_a_dropped_negative_is_seen(preset: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of the 56 terms of a batch."""

    def without(queries: Tensor, keys: Tensor, *, exclude: Tensor | None, **options: Any) -> tuple[Tensor, Tensor]:
        dropped = torch.zeros(len(queries), len(keys), dtype=torch.bool)
        dropped[0, 1] = True
        return in_batch_softmax(queries, keys, exclude=dropped if exclude is None else dropped | exclude, **options)

    monkeypatch.setattr(methods.find(preset)[0], "in_batch_softmax", without)
    assert beyond(preset, kind)[0].startswith("step 0:")


def test_another_start_is_refused_but_not_another_rounding_of_it() -> None:
    """float32 numbers by two formulas differ by a few units in their last place."""
    plain = losses("simcse", "new", start.restore)

    def rounded(trainer: Trainer) -> None:
        for _, values in start.drawn(trainer):
            values *= 1 + 3e-7

    assert losses("simcse", "new", rounded, start.restore) == plain

    def spread(trainer: Trainer) -> None:
        with torch.no_grad():
            trainer.objective.mlp[0].weight *= 1 + 1e-4

    with pytest.raises(AssertionError, match=r"mlp\.0\.weight: other weights"):
        losses("simcse", "new", spread, start.restore)
