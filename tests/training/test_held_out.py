"""The method's own signal on held-out examples: right values, and no effect of any kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import tiny
from pretrieve.methods import names
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.training.checkpoint import digest
from pretrieve.training.held_out import held_out
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer

CASES = [(preset, kind) for preset in names() for kind in tiny.kinds(preset)]


@pytest.mark.parametrize(("preset", "kind"), CASES)
def test_held_out_has_no_effect_and_is_deterministic(preset: str, kind: str) -> None:
    """Every preset: weights, buffers, modes, gradients and the generator are what they were; training goes on alike."""
    options = TrainingOptions(steps=4, batch_size=8, learning_rate=0.01)
    digests = []
    for measured in (False, True):
        objective, batches = tiny.run(preset, kind, seed=1)
        trainer = Trainer(objective=objective, batches=batches, options=options, seed=1)
        for step in range(4):
            trainer.take(batches(step))
            if measured and step == 1:
                before, modes = digest(objective), [module.training for module in objective.modules()]
                gradients = [p.grad.clone() for p in objective.parameters() if p.grad is not None]
                state = torch.random.get_rng_state()
                first = held_out(objective, batches, (7, 8), at=2)
                assert held_out(objective, batches, (7, 8), at=2) == pytest.approx(first, abs=0, rel=0, nan_ok=True)
                assert digest(objective) == before
                assert [module.training for module in objective.modules()] == modes
                assert torch.equal(torch.random.get_rng_state(), state)
                now = [p.grad for p in objective.parameters() if p.grad is not None]
                assert all(torch.equal(a, b) for a, b in zip(gradients, now, strict=True))
                assert math.isfinite(first["loss"])
        digests.append(digest(objective))
    assert digests[0] == digests[1]


def test_held_out_loss_is_the_mean_over_batches_without_dropout() -> None:
    """Against the cross-entropy of the hidden words, computed here row by row."""
    objective, batches = tiny.run("mlm", "new", size=5, dropout=0.5)
    objective.double()
    expected = []
    with torch.no_grad():
        objective.eval()
        for step in (3, 9):
            batch = batches(step)
            losses = []
            (states,) = objective.encoder.states(batch.rows)
            for state, label in zip(states, batch.per_token["labels"], strict=True):
                if label != UNLABELLED:
                    scores = objective.language(state[None], objective.encoder.words)
                    losses.append(float(-F.log_softmax(scores, dim=1)[0, int(label)]))
            expected.append(np.mean(losses))
        objective.train()
    found = held_out(objective, batches, (3, 9))
    assert found["loss"] == pytest.approx(np.mean(expected), rel=1e-9)
    assert found["mlm"] == pytest.approx(np.mean(expected), rel=1e-9)


def test_batches_in_which_a_statistic_is_no_number_do_not_count() -> None:
    """`unmasked_accuracy` has no value in a batch where every sentence was removed."""
    objective, batches = tiny.run("orqa-ict", "static", size=4)
    each = [held_out(objective, batches, (step,))["unmasked_accuracy"] for step in range(12)]
    assert any(math.isnan(value) for value in each)
    assert held_out(objective, batches, range(12))["unmasked_accuracy"] == pytest.approx(np.nanmean(each))
