"""Whole-word masking: a slow plain twin, statistics, and what must never be picked."""

import numpy as np
import pytest

from pretrieve.core.errors import UsageError
from pretrieve.core.rng import generator
from pretrieve.core.types import Rows, SpecialTokens
from pretrieve.sampling.masking import UNLABELLED, Masking, pick_words
from tiny import SPECIALS, VOCABULARY

STARTS = np.arange(VOCABULARY) % 3 != 0


def random_rows(count: int, longest: int, seed: int, *, specials: bool = True) -> tuple[Rows, np.ndarray]:
    """Rows of [CLS] tokens [SEP], and which tokens are ordinary; without special tokens a row may begin in a word."""
    rng = np.random.default_rng(seed)
    rows, ordinary = [], []
    for _ in range(count):
        body = rng.integers(5, VOCABULARY, rng.integers(1, longest + 1)).tolist()
        rows.append([2, *body, 3] if specials else body)
        ordinary += [not specials, *[True] * len(body), not specials] if specials else [True] * len(body)
    return Rows.of(rows), np.array(ordinary)


def words_of(row: np.ndarray, ordinary: np.ndarray) -> list[list[int]]:
    """Places of the tokens of each word of a row."""
    words: list[list[int]] = []
    inside = False
    for place, token in enumerate(row):
        if not ordinary[place]:
            inside = False
        elif inside and not STARTS[token]:
            words[-1].append(place)
        else:
            words.append([place])
            inside = True
    return words


def plainly(rows: Rows, ordinary: np.ndarray, rate: float, rng: np.random.Generator) -> np.ndarray:
    """One row after another: words in random order, taken while they fit the budget, others passed over."""
    picked = np.zeros(len(rows.tokens), bool)
    found = [words_of(rows.row(r), ordinary[rows.offsets[r] : rows.offsets[r + 1]]) for r in range(len(rows))]
    draws = iter(rng.random(sum(map(len, found))).tolist())
    for first, words in zip(rows.offsets[:-1], found, strict=True):
        shuffled = [word for _, word in sorted((next(draws), word) for word in words)]
        budget = max(1, round(rate * sum(map(len, words))))
        taken: list[list[int]] = []
        for word in shuffled:
            if len(word) <= budget - sum(map(len, taken)):
                taken.append(word)
        for word in taken or shuffled[:1]:
            picked[first + np.array(word)] = True
    return picked


@pytest.mark.parametrize("specials", [True, False])
@pytest.mark.parametrize("rate", [0.02, 0.15, 0.5, 0.95])
def test_picked_words_equal_the_plain_twin(rate: float, specials: bool) -> None:
    for seed in range(8):
        rows, ordinary = random_rows(40, 60 if seed % 2 else 4, seed, specials=specials)
        mine = pick_words(rows, ordinary, STARTS, rate, generator(seed, "twin"))
        assert np.array_equal(mine, plainly(rows, ordinary, rate, generator(seed, "twin")))


def test_whole_words_only_never_a_special_token_and_a_label_in_every_row() -> None:
    rows, ordinary = random_rows(300, 12, 5)
    picked = pick_words(rows, ordinary, STARTS, 0.15, generator(0, "a"))
    assert not picked[~ordinary].any()
    for r in range(len(rows)):
        here = slice(rows.offsets[r], rows.offsets[r + 1])
        assert picked[here].any()
        for word in words_of(rows.row(r), ordinary[here]):
            assert len({bool(picked[here][place]) for place in word}) == 1


def test_a_row_of_special_tokens_alone_is_left_alone() -> None:
    rows = Rows.of([[2, 3], [2, 7, 3], [2, 3]])
    ordinary = np.array([False, False, False, True, False, False, False])
    assert pick_words(rows, ordinary, STARTS, 0.15, generator(0, "a")).tolist() == ordinary.tolist()


def test_a_word_longer_than_the_budget_is_passed_over_unless_all_are() -> None:
    long, short = [7, 9, 12, 15], [8]  # 9, 12 and 15 continue a word
    rows = Rows.of([[*long, *short], long * 2])
    for seed in range(30):
        picked = pick_words(rows, np.ones(13, bool), STARTS, 0.2, generator(seed, "a"))
        assert picked[:5].tolist() == [False] * 4 + [True]
        assert picked[5:].sum() == 4
        assert len(set(picked[5:9])) == 1


def test_part_of_tokens_hidden_and_what_stands_there() -> None:
    rows, ordinary = random_rows(4000, 120, 3)
    picked = pick_words(rows, ordinary, STARTS, 0.15, generator(0, "words"))
    assert picked.sum() / ordinary.sum() == pytest.approx(0.15, abs=0.003)
    found = Masking().hide(rows, picked, SPECIALS, generator(0, "masks"))
    count = int(picked.sum())
    assert np.array_equal(found.labels, np.where(picked, rows.tokens, UNLABELLED))
    assert np.array_equal(found.rows.tokens[~picked], rows.tokens[~picked])
    assert np.array_equal(found.rows.offsets, rows.offsets)
    shown, true = found.rows.tokens[picked], rows.tokens[picked]
    deviation = 3 / np.sqrt(count)  # three standard errors are at most 1.5 / sqrt(n); twice that
    assert (shown == SPECIALS.mask).mean() == pytest.approx(0.8, abs=deviation)
    other = shown[shown != SPECIALS.mask]
    by_chance = 1 / (VOCABULARY - 5)
    same = float((shown == true).mean())
    assert same == pytest.approx(0.1 + 0.1 * by_chance, abs=deviation)
    assert other.min() >= SPECIALS.first_ordinary
    random = shown[(shown != SPECIALS.mask) & (shown != true)]
    assert len(np.unique(random)) == VOCABULARY - 5, "every ordinary token may stand there"


def test_every_place_of_a_row_is_picked_as_often() -> None:
    row = [8] * 20  # words of one token: three of twenty are picked
    rows = Rows.of([row] * 6000)
    picked = pick_words(rows, np.ones(len(rows.tokens), bool), STARTS, 0.15, generator(1, "a")).reshape(-1, 20)
    assert (picked.sum(axis=1) == 3).all()
    assert np.abs(picked.mean(axis=0) - 0.15).max() < 4 * np.sqrt(0.15 * 0.85 / 6000)


def test_a_vocabulary_without_a_mask_is_refused() -> None:
    bare = SpecialTokens(cls=2, sep=3, mask=None, pad=0, unknown=1, vocabulary=VOCABULARY, first_ordinary=5)
    with pytest.raises(UsageError, match="no mask token"):
        Masking().hide(Rows.of([[5]]), np.array([True]), bare, generator(0, "a"))
