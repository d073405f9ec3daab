"""BERT's optimizer against its formulas in NumPy, what it decays, and a run that is stopped and resumed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_trainer import trainer_of
from torch import nn

from pretrieve.core.errors import UsageError
from pretrieve.methods import find
from pretrieve.training.checkpoint import Checkpoints, digest
from pretrieve.training.optimizers import BertAdam, build_optimizer
from pretrieve.training.options import TrainingOptions

BERT = TrainingOptions(
    steps=40, learning_rate=0.01, warmup=0.25, optimizer="bert", beta2=0.999, weight_decay=0.01, batch_size=8
)


def bert_in_numpy(
    start: np.ndarray, gradients: list[np.ndarray], options: TrainingOptions, decay: float
) -> list[np.ndarray]:
    """Weights after each step, by ``optimization.py`` of google-research/bert."""
    mean, square, weights, found = np.zeros_like(start), np.zeros_like(start), start.copy(), []
    warmup = options.warmup * options.steps
    for step, gradient in enumerate(gradients):
        rate = options.learning_rate * (1 - step / options.steps)
        if step < warmup:
            rate = options.learning_rate * step / warmup
        mean = options.beta1 * mean + (1 - options.beta1) * gradient
        square = options.beta2 * square + (1 - options.beta2) * gradient**2
        update = mean / (np.sqrt(square) + options.epsilon) + decay * weights
        weights = weights - rate * update
        found.append(weights)
    return found


class Two(nn.Module):
    """A matrix, which decays, and a bias, which does not."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.default_rng(0)
        self.matrix = nn.Parameter(torch.from_numpy(random.standard_normal((3, 4))))
        self.bias = nn.Parameter(torch.from_numpy(random.standard_normal(4)))
        self.unused = nn.Parameter(torch.ones(2, dtype=torch.float64))


def test_every_step_against_numpy() -> None:
    module, random = Two(), np.random.default_rng(1)
    adam = build_optimizer(module, BERT)
    assert isinstance(adam, BertAdam)
    gradients = {
        name: [random.standard_normal(values.shape) * 10.0 ** -(step % 7) for step in range(BERT.steps)]
        for name, values in module.named_parameters()
        if name != "unused"
    }
    expected = {
        name: bert_in_numpy(module.get_parameter(name).detach().numpy().copy(), found, BERT, 0.01 * (name == "matrix"))
        for name, found in gradients.items()
    }
    for step in range(BERT.steps):
        for group in adam.param_groups:
            group["lr"] = BERT.rate(step)
        for name, found in gradients.items():
            module.get_parameter(name).grad = torch.from_numpy(found[step])
        adam.step()
        for name, found in expected.items():
            np.testing.assert_allclose(module.get_parameter(name).detach().numpy(), found[step], rtol=1e-12)
    assert torch.equal(module.unused, torch.ones(2, dtype=torch.float64))


def test_a_step_is_larger_than_adamw_s_where_moments_are_young() -> None:
    """By (1 - beta1^t) / sqrt(1 - beta2^t): 3.2 times at first, 2.0 at step 300."""
    for steps, factor in ((1, 3.16), (300, 1.96)):
        moved = []
        for kind in ("adamw", "bert"):
            module = nn.Linear(1, 1, bias=False)
            adam = build_optimizer(
                module, TrainingOptions(optimizer=kind, beta2=0.999, learning_rate=1e-3, weight_decay=0)
            )
            for _ in range(steps):
                before = module.weight.item()
                module.weight.grad = torch.ones(1, 1)
                adam.step()
            moved.append(before - module.weight.item())
        assert moved[1] / moved[0] == pytest.approx(factor, rel=0.01)


def test_the_rate_counts_from_the_first_step() -> None:
    rates = [BERT.rate(step) for step in range(BERT.steps)]
    assert rates[0] == 0.0, "as released: the first step moves nothing"
    assert rates[5] == pytest.approx(0.005)
    assert rates[10] == pytest.approx(0.01 * 0.75)
    assert rates[39] == pytest.approx(0.01 / 40)


@pytest.mark.parametrize(("preset", "kind"), [("orqa-ict", "new"), ("contriever", "static")])
def test_resume_is_bit_exact(preset: str, kind: str, tmp_path: Path) -> None:
    whole = trainer_of(preset, kind, tmp_path, optimizer="bert", steps=8)
    whole.run()
    expected = digest(whole.objective)
    adamw = trainer_of(preset, kind, steps=8)
    adamw.run()
    assert digest(adamw.objective) != expected
    for step in (1, 4, 7):
        resumed = trainer_of(preset, kind, save_every=0, optimizer="bert", steps=8)
        resumed.checkpoints = Checkpoints(folder=tmp_path, fingerprints={"recipe": "r"})
        resumed.step = resumed.checkpoints.load(step, resumed.objective, resumed.optimizer)["step"]
        resumed.checkpoints = None
        resumed.run()
        assert digest(resumed.objective) == expected, f"resumed from step {step}"


def test_the_presets_of_bert_s_code_use_it_and_say_where_it_stands() -> None:
    for preset in ("orqa-ict", "realm"):
        _, found = find(preset)
        said = found.training["optimizer"]
        assert (said.value, said.source) == ("bert", "code")
        assert "optimization.py" in said.note
    static = find("orqa-ict")[1].static["optimizer"]
    assert (static.value, static.source) == ("adamw", "ours")
    _, realm = find("realm")
    steps = realm.training["steps"].value
    assert realm.training["warmup"].value * steps == min(10_000, max(100, steps / 10))
    with pytest.raises(UsageError):
        TrainingOptions(beta1=1.0)
