"""The projection head, and initial weights by address."""

import torch

from pretrieve.core.types import Rows
from pretrieve.models.heads import Projected, seeded
from tiny import encoder, store


def test_projection_is_linear_then_layer_norm_then_dropout() -> None:
    inner = encoder("transformer", store(), dropout=0.0)
    head = Projected(inner, 12, seed=1, dropout=0.5)
    rows = Rows.of([[2, 7, 8, 3], [2, 9, 3]])
    vectors = head.eval()(rows)
    assert vectors.shape == (2, 1, 12)
    plain = inner(rows) @ head.linear.weight.T + head.linear.bias
    expected = (plain - plain.mean(dim=-1, keepdim=True)) / (
        plain.var(dim=-1, keepdim=True, correction=0) + 1e-5
    ).sqrt()
    torch.testing.assert_close(vectors, expected, rtol=1e-5, atol=1e-5)
    dropped = head.train()(rows)
    kept = dropped != 0
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(dropped[kept], 2 * expected[kept], rtol=1e-5, atol=1e-5)
    assert (head.dimensions, head.similarity, head.max_length) == (12, "dot", inner.max_length)


def test_initial_weights_have_an_address_and_leave_the_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with seeded(5, "a"):
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with seeded(5, "a"):
        assert torch.equal(torch.rand(3), first)
    with seeded(5, "b"):
        assert not torch.equal(torch.rand(3), first)
