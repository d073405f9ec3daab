"""Randomness by address: repeatable, independent, and a shuffle that is a bijection."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pretrieve.core.rng import generator, shuffled, torch_seed

ADDRESSES = [(0, "crops", 0), (0, "crops", 1), (0, "edits", 0), (1, "crops", 0), (-1, "crops", 0), (0, "crops/0", 0)]


def test_the_same_address_gives_the_same_draws() -> None:
    for address in ADDRESSES:
        assert (generator(*address).integers(0, 2**40, 100) == generator(*address).integers(0, 2**40, 100)).all()


def test_draws_stay_the_same_for_ever() -> None:
    assert generator(0, "crops", 0).integers(0, 1000, 5).tolist() == [466, 941, 715, 788, 506]
    assert shuffled(np.arange(6), 6, 0, "items").tolist() == [4, 1, 0, 3, 2, 5]
    assert torch_seed(0, "dropout", 0) == 5689373748705063909


def test_different_addresses_are_independent() -> None:
    draws = np.stack([generator(*address).random(20_000) for address in ADDRESSES])
    correlation = np.corrcoef(draws) - np.eye(len(ADDRESSES))
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)


def test_steps_do_not_overlap() -> None:
    """A long draw of one step shares no number with the next."""
    first, second = (generator(0, "s", step).integers(0, 2**63, 10_000) for step in (5, 6))
    assert not set(first.tolist()) & set(second.tolist())


def test_torch_seeds_fit_and_differ() -> None:
    seeds = [
        torch_seed(seed, name, step, chunk) for seed in (0, 1) for name in "ab" for step in (0, 1) for chunk in (0, 1)
    ]
    assert len(set(seeds)) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)


@given(size=st.integers(1, 3000), seed=st.integers(-(2**40), 2**40), epoch=st.integers(0, 100))
def test_shuffled_is_a_bijection(size: int, seed: int, epoch: int) -> None:
    items = shuffled(np.arange(size), size, seed, "items", epoch)
    assert sorted(items.tolist()) == list(range(size))


@given(size=st.integers(1, 2**50), positions=st.lists(st.integers(0, 2**50), min_size=1, max_size=50))
def test_shuffled_is_a_function_of_the_position(size: int, positions: list[int]) -> None:
    index = np.array(positions) % size
    together = shuffled(index, size, 0, "items")
    assert (together < size).all()
    assert (together >= 0).all()
    assert together.tolist() == [int(shuffled(np.array([one]), size, 0, "items")[0]) for one in index]
    assert len(np.unique(together)) == len(np.unique(index))


@pytest.mark.parametrize("size", [16, 100])
def test_shuffled_is_uniform(size: int) -> None:
    """Over many epochs every item lands on the first position, and follows another, equally often."""
    orders = np.stack([shuffled(np.arange(size), size, 3, "items", epoch) for epoch in range(1500)])
    for column in (orders[:, 0], orders[:, -1], (orders[:, 1] - orders[:, 0]) % size - 1):
        counts = np.bincount(column, minlength=size - 1)
        assert stats.chisquare(counts[: column.max() + 1]).pvalue > 1e-4


def test_shuffled_keeps_the_shape() -> None:
    assert shuffled(np.arange(6).reshape(2, 3), 10, 0, "items").shape == (2, 3)
    assert shuffled(np.array([0]), 1, 0, "items").tolist() == [0]
