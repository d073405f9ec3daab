"""Documents on disk: what goes in comes out, in order and at random, and damage is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, DataError, UsageError
from pretrieve.core.types import Document
from pretrieve.text.documents import Documents
from pretrieve.text.seen import Seen


def some(count: int) -> list[Document]:
    return [Document(id=f"d{i}", title="t" * (i % 3), text=f"text \n {i} é😀", group="en") for i in range(count)]


def test_round_trip_in_order_and_at_random(tmp_path: Path) -> None:
    documents = Documents.write(tmp_path / "docs", iter(some(300)), meta={"note": 1})
    assert len(documents) == 300
    assert list(documents) == some(300)
    assert [documents[i] for i in (0, 299, -1, 17)] == [some(300)[i] for i in (0, 299, -1, 17)]
    with pytest.raises(IndexError):
        documents[300]
    order = np.array([5, 5, 299, 0])
    assert [d.id for batch in documents.batches(3, order) for d in batch] == ["d5", "d5", "d299", "d0"]
    assert [len(batch) for batch in documents.batches(128)] == [128, 128, 44]
    assert (documents.meta["note"], documents.meta["documents"]) == (1, 300)


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=20))
def test_any_text_round_trips(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    made = [Document(id=str(i), text=text) for i, text in enumerate(texts)]
    assert list(Documents.write(tmp_path_factory.mktemp("any") / "docs", made)) == made


def test_batches_are_bounded_in_bytes(tmp_path: Path) -> None:
    big = [Document(id=str(i), text="x" * 1_500_000) for i in range(8)]
    documents = Documents.write(tmp_path / "docs", big)
    assert [len(batch) for batch in documents.batches()] == [3, 3, 2]


def test_fingerprint_is_of_contents_and_order(tmp_path: Path) -> None:
    same = [Documents.write(tmp_path / name, some(5)).fingerprint for name in "ab"]
    other = Documents.write(tmp_path / "c", reversed(some(5))).fingerprint
    assert same[0] == same[1] != other


def test_sample_is_even_and_limited(tmp_path: Path) -> None:
    documents = Documents.write(tmp_path / "docs", some(1000))
    size = int(documents.offsets[-1])
    assert documents.sample(size * 2).tolist() == list(range(1000))
    tenth = documents.sample(size // 10)
    assert len(tenth) in (99, 100)
    assert np.ptp(np.diff(tenth)) <= 1
    assert documents.sample(1).tolist() == [0]


def test_nothing_to_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no documents"):
        Documents.write(tmp_path / "docs", [])

    def broken() -> object:
        yield from some(3)
        raise DataError("a.jsonl:4: bad")

    with pytest.raises(DataError, match=r"a\.jsonl:4"):
        Documents.write(tmp_path / "docs", broken())
    assert list(tmp_path.iterdir()) == []


def test_damage_is_found(tmp_path: Path) -> None:
    Documents.write(tmp_path / "docs", some(5000))
    records = tmp_path / "docs" / "records.jsonl"
    assert records.stat().st_size > 200_000
    with records.open("r+b") as file:  # in the middle, where opening does not look
        file.seek(100_000)
        byte = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CorruptError, match=r"records\.jsonl: expected sha256"):
        files.verify(tmp_path / "docs")
    os.truncate(records, 150_000)
    with pytest.raises(CorruptError, match=r"records\.jsonl: expected"):
        Documents.open(tmp_path / "docs")
    records.unlink()
    with pytest.raises(CorruptError, match=r"records\.jsonl is missing"):
        Documents.open(tmp_path / "docs")
    with pytest.raises(UsageError, match="no such folder"):
        Documents.open(tmp_path / "none")


@settings(deadline=None, max_examples=100)
@given(st.lists(st.binary(max_size=3), max_size=200))
def test_seen_is_a_set(texts: list[bytes]) -> None:
    seen, twin = Seen(), set[bytes]()
    for text in texts:
        assert seen.add(text) == (text not in twin)
        twin.add(text)
    assert len(seen) == len(twin)


def test_seen_grows() -> None:
    seen = Seen()
    assert all(seen.add(str(i).encode()) for i in range(20_000))
    assert not any(seen.add(str(i).encode()) for i in range(20_000))
    assert len(seen) == 20_000
