"""Edits: their rates, and what they never do."""

import numpy as np
import pytest

from pretrieve.core.errors import UsageError
from pretrieve.core.rng import generator
from pretrieve.text.edits import Edits, delete, shuffle
from pretrieve.text.spans import Positions, lay_out, surround
from tiny import BARE, SPECIALS, store

ROWS, LENGTH = 400, 50


def rows_of(length: int = LENGTH, count: int = ROWS, specials=SPECIALS) -> Positions:
    starts = (np.arange(count) * 2)[:, None]
    return lay_out(*surround(starts, np.full((count, 1), length), specials))


def three_sigma(rate: float, count: int) -> float:
    return 3 * np.sqrt(rate * (1 - rate) / count)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_delete_meets_its_rate_and_leaves_special_tokens(rate: float) -> None:
    before = rows_of()
    after = delete(before, rate, generator(0, "test"))
    kept = (after.values >= 0).sum() / (before.values >= 0).sum()
    assert abs(1 - kept - rate) < three_sigma(rate, ROWS * LENGTH)
    assert ((after.values < 0).sum()) == 2 * ROWS
    for row in range(ROWS):  # order is kept: positions rise
        own = after.values[after.offsets[row] : after.offsets[row + 1]]
        assert own[0] == -1
        assert own[-1] == -2
        assert (np.diff(own[1:-1]) > 0).all()


@pytest.mark.parametrize("specials", [SPECIALS, BARE])
@pytest.mark.parametrize("rate", [0.9, 1.0])
def test_delete_never_empties_a_row_and_rescues_fairly(specials, rate: float) -> None:
    after = delete(rows_of(3, 3000, specials), rate, generator(1, "test"))
    ordinary = np.add.reduceat((after.values >= 0).astype(int), after.offsets[:-1])
    assert ordinary.min() >= 1
    if rate == 1.0:
        assert ordinary.max() == 1
        place = after.values[after.values >= 0] - np.arange(3000) * 2  # which of the three tokens stayed
        assert abs(np.bincount(place) / 3000 - 1 / 3).max() < three_sigma(1 / 3, 3000)


def test_shuffle_is_a_permutation_of_the_picked_tokens() -> None:
    before = rows_of()
    after = shuffle(before, 0.4, generator(2, "test"))
    moved = 0
    for row in range(ROWS):
        old, new = (part.values[part.offsets[row] : part.offsets[row + 1]] for part in (before, after))
        assert sorted(old) == sorted(new)
        assert (new[[0, -1]] == [-1, -2]).all()
        moved += (old != new).sum()
    picked = moved / (ROWS * LENGTH)  # one of the about 20 picked stays in its place
    assert 0.4 * 0.9 < picked < 0.4


def test_replace_and_mask_meet_their_rates() -> None:
    documents = store(200)
    positions = lay_out(*surround((np.arange(ROWS) * 3)[:, None], np.full((ROWS, 1), LENGTH), SPECIALS))
    plain, _ = Edits().apply(documents.tokens, positions, SPECIALS, generator(3, "test"))
    masked, _ = Edits(mask=0.3).apply(documents.tokens, positions, SPECIALS, generator(3, "test"))
    replaced, _ = Edits(replace=0.3).apply(documents.tokens, positions, SPECIALS, generator(3, "test"))
    special = positions.values < 0
    assert (masked.tokens[special] == plain.tokens[special]).all()
    assert (replaced.tokens[special] == plain.tokens[special]).all()
    assert abs((masked.tokens[~special] == SPECIALS.mask).mean() - 0.3) < three_sigma(0.3, ROWS * LENGTH)
    other = replaced.tokens[~special] != plain.tokens[~special]
    assert abs(other.mean() - 0.3 * 114 / 115) < three_sigma(0.3, ROWS * LENGTH)  # one of 115 is the same by chance
    assert replaced.tokens[~special].min() >= SPECIALS.first_ordinary


def test_rates_and_vocabularies_that_cannot_be() -> None:
    with pytest.raises(UsageError, match=r"delete=1\.5"):
        Edits(delete=1.5).check(SPECIALS)
    with pytest.raises(UsageError, match="mask token"):
        Edits(mask=0.1).check(
            type(SPECIALS)(
                **{
                    name: getattr(SPECIALS, name)
                    for name in ("cls", "sep", "pad", "unknown", "vocabulary", "first_ordinary")
                },
                mask=None,
            )
        )
