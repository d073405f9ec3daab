from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import scipy.stats

from pretrieve.evaluation.significance import bootstrap_interval, holm, largest_gain, paired_permutation


def enumerated(a, b):
    difference = a - b
    sums = [abs(np.dot(signs, difference)) for signs in product((1, -1), repeat=len(difference))]
    return float(np.mean([value >= abs(difference.sum()) - 1e-12 for value in sums]))


@pytest.mark.parametrize("size", [1, 2, 5, 10, 12])
def test_small_samples_are_enumerated(size):
    rng = np.random.default_rng(size)
    for _ in range(5):
        a, b = rng.random(size).round(1), rng.random(size).round(1)  # ties among sums, and differences of zero
        assert paired_permutation(a, b) == pytest.approx(enumerated(a, b), abs=1e-12)
        assert paired_permutation(b, a) == paired_permutation(a, b)


def test_large_samples_agree_with_scipy_and_are_repeatable():
    rng = np.random.default_rng(0)
    a = rng.random(200)
    b = a + rng.normal(0.0, 0.2, 200)
    b += 0.014 - (b - a).mean()  # about one standard error
    reference = scipy.stats.permutation_test(
        (a, b), lambda x, y, axis: (x - y).mean(axis=axis), permutation_type="samples", n_resamples=20_000, rng=1,
        vectorized=True,
    ).pvalue  # fmt: skip
    assert 0.2 < reference < 0.45
    assert paired_permutation(a, b, resamples=40_000) == pytest.approx(reference, abs=0.012)
    assert paired_permutation(a, b) == paired_permutation(a, b)
    assert paired_permutation(a, a) == 1.0
    assert paired_permutation(a, a + 1.0) == 1 / 10_000


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_the_interval_covers_what_it_should():
    rng = np.random.default_rng(0)
    covered = sum(
        low <= 0.3 <= high
        for low, high in (bootstrap_interval((rng.random(150) < 0.3).astype(float)) for _ in range(80))
    )
    assert 0.86 <= covered / 80 <= 0.99
    low, high = bootstrap_interval(np.ones(5))
    assert low == high == 1.0


def test_the_gain_of_one_system_is_tested_on_one_side():
    gains = np.random.default_rng(0).normal(0.03, 0.2, 100)
    both = paired_permutation(gains, np.zeros(100))
    assert largest_gain({"a": [gains]})["a"] == pytest.approx(both / 2, abs=0.01)
    assert largest_gain({"a": [-gains]})["a"] == pytest.approx(1 - both / 2, abs=0.01)
    assert largest_gain({"a": [np.zeros(100)]})["a"] == 1.0


def test_the_best_of_several_systems_without_a_gain_is_seldom_above():
    """Five systems of pure noise: one in twenty times, not one in four, has one of them a gain that is not chance."""
    rng = np.random.default_rng(1)
    rejected = []
    for _ in range(300):
        gains = {str(n): [rng.normal(0, 0.2, 80), rng.normal(0, 0.3, 60)] for n in range(5)}
        rejected.append(min(largest_gain(gains, resamples=499).values()) < 0.05)
    assert 0.02 < np.mean(rejected) < 0.09


def test_systems_that_are_alike_cost_little_and_kinds_add_up():
    rng = np.random.default_rng(2)
    one = rng.normal(0.03, 0.2, 150)
    alone = largest_gain({"a": [one]})["a"]
    assert largest_gain({"a": [one], "b": [1.5 * one]})["a"] == pytest.approx(alone, abs=0.005)
    unlike = {"a": [one], **{str(n): [rng.normal(0, 0.2, 150)] for n in range(8)}}
    assert largest_gain(unlike)["a"] > 2 * alone
    assert largest_gain({"a": [one, one[::-1]]})["a"] < alone
    assert largest_gain(unlike) == largest_gain(unlike)
