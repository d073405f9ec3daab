"""``LabelReader`` by itself: what is new is said by each call, and nothing depends on who reads a stream."""

from __future__ import annotations

import math

import pytest

from pretrieve.core.errors import DataError
from pretrieve.core.types import Document
from pretrieve.pipeline.finetune.label_reader import LabelReader
from pretrieve.text.documents import Documents

NO_SCORE = math.nan


def test_documents_are_numbered_and_written_once() -> None:
    reader = LabelReader()
    first = Document(id="a", text="One text.")
    assert reader.document(first) == (0, first)
    assert reader.document(Document(id="b", text="One text.")) == (0, None), "a copy is not written again"
    number, renamed = reader.document(Document(id="a", text="Another text."))
    assert number == 1
    assert renamed is not None
    assert renamed.id not in ("", "a"), "the id is that of another text"
    assert reader.add(Document(id="c", text="One text.")) == 2, "a collection may hold copies"
    assert (reader.number("a"), reader.number("c"), reader.number("x")) == (0, 2, None)


def test_queries_with_the_same_text_are_one(tmp_path) -> None:
    reader = LabelReader()
    documents = [Document(id=name, text=f"The text of {name}.") for name in "abc"]
    for document in documents:
        reader.add(document)
    reader.query("q1", "what is a", ({0: NO_SCORE}, {1: 0.5}), "labels:1", ["a"])
    reader.query("second", "what is c", ({2: NO_SCORE}, {}), "labels:2")
    reader.query("other", "what is a", ({0: 0.9, 2: 0.1}, {1: 0.7}), "labels:3", ["a", "b"])
    queries = list(reader.queries())
    assert [(query.id, query.text) for query in queries] == [("query q1", "what is a"), ("query second", "what is c")]
    labels = reader.labels(Documents.write(tmp_path / "records", [*documents, *queries]))
    assert (len(reader), labels.size, labels.ids) == (2, 3, ["q1", "second"])
    assert labels.positives.row(0).tolist() == [0, 2]
    assert labels.negatives.row(0).tolist() == [1]
    assert labels.answers == [["a", "b"], []]
    assert labels.teacher is not None
    assert labels.teacher[0].tolist()[:2] == pytest.approx([0.9, 0.1])
    assert labels.teacher[1].tolist() == pytest.approx([0.5]), "a score that is known stays"
    with pytest.raises(DataError, match="labels:4: the id 'q1' is that of another query"):
        reader.query("q1", "what is d", ({0: NO_SCORE}, {}), "labels:4")
