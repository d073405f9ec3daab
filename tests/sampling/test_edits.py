"""Edits: their rates, and what they never do."""

import itertools

import numpy as np
import pytest

from pretrieve.core.errors import UsageError
from pretrieve.core.rng import generator
from pretrieve.sampling.edits import Edits, delete, drop_shared, shuffle
from pretrieve.sampling.spans import Positions, lay_out, surround
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


def dropped(tokens: list[int], rows: list[list[int]], chosen: list[bool], fewest: int) -> list[list[int]]:
    """``drop_shared`` in plain Python."""
    found = []
    for number, (query, key) in enumerate(zip(rows[::2], rows[1::2], strict=True)):
        words = {tokens[place] for place in query if place >= 0}
        left = [place for place in key if place < 0 or tokens[place] not in words]
        enough = sum(place >= 0 for place in left) >= fewest
        found += [query, left if chosen[number] and enough else key]
    return found


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
@pytest.mark.parametrize("fewest", [0, 1, 4])
def test_drop_shared_is_what_plain_python_drops(fewest: int, dtype: type) -> None:
    rng = generator(fewest, "test")
    tokens = rng.integers(0, 40, 500).astype(dtype)
    rows: list[list[int]] = []
    for _ in range(300):
        inner = rng.integers(0, 500, int(rng.integers(0, 12))).tolist()
        rows.append([[-1, *inner, -2], inner, [-1, *inner], [*inner[:3], -2, *inner[3:]]][int(rng.integers(4))])
    chosen = rng.random(150) < 0.6
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    positions = Positions(np.array([place for row in rows for place in row], np.int64), offsets)
    after = drop_shared(tokens, positions, chosen, 40, fewest)
    found = [after.values[a:b].tolist() for a, b in itertools.pairwise(after.offsets)]
    assert found == dropped(tokens.tolist(), rows, chosen.tolist(), fewest)
    lengths = np.array([len(row) for row in found])
    assert (lengths[::2] == positions.lengths[::2]).all(), "queries are never touched"
    assert 20 < (lengths[1::2] < positions.lengths[1::2]).sum() < 150
    assert (after.values < 0).sum() == (positions.values < 0).sum(), "special tokens stay"


def test_drop_shared_compares_the_words_of_a_pair_and_of_no_other() -> None:
    tokens = np.arange(10)
    starts = np.array([[0], [1], [5], [1]])  # the second key holds the words of the first query, and none of its own
    before = lay_out(starts, np.full((4, 1), 4))
    after = drop_shared(tokens, before, np.array([True, True]), 10, 1)
    assert [after.values[a:b].tolist() for a, b in itertools.pairwise(after.offsets)] == [
        [0, 1, 2, 3], [4], [5, 6, 7, 8], [1, 2, 3, 4],
    ]  # fmt: skip
