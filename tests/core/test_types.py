"""Batches can be cut by examples and by rows: equal to a slow twin made of lists."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pretrieve.core.types import Batch, Rows, SpecialTokens


def make(size: int, width: int, seed: int) -> Batch:
    rng = np.random.default_rng(seed)
    rows = Rows.of([rng.integers(0, 99, rng.integers(0, 5)).tolist() for _ in range(size * width)])
    return Batch(
        rows=rows,
        shape=(size, width),
        documents=rng.integers(0, 50, size),
        per_token={"labels": rng.integers(0, 9, len(rows.tokens))},
        per_row={"prompt": rng.random((size * width, 2))},
        per_example={"kept": rng.random(size) < 0.5},
    )


def as_lists(batch: Batch) -> list[dict[str, object]]:
    """A batch as plain lists of examples, of rows."""
    size, width = batch.shape
    offsets = batch.rows.offsets
    return [
        {
            "document": int(batch.documents[b]),
            "kept": bool(batch.per_example["kept"][b]),
            "rows": [
                {
                    "tokens": batch.rows.row(r).tolist(),
                    "labels": batch.per_token["labels"][offsets[r] : offsets[r + 1]].tolist(),
                    "prompt": batch.per_row["prompt"][r].tolist(),
                }
                for r in range(b * width, (b + 1) * width)
            ],
        }
        for b in range(size)
    ]


batches = st.builds(make, st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))


@given(batch=batches, cuts=st.tuples(st.integers(0, 6), st.integers(0, 6)))
def test_slice(batch: Batch, cuts: tuple[int, int]) -> None:
    start, stop = sorted(min(cut, len(batch)) for cut in cuts)
    part = batch.slice(start, stop)
    assert part.shape == (stop - start, batch.shape[1])
    assert as_lists(part) == as_lists(batch)[start:stop]
    assert part.rows.offsets[0] == 0
    assert part.rows.tokens.base is not None or part.rows.tokens is batch.rows.tokens  # no copy


@given(batch=batches, n=st.integers(0, 3))
def test_column(batch: Batch, n: int) -> None:
    n %= batch.shape[1]
    part = batch.column(n)
    assert part.shape == (len(batch), 1)
    expected = [{**example, "rows": [example["rows"][n]]} for example in as_lists(batch)]
    assert as_lists(part) == expected


@given(batch=batches)
def test_slices_make_up_the_batch(batch: Batch) -> None:
    assert [one for b in range(len(batch)) for one in as_lists(batch.slice(b, b + 1))] == as_lists(batch)


def test_rows() -> None:
    rows = Rows.of([[1, 2], [], [3]])
    assert (len(rows), rows.lengths.tolist(), rows.row(1).tolist(), rows.row(2).tolist()) == (3, [2, 0, 1], [], [3])
    assert rows.tokens.dtype == rows.offsets.dtype == np.int64
    assert len(Rows.of([])) == 0
    assert Rows.of([]).offsets.tolist() == [0]


def test_tokens_around() -> None:
    def specials(cls: int | None, sep: int | None) -> SpecialTokens:
        return SpecialTokens(cls=cls, sep=sep, mask=None, pad=0, unknown=1, vocabulary=9, first_ordinary=2)

    assert [specials(*pair).around() for pair in ((2, 3), (None, 3), (None, None))] == [2, 1, 0]
