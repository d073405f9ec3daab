"""Batches by address, and the mixture of groups."""

import hashlib

import numpy as np
import pytest

from pretrieve.core.errors import UsageError
from pretrieve.methods import contriever
from pretrieve.sampling.batches import Batches, mixture
from tiny import SPECIALS, options, store


def visits(mixed, steps: int, size: int, seed: int = 0) -> np.ndarray:
    return np.concatenate([mixed.at(np.arange(step * size, (step + 1) * size), seed)[0] for step in range(steps)])


@pytest.mark.parametrize(("coefficient", "power"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_groups_are_mixed_by_share_to_a_power(coefficient: float, power: float) -> None:
    groups = np.repeat([0, 1, 2], [900, 90, 10])
    seen = groups[visits(mixture(groups, 1000, coefficient), 100, 64)]
    expected = (np.array([900, 90, 10]) / 1000) ** power
    expected /= expected.sum()
    bound = 3 * np.sqrt(expected * (1 - expected) / len(seen)) + 1 / 4096
    assert (abs(np.bincount(seen) / len(seen) - expected) < bound).all()


@pytest.mark.parametrize("coefficient", [0.0, 1.0])
def test_each_group_is_visited_without_replacement(coefficient: float) -> None:
    groups = np.array([0, 1] * 50 + [0] * 100)
    mixed = mixture(groups, 200, coefficient)
    seen = visits(mixed, 60, 10)
    for group in (0, 1):
        mine = seen[groups[seen] == group] if coefficient == 0 else seen
        size = (groups == group).sum() if coefficient == 0 else 200
        for epoch in range(len(mine) // size):
            assert len(set(mine[epoch * size : (epoch + 1) * size])) == size


def test_batches_do_not_depend_on_their_size() -> None:
    groups = np.array([0, 1, 1, 1] * 25)
    mixed = mixture(groups, 100, 0.3)
    assert (visits(mixed, 60, 10) == visits(mixed, 6, 100)).all()
    assert (visits(mixed, 6, 100) != visits(mixed, 6, 100, seed=1)).any()


def test_others_are_of_the_same_group() -> None:
    groups = np.array([0, 1, 1, 2] * 25)
    mixed = mixture(groups, 100, 0.0)
    items = np.repeat(np.arange(100), 50)
    drawn = mixed.others(items, np.random.default_rng(0))
    assert (groups[drawn] == groups[items]).all()
    assert len(set(drawn)) == 100


def digest(batch) -> str:
    parts = (batch.rows.tokens, batch.rows.offsets, batch.documents)
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    sampler = contriever.sampler(store(), SPECIALS, options("contriever"))
    batches = Batches(sampler=sampler, batch_size=16, seed=3)
    forward = [digest(batches(step)) for step in range(50)]
    assert forward == [digest(batches(step)) for step in reversed(range(50))][::-1]
    assert len(set(forward)) == 50
    assert digest(Batches(sampler=sampler, batch_size=16, seed=4)(0)) != forward[0]


def test_nothing_to_train_on_is_an_error() -> None:
    sampler = contriever.sampler(store(1, sentences=(1, 1), words=(3, 3)), SPECIALS, options("contriever"))
    with pytest.raises(UsageError, match="no document is long enough"):
        Batches(sampler=sampler, batch_size=4, seed=0)
    with pytest.raises(UsageError, match="batch_size=0"):
        Batches(sampler=sampler, batch_size=0, seed=0)
