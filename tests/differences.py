"""Gradients by finite differences: along a random direction of each module's weights, in float64, without dropout."""

from __future__ import annotations

import pytest
import torch

from pretrieve.core.types import Batch
from pretrieve.models.objective import Objective
from pretrieve.training.step import full_step


def loss_of(objective: Objective, batch: Batch) -> float:
    with torch.no_grad():
        encoded = objective.encode(batch, 0)
        value = objective.compare(encoded.vectors, encoded.vectors, batch, 0, 0).value
        return float(value if encoded.example_loss is None else value + encoded.example_loss.mean())


def check(objective: Objective, batch: Batch) -> int:
    """Compare the gradient of ``full_step`` with differences of the loss; returns the number of modules compared."""
    found = full_step(objective, batch, 0)
    assert float(found.loss) == pytest.approx(loss_of(objective, batch), rel=1e-12)
    modules: dict[str, list[torch.nn.Parameter]] = {}
    for name, parameter in objective.named_parameters():
        if parameter.grad is not None:
            modules.setdefault(name.rpartition(".")[0], []).append(parameter)
    random = torch.Generator().manual_seed(0)
    for name, parameters in modules.items():
        starts = [parameter.detach().clone() for parameter in parameters]
        directions = [torch.randn(start.shape, generator=random, dtype=torch.float64) for start in starts]
        step = 1e-5 / sum(float(direction.norm()) for direction in directions)
        losses = []
        for moved in (step, -step, 0.0):
            with torch.no_grad():
                for parameter, start, direction in zip(parameters, starts, directions, strict=True):
                    parameter.copy_(start + moved * direction)
            losses.append(loss_of(objective, batch) if moved else 0.0)
        slope = (losses[0] - losses[1]) / (2 * step)
        gradient = sum(float((p.grad * d).sum()) for p, d in zip(parameters, directions, strict=True))
        assert gradient == pytest.approx(slope, rel=1e-4, abs=1e-6), name
    return len(modules)
