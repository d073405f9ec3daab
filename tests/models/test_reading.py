"""Span scores and marginal losses against plain loops in NumPy; zero without an answer; gradients."""

import numpy as np
import pytest
import torch

from pretrieve.models.reading import SpanScorer, best_of, reading_loss, retrieval_loss, spans_within


def logsumexp(values) -> float:
    values = np.asarray(values, float)
    return float(np.log(np.exp(values - values.max()).sum()) + values.max())


def test_spans_are_all_of_at_most_the_width_and_stay_in_their_text() -> None:
    owners = [0] * 7 + [1] + [3] * 4
    expected = {
        (first, last)
        for first in range(12)
        for last in range(first, min(first + 3, 12))
        if owners[first] == owners[last]
    }
    firsts, lasts = spans_within(torch.tensor(owners), 3)
    assert len(firsts) == len(expected)
    assert set(zip(firsts.tolist(), lasts.tolist(), strict=True)) == expected


def test_span_score_agrees_with_numpy() -> None:
    """1.5: w . LayerNorm(ReLU(W_s h_s + W_e h_e)), with a bias in the sum."""
    scorer = SpanScorer(6, 5, seed=1)
    for parameter in scorer.parameters():
        torch.nn.init.normal_(parameter)
    states = torch.randn(9, 6)
    firsts, lasts = spans_within(torch.zeros(9, dtype=torch.long), 4)
    weights = {name: value.detach().double().numpy() for name, value in scorer.named_parameters()}
    expected = []
    for first, last in zip(firsts.tolist(), lasts.tolist(), strict=True):
        start, end = (states[at].double().numpy() for at in (first, last))
        x = np.maximum(weights["start.weight"] @ start + weights["end.weight"] @ end + weights["start.bias"], 0)
        x = (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weights["norm.weight"] + weights["norm.bias"]
        expected.append(float(weights["score.weight"][0] @ x))
    found = scorer(states, firsts, lasts).detach().numpy()
    assert np.abs(found - expected).max() < 1e-5


def test_retrieval_loss_by_hand_and_zero_without_an_answer() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 9)) * 4
    holds = rng.random((5, 9)) < 0.3
    holds[2], holds[3] = False, True
    leaf = torch.tensor(logits, requires_grad=True)
    losses = retrieval_loss(leaf, torch.tensor(holds))
    values = losses.tolist()
    for row in range(5):
        expected = logsumexp(logits[row]) - logsumexp(logits[row][holds[row]]) if holds[row].any() else 0.0
        assert values[row] == pytest.approx(expected, abs=1e-12)
    losses.sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad[2].abs().max() == 0.0, "no answer among the blocks: nothing to learn"
    assert leaf.grad[0].abs().max() > 0
    assert torch.autograd.gradcheck(lambda x: retrieval_loss(x, torch.tensor(holds)), leaf)


def test_reading_loss_by_hand_and_zero_without_a_correct_span() -> None:
    rng = np.random.default_rng(1)
    owners = rng.permutation(np.repeat([0, 1, 2, 4], [7, 3, 5, 6]))
    scores = rng.normal(size=21) * 30  # far apart: a careless exponential overflows
    correct = rng.random(21) < 0.4
    correct[owners == 1] = False
    leaf = torch.tensor(scores, requires_grad=True)
    arguments = torch.tensor(owners), torch.tensor(correct), 5
    losses = reading_loss(leaf, *arguments)
    values = losses.tolist()
    for question in range(5):
        mine, right = scores[owners == question], scores[(owners == question) & correct]
        expected = logsumexp(mine) - logsumexp(right) if len(right) else 0.0
        assert values[question] == pytest.approx(expected, abs=1e-12)
    losses.sum().backward()
    assert torch.isfinite(leaf.grad).all()
    assert leaf.grad[torch.tensor(owners == 1)].abs().max() == 0.0
    assert torch.autograd.gradcheck(lambda x: reading_loss(x, *arguments), leaf)
    single = reading_loss(torch.tensor(scores * 100, dtype=torch.float32), *arguments)
    assert torch.isfinite(single).all()
    best = best_of(leaf.detach(), torch.tensor(owners), 5)
    assert best.tolist() == [
        max((i for i in range(21) if owners[i] == q), key=lambda i: scores[i], default=21) for q in range(5)
    ]
