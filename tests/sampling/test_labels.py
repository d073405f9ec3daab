"""Labels: choosing queries keeps what belongs to them together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pretrieve.core.types import Document, Rows
from pretrieve.sampling.labels import Labels
from pretrieve.text.documents import Documents


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    texts = ["one", "two", "three", "ask a", "ask b", "ask c", "", ""]
    records = Documents.write(tmp_path / "records", [Document(id=str(n), text=text) for n, text in enumerate(texts)])
    return Labels(
        records=records,
        size=3,
        places=np.array([3, 4, 5]),
        ids=["a", "b", "c"],
        canonical=np.arange(3),
        positives=Rows.of([[0], [1, 2], [2]]),
        negatives=Rows.of([[1, 2], [], [0]]),
        teacher=(np.array([0, 1, 2, 3], np.float32), np.array([10, 11, 12], np.float32)),
    )


def test_select_keeps_rows_texts_and_scores_together(labels) -> None:
    some = labels.select(np.array([2, 0]))
    assert some.ids == ["c", "a"]
    assert some.texts() == ["ask c", "ask a"]
    assert [some.positives.row(n).tolist() for n in range(2)] == [[2], [0]]
    assert [some.negatives.row(n).tolist() for n in range(2)] == [[0], [1, 2]]
    assert [side.tolist() for side in some.teacher] == [[3, 0], [12, 10, 11]]
    assert len(labels.select(np.zeros(0, np.int64))) == 0


def test_take_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    rows = Rows.of([rng.integers(0, 99, size=rng.integers(0, 5)) for _ in range(20)])
    index = rng.integers(0, 20, size=50)
    found = rows.take(index)
    assert [found.row(n).tolist() for n in range(50)] == [rows.row(n).tolist() for n in index]


def test_other_negatives_have_no_scores(labels) -> None:
    other = labels.with_negatives(Rows.of([[2], [0], []]))
    assert np.isnan(other.teacher[1]).all()
    assert len(other.teacher[1]) == 2
    assert other.teacher[0] is labels.teacher[0]


def test_the_fingerprint_knows_all_that_decides_training(labels) -> None:
    from dataclasses import replace

    known = {labels.fingerprint}
    for changes in (
        {"positives": Rows.of([[0, 1], [2], [2]])},
        {"negatives": Rows.of([[1], [2], [0]])},
        {"places": np.array([4, 3, 5])},
        {"teacher": None},
        {"teacher": (labels.teacher[0], np.array([10, 11, 13], np.float32))},
    ):
        known.add(replace(labels, **changes).fingerprint)
    assert len(known) == 6
    assert replace(labels).fingerprint == labels.fingerprint
