"""What training promises of every method: right gradients, the same run twice, and from any step on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from pretrieve.methods import find, names
from pretrieve.training.checkpoint import Checkpoints, digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.step import StepContext, full_step
from pretrieve.training.trainer import Trainer

BOTH = [(preset, kind) for preset in names() for kind in tiny.kinds(preset)]
each = pytest.mark.parametrize(("preset", "kind"), BOTH)
STEPS = 6
SMOOTH = {
    "temperature": 2.0,  # new vectors of length 4 would saturate the softmax
    "bag": 0.0,  # a maximum has corners: test_retromae.py takes its gradient where there are none
}
COSINE = ("simcse",)  # cosines of new vectors are all near 1: nothing saturates, and the slope would drown


@each
def test_gradient_by_finite_differences(preset: str, kind: str) -> None:
    """Along a random direction in the space of all parameters, on a model of two layers."""
    own = find(preset)[0].Options.__dataclass_fields__
    smooth = {name: value for name, value in SMOOTH.items() if name in own and preset not in COSINE}
    objective, batches = tiny.run(preset, kind, size=8, seed=4, dropout=0.0, layers=2, **smooth)
    objective.double()
    batch = batches(1)
    prepared = objective.prepare(batch, 1)
    objective.prepare = lambda given, step: prepared  # candidates are chosen without gradient: the same on both sides

    def loss() -> float:
        with torch.enable_grad():
            return float(full_step(objective, batch, 1, StepContext()).loss)

    loss()
    learned = [p for p in objective.parameters() if p.requires_grad and p.grad is not None]
    gradients = [p.grad.clone() for p in learned]
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) * p.detach().abs().mean() for p in learned]
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    small = 1e-5

    def moved(by: float) -> float:
        with torch.no_grad():
            torch._foreach_add_(learned, [by * d for d in direction])
        return loss()

    above, below = moved(small), moved(-2 * small)
    assert abs(slope) > 1e-6
    assert slope == pytest.approx((above - below) / (2 * small), rel=1e-5, abs=1e-9)


@each
def test_resume_from_any_step(preset: str, kind: str, tmp_path: Path) -> None:
    options = TrainingOptions(steps=STEPS, batch_size=8, learning_rate=0.01, save_every=1, max_checkpoints=STEPS + 1)
    whole = trainer(preset, kind, options, Checkpoints(folder=tmp_path, keep=STEPS + 1))
    whole.run()
    for step in range(1, STEPS):
        again = trainer(preset, kind, options, None)
        again.step = Checkpoints(folder=tmp_path).load(step, again.objective, again.optimizer)["step"]
        again.run()
        assert digest(again.objective) == digest(whole.objective), f"resumed after step {step}"


def trainer(preset: str, kind: str, options: TrainingOptions, checkpoints: Any) -> Trainer:
    objective, batches = tiny.run(preset, kind, seed=1)
    return Trainer(objective=objective, batches=batches, options=options, seed=1, checkpoints=checkpoints)
