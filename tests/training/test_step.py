"""Cached and full steps agree with dropout on; the gradient of a step is the gradient of its loss."""

import itertools

import numpy as np
import pytest
import torch

import tiny
from pretrieve.training.ranks import Ranks
from pretrieve.training.step import StepContext, _edges, cached_step, full_step


def gradients(objective) -> torch.Tensor:
    return torch.cat([p.grad.reshape(-1) for p in objective.parameters() if p.grad is not None])


def step_of(take, preset: str, chunk: int, *, kind: str = "new", step: int = 3, **changes):
    objective, batches = tiny.run(preset, kind, size=12, seed=1, **{"dropout": 0.3, **changes})
    objective.double()
    result = take(objective, batches(step), step, StepContext(seed=1, chunk=chunk))
    return result, gradients(objective)


CASES = [
    ("contriever", "new", {"queue": 48}),
    ("contriever", "static", {"queue": 48}),
    ("contriever-inbatch", "new", {}),
    ("orqa-ict", "new", {"encoders": "tied", "projection": 8}),
    ("orqa-ict", "new", {"encoders": "untied", "projection": 8}),
    ("structure", "new", {"symmetric": True}),
    ("structure", "static", {}),
]


@pytest.mark.parametrize("chunk", [1, 5, 12])
@pytest.mark.parametrize(("preset", "kind", "changes"), CASES)
def test_cached_equals_full_with_dropout(preset: str, kind: str, changes: dict, chunk: int) -> None:
    full, expected = step_of(full_step, preset, chunk, kind=kind, **changes)
    cached, found = step_of(cached_step, preset, chunk, kind=kind, **changes)
    assert float(cached.loss) == pytest.approx(float(full.loss), rel=1e-10)
    assert float((found - expected).norm() / expected.norm()) < 1e-10
    assert expected.norm() > 0
    for name in full.global_vectors:
        assert torch.equal(cached.global_vectors[name], full.global_vectors[name])
    for name, value in full.statistics.items():
        assert torch.allclose(cached.statistics[name], value, equal_nan=True)


def test_cached_equals_full_in_single_precision() -> None:
    found = []
    for take in (full_step, cached_step):
        objective, batches = tiny.run("orqa-ict", "new", size=12, dropout=0.3, projection=8)
        take(objective, batches(0), 0, StepContext(chunk=5))
        found.append(gradients(objective))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-5


def test_dropout_is_really_on_and_has_an_address() -> None:
    first, again, other = (step_of(full_step, "contriever-inbatch", 5, step=step)[0] for step in (3, 3, 4))
    assert float(first.loss) == float(again.loss)
    assert float(first.loss) != float(other.loss)
    other_chunks, _ = step_of(full_step, "contriever-inbatch", 4)
    assert float(other_chunks.loss) != float(first.loss)
    without = [float(step_of(full_step, "contriever-inbatch", chunk, dropout=0.0)[0].loss) for chunk in (0, 4)]
    assert without[0] == pytest.approx(without[1], rel=1e-10)


@pytest.mark.parametrize(("preset", "kind", "changes"), CASES)
def test_gradient_by_finite_differences(preset: str, kind: str, changes: dict) -> None:
    objective, batches = tiny.run(preset, kind, size=12, seed=1, **changes)
    objective.double()
    batch, context = batches(0), StepContext(seed=1, chunk=5)
    full_step(objective, batch, 0, context)
    generator = np.random.default_rng(0)
    parameters = [p for p in objective.parameters() if p.grad is not None]
    direction = [torch.from_numpy(generator.standard_normal(p.shape)) for p in parameters]
    slope = sum(float((p.grad * d).sum()) for p, d in zip(parameters, direction, strict=True))
    losses = []
    for sign in (1, -1):
        with torch.no_grad():
            torch._foreach_add_([p.data for p in parameters], direction, alpha=sign * 1e-6)
        losses.append(float(full_step(objective, batch, 0, context).loss))
        with torch.no_grad():
            torch._foreach_add_([p.data for p in parameters], direction, alpha=-sign * 1e-6)
    assert (losses[0] - losses[1]) / 2e-6 == pytest.approx(slope, rel=1e-4)


def test_one_rank_sends_nothing() -> None:
    ranks = Ranks()
    vectors = {"query": torch.zeros(2, 1, 1, 3)}
    assert ranks.gather(vectors)["query"] is vectors["query"]
    assert ranks.share(7) == (0, 7)


def test_chunks_by_tokens_are_consecutive_examples_within_the_budget() -> None:
    _, batches = tiny.run("contriever-inbatch", "new", size=12, seed=1)
    batch = batches(0)
    tokens = [int(batch.slice(at, at + 1).rows.lengths.sum()) for at in range(12)]
    for budget in (1, max(tokens), 2 * max(tokens), sum(tokens) - 1, sum(tokens)):
        edges = _edges(batch, StepContext(chunk_tokens=budget))
        assert (edges[0], edges[-1]) == (0, 12)
        for start, stop in itertools.pairwise(edges):
            assert stop == start + 1 or sum(tokens[start:stop]) <= budget
            assert stop == 12 or sum(tokens[start : stop + 1]) > budget, "as many as fit"
    assert _edges(batch, StepContext(chunk_tokens=1)) == list(range(13))
    assert len(_edges(batch, StepContext(chunk_tokens=sum(tokens)))) == 2
    assert max(np.diff(_edges(batch, StepContext(chunk_tokens=sum(tokens), chunk=5)))) == 5
    part = batch.slice(4, 12)  # of another rank
    assert _edges(part, StepContext(chunk_tokens=1)) == list(range(9))


@pytest.mark.parametrize(("preset", "kind", "changes"), CASES)
def test_chunks_by_tokens_give_the_gradient_of_chunks_by_examples(preset: str, kind: str, changes: dict) -> None:
    """Without dropout the chunks do not matter; with dropout, cached equals full with the same chunks."""
    found = []
    for chunks in ({"chunk": 5}, {"chunk_tokens": 40}):
        objective, batches = tiny.run(preset, kind, size=12, seed=1, **{**changes, "dropout": 0.0})
        cached_step(objective.double(), batches(3), 3, StepContext(seed=1, **chunks))
        found.append(gradients(objective))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-8
    found = []
    for take in (full_step, cached_step):
        objective, batches = tiny.run(preset, kind, size=12, seed=1, **{"dropout": 0.3, **changes})
        assert len(_edges(batches(3), StepContext(chunk_tokens=40))) > 3
        take(objective.double(), batches(3), 3, StepContext(seed=1, chunk_tokens=40))
        found.append(gradients(objective))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-8
