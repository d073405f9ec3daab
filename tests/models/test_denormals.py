"""Denormals count as zero in every thread that computes; results stay, and the mode before is put back."""

import os
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from pretrieve.core.types import Rows
from pretrieve.models import inference
from pretrieve.models.denormals import is_without_denormals, without_denormals
from pretrieve.models.encoder import Encoder
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer


def _can() -> bool:
    can = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    return can


pytestmark = pytest.mark.skipif(not _can(), reason="the processor has no such mode")


class Watched(torch.autograd.Function):
    """The identity, which notes the mode of the thread of each pass."""

    modes: ClassVar[list[bool]] = []

    @staticmethod
    def forward(ctx, values):
        Watched.modes.append(is_without_denormals())
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        Watched.modes.append(is_without_denormals())
        return gradient


def test_the_callers_mode_is_put_back() -> None:
    with without_denormals():
        assert is_without_denormals()
        with without_denormals():
            pass
        assert is_without_denormals()
    assert not is_without_denormals()
    with pytest.raises(KeyError), without_denormals():
        raise KeyError
    assert not is_without_denormals()
    torch.set_flush_denormal(True)
    with without_denormals():
        pass
    try:
        assert is_without_denormals()
    finally:
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("call", ["run", "take"])
def test_training_is_without_in_each_of_its_threads(call: str) -> None:
    objective, batches = tiny.run("contriever-inbatch", "new", seed=5)
    seen: list[bool] = []

    def watched(step):
        seen.append(is_without_denormals())
        return batches(step)

    compare = objective.compare

    def compared(local_vectors, global_vectors, *rest):
        return compare({name: Watched.apply(values) for name, values in local_vectors.items()}, global_vectors, *rest)

    objective.compare = compared
    trainer = Trainer(objective=objective, batches=watched, options=TrainingOptions(steps=2, batch_size=8), seed=5)
    Watched.modes.clear()
    if call == "run":
        trainer.run()
        assert seen == [True, True]
    else:
        trainer.take(batches(0))
    assert len(Watched.modes) >= 3  # forward and backward
    assert all(Watched.modes)
    assert not is_without_denormals()


def test_encoding_is_without() -> None:
    class Noting(Encoder):
        def __init__(self) -> None:
            super().__init__()
            self.dimensions, self.max_length, self.specials, self.similarity = 2, 8, tiny.BARE, "dot"
            self.modes: list[bool] = []
            self.place = torch.nn.Parameter(torch.zeros(1))  # names the device

        def forward(self, rows: Rows, segments=None) -> torch.Tensor:
            self.modes.append(is_without_denormals())
            return torch.ones(len(rows), 1, 2)

    encoder = Noting()
    inference.encode_rows(encoder, Rows.of([[1, 2], [3]]))
    assert encoder.modes == [True]
    assert not is_without_denormals()


def test_threads_of_openmp_follow() -> None:
    program = """
import torch
from pretrieve.models.denormals import without_denormals
small = torch.full((4_000_000,), 1e-39)
def zeros():
    return int((small * 1.0 == 0).sum())
assert torch.get_num_threads() == 2
assert zeros() == 0  # the threads are there
with without_denormals():
    assert zeros() == 4_000_000, zeros()
assert zeros() == 0, zeros()
"""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_small_gradients_are_zero_and_usual_ones_stay() -> None:
    """How much time that saves depends on the processor: ``make bench ROWS=denormals``."""
    torch.manual_seed(0)
    layer = nn.Linear(256, 256)
    inputs = torch.randn(512, 256)

    def gradient(small: float) -> np.ndarray:
        layer.zero_grad()
        layer(inputs).backward(torch.full((512, 256), small))
        return layer.weight.grad.numpy().copy()

    kept, usual = gradient(1e-39), gradient(1e-3)
    assert np.abs(kept).max() > 0
    with without_denormals():
        assert not gradient(1e-39).any()
        assert np.array_equal(usual, gradient(1e-3))
