"""Documents that a program holds: every kind gives the same documents, and what is wrong has its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.text.memory import documents_of, held, holding, records_of

TEXTS = ["a violin", "a castle", "a bridge"]
RECORDS = [{"id": 7, "text": "a violin", "title": "Music"}, {"text": "a castle"}, {"_id": "x", "contents": "a bridge"}]


class Stream:
    """What gives an Arrow stream and nothing else, as results of data bases do."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return pa.table({"text": TEXTS}).__arrow_c_stream__(requested_schema)


def read(value: object) -> tuple[list[tuple[str, str, str]], list[str]]:
    faults: list[str] = []
    found = [
        (one.id, one.title, one.text) for one in documents_of(value, "texts", lambda f: faults.append(str(f)), print)
    ]
    return found, faults


@pytest.mark.parametrize(
    "value",
    [
        TEXTS,
        tuple(TEXTS),
        (text for text in TEXTS),
        {0: TEXTS[0], "1": TEXTS[1], "2": {"text": TEXTS[2]}},
        [{"text": text} for text in TEXTS],
        [Document(id=str(number), text=text) for number, text in enumerate(TEXTS)],
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pa.array(TEXTS),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        pa.table({"text": TEXTS}),
        pa.record_batch({"text": TEXTS}),
        pa.table({"text": TEXTS}).to_reader(),
        Stream(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_gives_the_same_documents(value):
    assert read(value) == ([(str(number), "", text) for number, text in enumerate(TEXTS)], [])


def test_records_have_the_fields_of_files():
    assert read(RECORDS)[0] == [("7", "Music", "a violin"), ("1", "", "a castle"), ("x", "", "a bridge")]
    table = pa.table({"id": [1, 2], "text": TEXTS[:2], "title": [None, "Old"], "vector": [[0.1], [0.2]]})
    assert read(table)[0] == [("1", "", "a violin"), ("2", "Old", "a castle")]
    assert read({"d1": {"title": "Old", "text": "a castle"}})[0] == [("d1", "Old", "a castle")]


def test_pandas_and_polars():
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    wanted = [(str(number), "", text) for number, text in enumerate(TEXTS)]
    for value in (
        pandas.DataFrame({"text": TEXTS}, index=[5, 6, 7]),
        pandas.Series(TEXTS, index=[5, 6, 7]),
        pandas.Series(TEXTS, dtype="string"),
        pandas.Series(TEXTS, dtype="category"),
        polars.DataFrame({"text": TEXTS}),
        polars.Series(TEXTS),
    ):
        assert read(value) == (wanted, [])
    missing = pandas.DataFrame({"text": ["a", None, "b"], "title": [None, None, float("nan")], "id": [1, 2, 3]})
    assert read(missing) == ([("1", "", "a"), ("3", "", "b")], ["texts[1]: no text (its fields: text, title, id)"])
    many = pandas.DataFrame({"text": [f"text {number}" for number in range(1000)]})
    assert [text for _, _, text in read(many)[0]] == list(many["text"])
    with pytest.raises(UsageError, match="collect"):
        read(polars.DataFrame({"text": TEXTS}).lazy())


def test_bad_items_have_their_place():
    found, faults = read(["a", None, "", " \n", float("nan"), 3, b"x", ["a"], "nul \0", "half \ud800", {"title": "no"}])
    assert found == [("0", "", "a"), ("5", "", "3"), ("6", "", "x"), ("7", "", "a"), ("10", "no", "no")]
    assert [line.partition(":")[0] for line in faults] == [f"texts[{number}]" for number in (1, 2, 3, 4, 8, 9)]
    assert "empty document" in faults[1]
    assert "no text" in faults[0]
    assert read({"k": None})[1] == ["texts['k']: no text (its fields: id, text)"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"id": "1", "text": "a", "title": "b"}, "one record"),
        ({"train": [{"text": "a"}], "test": []}, "one split"),
        ({"a"}, "no order"),
        (None, "is None"),
        (np.array("a"), "ndarray"),
        (3, "of type int"),
        ("a", "of type str"),
        (b"a", "of type bytes"),
    ],
)
def test_other_kinds_are_one_clear_line(value, said):
    with pytest.raises(UsageError, match=said) as caught:
        read(value)
    assert "\n" not in str(caught.value)
    assert "give" in str(caught.value).lower()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@given(anything)
def test_whatever_it_is_every_item_is_a_document_or_a_fault_or_it_is_refused(value):
    try:
        records = list(records_of(value))
        found, faults = read(value)
    except UsageError:
        return
    assert len(found) + len(faults) == len(records) == len(value)


def test_generators_are_read_as_they_are_needed():
    taken = []

    def texts():
        for number in range(100):
            taken.append(number)
            yield f"text {number}"

    records = records_of(texts())
    next(records)
    assert taken == [0]


def test_a_name_is_held_for_a_block():
    with holding("name", lambda: records_of(TEXTS)) as source:
        assert source == "memory:name"
        assert len(list(held("name"))) == 3
    with pytest.raises(UsageError, match="memory:name"):
        held("name")
