"""On a real GPU: the host never waits in a step, runs resume, fast attention is the plain one, vectors are kept.

Skipped without one; ``pytest -m gpu`` runs these and the others that need one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import stock
import tiny
from pretrieve.models import devices
from pretrieve.models.packed import Packing, packed_attention
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.training.checkpoint import Checkpoints
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Progress, Trainer

pytestmark = pytest.mark.gpu
METHODS = [
    ("contriever", "new"), ("contriever", "static"), ("mlm", "new"), ("condenser", "new"), ("cocondenser", "new"),
    ("retromae", "new"), ("dupmae", "new"), ("simcse", "new"), ("structure", "static"), ("mvr", "new"),
]  # fmt: skip


def trainer_of(
    preset: str, kind: str, *, folder: Path | None = None, report: Callable[[Progress], None] | None = None, **changes
) -> Trainer:
    objective, batches = tiny.run(preset, kind, seed=5)
    devices.place(objective, devices.chosen())
    options = {"steps": 12, "batch_size": 8, "learning_rate": 0.01, "clip": 1.0, "log_every": 50, **changes}
    checkpoints = None if folder is None else Checkpoints(folder=folder)
    return Trainer(
        objective=objective, batches=batches, options=TrainingOptions(**options), seed=5, checkpoints=checkpoints,
        on_step=report,
    )  # fmt: skip


@contextmanager
def forbidden_to_wait() -> Iterator[None]:
    if not torch.cuda.is_available():
        pytest.skip("only CUDA says where the host waits")
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize(("preset", "kind"), METHODS)
@pytest.mark.parametrize("cache", [False, True])
def test_no_step_waits_for_the_device(preset: str, kind: str, cache: bool) -> None:
    trainer = trainer_of(preset, kind, cache=cache, chunk=4 if cache else 0)
    trainer.take(trainer.drawn(0))
    with forbidden_to_wait():
        for step in range(1, 5):
            trainer.take(trainer.drawn(step))
    trainer.read()


@pytest.mark.parametrize("optimizer", ["adamw", "bert"])
def test_a_run_resumes(tmp_path: Path, optimizer: str) -> None:
    whole: list[float] = []
    resumed: list[float] = []
    settings = {"optimizer": optimizer, "save_every": 6, "precision": "float32"}
    trainer_of("contriever", "new", report=lambda one: whole.append(one.loss), **settings).run()
    first = trainer_of("contriever", "new", folder=tmp_path, report=lambda one: resumed.append(one.loss), **settings)
    for step in range(6):
        first.take(first.batches(step))
    first.save()
    second = trainer_of("contriever", "new", folder=tmp_path, report=lambda one: resumed.append(one.loss), **settings)
    assert second.resume() == 6
    second.run()
    assert resumed == pytest.approx(whole, rel=1e-4)


@pytest.mark.parametrize("compiled", [False, True])
def test_bfloat16_trains_like_float32(compiled: bool) -> None:
    losses: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for precision, seen in losses.items():
        half = precision == "bfloat16"
        trainer = trainer_of(
            "contriever-inbatch", "new", report=lambda one, seen=seen: seen.append(one.loss), precision=precision,
            compile=compiled and half, learning_rate=1e-3,
        )  # fmt: skip
        for module in trainer.objective.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        trainer.run()
        assert {values.dtype for values in trainer.objective.parameters()} == {torch.float32}
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.05)


@pytest.mark.parametrize("window", [None, 8])
@pytest.mark.parametrize("causal", [False, True])
def test_the_kernel_equals_blocks_forward_and_backward(window: int | None, causal: bool, monkeypatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("the kernel is CUDA's")
    rng = np.random.default_rng(0)
    rows = tiny.run("mlm", "new", size=16)[1](0).rows
    packing = Packing.of(rows, torch.device("cuda"))
    given = torch.from_numpy(rng.standard_normal((3, 1, 4, len(rows.tokens), 16))).to("cuda", torch.bfloat16)

    def attend() -> tuple[Tensor, Tensor]:
        parts = given.clone().requires_grad_()
        found, _ = packed_attention(torch.nn.Identity(), *parts, packing=packing, sliding_window=window, causal=causal)
        found.float().square().sum().backward()
        assert parts.grad is not None
        return found.detach(), parts.grad

    fast = attend()
    monkeypatch.setattr("pretrieve.models.packed._has_kernel", lambda query, dropout: False)
    torch.testing.assert_close(fast, attend(), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_texts_have_the_vectors_of_the_cpu(family: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    stock.checkpoint(family, folder, layers=2)
    texts = [*stock.texts(12, seed=3), "aword1"]
    found = [
        open_encoder(str(folder), ModelOptions(device=device, pooling="mean", similarity="cosine")).encode_documents(
            texts
        )
        for device in ("cpu", str(devices.chosen()))
    ]
    norms = [np.linalg.norm(part, axis=1) for part in found]
    assert ((found[0] * found[1]).sum(axis=1) / (norms[0] * norms[1])).min() > 0.999
