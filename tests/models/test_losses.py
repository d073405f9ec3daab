"""Losses against NumPy, their gradients against finite differences."""

from typing import Any

import numpy as np
import pytest
import torch

from pretrieve.models.losses import in_batch_softmax, queue_softmax, similarities

RNG = np.random.default_rng(0)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def reference(
    q: np.ndarray, k: np.ndarray, cosine: bool, tau: float, first: int, exclude: np.ndarray | None, smooth: float
) -> tuple[np.ndarray, np.ndarray]:
    """In-batch softmax one query at a time, by the formula, float64."""
    if cosine:
        q, k = unit(q), unit(k)
    losses, hits = [], []
    for b, vector in enumerate(q):
        scores = k @ vector / tau
        allowed = np.ones(len(k), bool) if exclude is None else ~exclude[b]
        allowed[first + b] = True
        log_z = np.log(np.exp(scores[allowed]).sum())
        losses.append(log_z - (1 - smooth) * scores[first + b] - smooth * scores[allowed].mean())
        hits.append(scores[first + b] >= scores[allowed].max())
    return np.array(losses), np.array(hits, float)


CASES: list[dict[str, Any]] = [
    {"similarity": "dot", "temperature": 1.0},
    {"similarity": "cosine", "temperature": 0.05},
    {"similarity": "dot", "temperature": 0.5, "first": 3},
    {"similarity": "cosine", "temperature": 0.2, "first": 2, "exclude": True},
    {"similarity": "dot", "temperature": 1.0, "exclude": True, "label_smoothing": 0.1},
    {"similarity": "cosine", "temperature": 0.1, "label_smoothing": 0.2},
]


@pytest.mark.parametrize("case", CASES)
def test_in_batch_softmax(case: dict[str, Any]) -> None:
    q, k = RNG.standard_normal((5, 8)), RNG.standard_normal((9, 8))
    exclude = RNG.random((5, 9)) < 0.4 if case.get("exclude") else None
    values = {name: value for name, value in case.items() if name != "exclude"}
    found, hits = in_batch_softmax(
        torch.from_numpy(q),
        torch.from_numpy(k),
        **values,
        exclude=None if exclude is None else torch.from_numpy(exclude),
    )
    expected, best = reference(
        q, k, case["similarity"] == "cosine", case["temperature"], case.get("first", 0), exclude,
        case.get("label_smoothing", 0.0),
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=2e-5)
    np.testing.assert_array_equal(hits, best)


def test_symmetric_averages_both_directions() -> None:
    q, k = RNG.standard_normal((4, 6)), RNG.standard_normal((7, 6))
    found, _ = in_batch_softmax(torch.from_numpy(q), torch.from_numpy(k), temperature=0.7, first=2, symmetric=True)
    there, _ = reference(q, k, False, 0.7, 2, None, 0.0)
    back, _ = reference(k[2:6], q, False, 0.7, 0, None, 0.0)
    np.testing.assert_allclose(found, (there + back) / 2, rtol=1e-5)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("masked", [False, True])
def test_queue_softmax(similarity: Any, masked: bool) -> None:
    q, k, queue = RNG.standard_normal((4, 6)), RNG.standard_normal((4, 6)), RNG.standard_normal((11, 6))
    exclude = RNG.random((4, 11)) < 0.5 if masked else np.zeros((4, 11), bool)
    found, hits = queue_softmax(
        torch.from_numpy(q), torch.from_numpy(k), torch.from_numpy(queue), similarity=similarity, temperature=0.3,
        exclude=torch.from_numpy(exclude) if masked else None,
    )  # fmt: skip
    for b in range(4):
        keys = np.concatenate([k[b : b + 1], queue[~exclude[b]]])
        expected, best = reference(q[b : b + 1], keys, similarity == "cosine", 0.3, 0, None, 0.0)
        assert found[b].item() == pytest.approx(expected[0], rel=1e-5)
        assert hits[b].item() == best[0]


def test_all_other_keys_excluded_leaves_a_zero_loss() -> None:
    q = torch.randn(3, 4, requires_grad=True)
    losses, _ = in_batch_softmax(q, q.detach(), exclude=torch.ones(3, 3, dtype=torch.bool))
    losses.sum().backward()
    assert losses.abs().max() == 0
    assert q.grad is not None
    assert torch.isfinite(q.grad).all()


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_slopes(case: dict[str, Any]) -> None:
    """Central differences of the float64 reference, along random directions of queries and keys."""
    q, k = RNG.standard_normal((5, 8)), RNG.standard_normal((9, 8))
    exclude = RNG.random((5, 9)) < 0.4 if case.get("exclude") else None
    tq, tk = (torch.from_numpy(x).requires_grad_() for x in (q, k))
    values = {name: value for name, value in case.items() if name != "exclude"}
    losses, _ = in_batch_softmax(tq, tk, **values, exclude=None if exclude is None else torch.from_numpy(exclude))
    losses.mean().backward()
    assert tq.grad is not None
    assert tk.grad is not None

    def value(q: np.ndarray, k: np.ndarray) -> float:
        return float(
            reference(q, k, case["similarity"] == "cosine", case["temperature"], case.get("first", 0), exclude,
                      case.get("label_smoothing", 0.0))[0].mean()
        )  # fmt: skip

    for _ in range(4):
        dq, dk = RNG.standard_normal(q.shape), RNG.standard_normal(k.shape)
        slope = (value(q + 1e-5 * dq, k + 1e-5 * dk) - value(q - 1e-5 * dq, k - 1e-5 * dk)) / 2e-5
        mine = (tq.grad.numpy() * dq).sum() + (tk.grad.numpy() * dk).sum()
        assert mine == pytest.approx(slope, rel=1e-4, abs=1e-5)


def test_half_precision_vectors_are_scored_in_float32() -> None:
    q, k = (torch.randn(3, 16, dtype=torch.bfloat16) for _ in range(2))
    scores = similarities(q, k, "dot", 0.05)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, q.float() @ k.float().T / 0.05, rtol=1e-5, atol=1e-4)
