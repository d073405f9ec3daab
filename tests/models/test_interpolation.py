"""Weights between two encoders: every parameter is exactly what the interpolation says."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

import tiny
from pretrieve.models.heads import Projected
from pretrieve.models.interpolation import interpolated, upper_half

STORE = tiny.store()


def pair(layers: int):
    start = tiny.encoder("new", STORE, layers=layers)
    trained = deepcopy(start)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return start, trained


@pytest.mark.parametrize("part", [0.0, 0.25, 0.5, 1.0])
def test_all_layers_alike(part) -> None:
    start, trained = pair(2)
    before = [parameter.clone() for parameter in (*start.parameters(), *trained.parameters())]
    found = interpolated(start, trained, part)
    for mine, first, last in zip(found.parameters(), start.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(mine, (1 - part) * first + part * last)
        if part in (0, 1):
            assert torch.equal(mine, last if part else first)
    assert all(map(torch.equal, before, (*start.parameters(), *trained.parameters()))), "both are left as they are"


@pytest.mark.parametrize(("layers", "above"), [(2, {1}), (3, {2}), (4, {2, 3})])
def test_halves_of_the_layers(layers, above) -> None:
    start, trained = pair(layers)
    found = interpolated(start, trained, 0.0, 1.0)
    names = {name for name, _ in found.named_parameters()}
    expected = {n for n in names if any(f".layer.{number}." in n for number in above) or ".pooler." in n}
    assert upper_half(found) == expected
    assert 0 < len(expected) < len(names)
    firsts, lasts = dict(start.named_parameters()), dict(trained.named_parameters())
    for name, mine in found.named_parameters():
        assert torch.equal(mine, (lasts if name in expected else firsts)[name]), name
    for name, mine in interpolated(start, trained, 1.0, 0.0).named_parameters():
        assert torch.equal(mine, (firsts if name in expected else lasts)[name]), name


def test_what_follows_the_layers_is_above_and_words_are_below() -> None:
    found = upper_half(Projected(tiny.encoder("new", STORE, layers=2), 8))
    assert {"linear.weight", "norm.weight"} <= found
    assert not any("embeddings" in name for name in found)


@pytest.mark.parametrize(("kind", "layers"), [("new", 1), ("static", 1)])
def test_an_encoder_without_two_layers_has_no_halves(kind, layers) -> None:
    assert upper_half(tiny.encoder(kind, STORE, layers=layers)) == frozenset()
