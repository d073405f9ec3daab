"""SimCSE: the loss against NumPy, two dropout masks a text, who is a negative, what is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.methods import simcse
from pretrieve.models.heads import HEADS
from pretrieve.sampling.batches import Batches
from pretrieve.training.step import StepContext, cached_step, full_step


def numpy_loss(first: np.ndarray, second: np.ndarray, excluded: np.ndarray, temperature: float = 0.05) -> float:
    def cosine(one: np.ndarray, other: np.ndarray) -> float:
        return float(one @ other / np.sqrt((one @ one) * (other @ other)))

    losses = []
    for b in range(len(first)):
        keys = [other for other in range(len(second)) if other == b or not excluded[b, other]]
        scores = np.array([cosine(first[b], second[key]) / temperature for key in keys])
        losses.append(np.log(np.exp(scores).sum()) - scores[keys.index(b)])
    return float(np.mean(losses))


@pytest.mark.parametrize("masked", [False, True])
def test_loss_agrees_with_numpy(masked: bool) -> None:
    objective, batches = tiny.run("simcse", "new", size=12, mask_same_document=masked)
    objective.double().train()
    batch = batches(0)
    documents = batch.documents % 5  # several texts of one document
    object.__setattr__(batch, "documents", documents)
    torch.manual_seed(0)
    vectors = {name: values.detach() for name, values in objective.encode(batch, 0).vectors.items()}
    same = (documents[:, None] == documents) & masked
    expected = numpy_loss(vectors["first"][:, 0, 0].numpy(), vectors["second"][:, 0, 0].numpy(), same)
    found = objective.compare(vectors, vectors, batch, 0, 0)
    assert float(found.value) == pytest.approx(expected, rel=1e-10)


def test_the_layer_on_top_is_linear_and_tanh_over_cls() -> None:
    objective, batches = tiny.run("simcse", "new", size=5)
    objective.double().eval()
    batch = batches(0)
    (states,) = objective.encoder.states(batch.rows)
    cls = states.detach().numpy()[batch.rows.offsets[:-1]]
    dense = objective.mlp[0]
    expected = np.tanh(cls @ dense.weight.detach().numpy().T + dense.bias.detach().numpy())
    vectors = objective.encode(batch, 0).vectors
    for side in ("first", "second"):
        np.testing.assert_allclose(vectors[side][:, 0, 0].detach().numpy(), expected, rtol=0, atol=1e-10)
    bare, batches = tiny.run("simcse", "new", size=5, mlp=False)
    found = bare.double().eval().encode(batches(0), 0).vectors["first"][:, 0, 0].detach().numpy()
    np.testing.assert_allclose(found, cls, rtol=0, atol=1e-10)


def test_the_two_sides_are_the_same_text_under_other_dropout() -> None:
    objective, batches = tiny.run("simcse", "new", size=6, dropout=0.3)
    batch = batches(0)
    vectors = objective.train().encode(batch, 0).vectors
    assert not torch.isclose(vectors["first"], vectors["second"]).all(dim=-1).any()
    vectors = objective.eval().encode(batch, 0).vectors
    torch.testing.assert_close(vectors["first"], vectors["second"])


@pytest.mark.parametrize("chunk", [1, 4, 0])
def test_cached_equals_full_with_dropout(chunk: int) -> None:
    found = []
    for take in (full_step, cached_step):
        objective, batches = tiny.run("simcse", "new", size=10, dropout=0.3)
        result = take(objective.double(), batches(1), 1, StepContext(chunk=chunk or 10))
        gradient = torch.cat([p.grad.reshape(-1) for p in objective.parameters() if p.grad is not None])
        found.append((float(result.loss), gradient))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert float((found[0][1] - found[1][1]).norm() / found[0][1].norm()) < 1e-12


def test_gradient_by_finite_differences_with_dropout_on() -> None:
    """The same seed draws the same masks, so the loss is a smooth function of the weights."""
    objective, batches = tiny.run("simcse", "new", size=6, layers=2, dropout=0.2)
    objective.double()
    batch, context = batches(0), StepContext(seed=3)
    full_step(objective, batch, 0, context)
    learned = [p for p in objective.parameters() if p.requires_grad and p.grad is not None]
    gradients = [p.grad.clone() for p in learned]
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in learned]
    losses = []
    for by in (1e-6, -2e-6):
        with torch.no_grad():
            torch._foreach_add_(learned, [by * d for d in direction])
        losses.append(float(full_step(objective, batch, 0, context).loss))
    slope = sum(float((g * d).sum()) for g, d in zip(gradients, direction, strict=True))
    assert slope == pytest.approx((losses[0] - losses[1]) / 2e-6, rel=1e-4)


def test_rows_are_passages_as_they_stand() -> None:
    documents = tiny.store()
    sampler = simcse.sampler(documents, tiny.SPECIALS, tiny.options("simcse", length=20), provenance=True)
    batch = Batches(sampler=sampler, batch_size=30, seed=0)(0)
    assert batch.rows.lengths.max() <= 20
    for b, pair in enumerate(simcse.explain(batch, documents, tiny.SPECIALS)):
        (row,) = pair.rows
        assert pair.note == "encoded twice under dropout"
        assert (row.role, row.masked, row.replaced, row.deleted) == ("text", [], {}, [])
        expected = [tiny.SPECIALS.cls, *documents.tokens[row.spans[0][0] : row.spans[0][1]], tiny.SPECIALS.sep]
        assert batch.rows.row(b).tolist() == [int(token) for token in expected]


def test_compared_by_cosine_afterwards_and_the_layer_is_kept(tmp_path: Path) -> None:
    objective, _ = tiny.run("simcse", "new")
    assert objective.encoder.similarity == "cosine"
    kept: dict[str, Any] = {f"mlp.{name}": values for name, values in objective.mlp.state_dict().items()}
    safetensors.torch.save_file(kept, tmp_path / HEADS)
    encoder = tiny.encoder("new", tiny.store(), 4)
    encoder.source = tmp_path  # type: ignore[assignment]
    again: Any = simcse.objective(encoder, tiny.options("simcse"), 9, tiny.store())
    assert torch.equal(again.mlp[0].weight, kept["mlp.0.weight"])


def test_without_dropout_it_is_refused_or_said() -> None:
    with pytest.raises(UsageError, match="dropout"):
        tiny.run("simcse", "static")
    objective, _ = tiny.run("simcse", "new", dropout=0.0)
    assert "dropout is 0" in objective.notes[0]
    objective, _ = tiny.run("simcse", "new", dropout=0.1)
    assert objective.notes == ()
    with pytest.raises(UsageError, match="lower length"):
        tiny.run("simcse", "new", length=65)
    with pytest.raises(UsageError, match="temperature"):
        tiny.options("simcse", temperature=0.0)
