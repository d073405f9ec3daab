"""Whatever a record of labels holds: nothing is lost without a word, and what is wrong is one line."""

from __future__ import annotations

import math
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pretrieve.core.errors import PretrieveError
from pretrieve.pipeline.finetune.label_formats import fields as names
from pretrieve.pipeline.finetune.label_formats.example import BadLabelError, Example
from pretrieve.pipeline.finetune.label_formats.fields import empty
from pretrieve.pipeline.finetune.label_formats.records import example_of
from pretrieve.pipeline.finetune.label_report import LabelReport
from pretrieve.pipeline.finetune.read_labels import LabelSource, read_source

KNOWN = [
    *names.QUERY, *names.QUERY_ID, *names.POSITIVE, *names.POSITIVE_ID, *names.NEGATIVE, *names.NEGATIVE_ID,
    *names.LIST, *names.LIST_ID, *names.POSITIVE_SCORES, *names.NEGATIVE_SCORES, *names.LABEL, *names.ANSWERS,
    "negative_1", "negative_2", "neg_10", "document_1", "document_2", "Query", "POSITIVE", "prompt", "type",
]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(["a river", "beta stone", "x y z", "", " ", "d1"]), st.text(max_size=4))
NUMBERS = st.one_of(st.integers(-2, 3), st.floats(0, 1), st.booleans())
SCALARS = st.one_of(TEXTS, NUMBERS, st.none())
INNER = st.one_of(st.sampled_from(["text", "title", "id", "score", "by"]), st.text(max_size=3))
OBJECTS = st.dictionaries(INNER, SCALARS, max_size=4)
DOCUMENTS = st.one_of(TEXTS, OBJECTS, st.integers(0, 9), st.none())
VALUES = st.one_of(
    SCALARS, OBJECTS, st.lists(DOCUMENTS, max_size=3), st.lists(NUMBERS, max_size=3),
    st.dictionaries(st.text(max_size=2), st.lists(DOCUMENTS, max_size=2), max_size=2),
)  # fmt: skip
ANY = st.dictionaries(st.one_of(st.sampled_from(KNOWN), st.text(max_size=5)), VALUES, max_size=7)
FEW = st.dictionaries(st.sampled_from(KNOWN), st.one_of(TEXTS, NUMBERS, VALUES), min_size=1, max_size=3)
GOOD = OBJECTS.map(lambda found: {**found, "text": "a river", "title": "t", "id": 1})
LIKELY = st.builds(  # records that are read: most random ones are not
    lambda query, positive, rest: {"query": query, "positive": positive, **rest},
    st.sampled_from(["what", "why not"]), st.one_of(st.just("a river"), GOOD, st.lists(GOOD, max_size=2)), FEW,
)  # fmt: skip


def said(example: Example) -> Any:
    """All that an example says, comparable."""
    sides = [
        [(repr(scored.item), "" if math.isnan(scored.score) else scored.score) for scored in side]
        for side in (example.positives, example.negatives)
    ]
    counts = {name: count for name, count in example.counts.items() if count}
    return example.query, example.name, sides, list(example.answers), sorted(example.unused), counts


def tried(record: object) -> Any:
    try:
        return said(example_of(record, "here"))
    except BadLabelError as error:
        return error.reason, error.detail


@settings(max_examples=600, deadline=None)
@given(st.one_of(LIKELY, ANY))
def test_a_field_is_used_or_named(record: dict[str, Any]) -> None:
    try:
        example = example_of(record, "here")
    except BadLabelError as error:
        assert 0 < len(error.reason) < 40  # noqa: PT017 - a count has its name from it
        return
    for name in record:
        if name in example.unused or empty(record[name]):
            continue
        without = {other: value for other, value in record.items() if other != name}
        assert tried(without) != said(example), f"{name!r} changes nothing and is not named"


@settings(max_examples=200, deadline=None)
@given(st.lists(GOOD, min_size=1, max_size=3), st.sampled_from(["pos", "negatives"]))
def test_a_field_of_a_document_is_used_or_named(documents: list[dict[str, Any]], side: str) -> None:
    record = {"query": "what", "positive": "a river"} | {side: documents}
    if side == "pos":
        del record["positive"]
    unused = example_of(record, "here").unused
    known = {*names.DOCUMENT_TEXT, *names.DOCUMENT_TITLE, *names.DOCUMENT_ID}
    for document in documents:
        if not empty(document):
            for name, value in document.items():
                assert empty(value) or name.strip().casefold() in known or f"{side}.{name}" in unused


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(LIKELY, ANY, st.lists(DOCUMENTS, max_size=4), SCALARS), max_size=4), st.booleans())
def test_any_file_is_read_or_one_line(tmp_path, records: list[Any], array: bool) -> None:
    path = tmp_path / "labels.json"
    path.write_bytes(orjson.dumps(records) if array else b"\n".join(map(orjson.dumps, records)))
    for policy in ("fail", "skip"):
        report = LabelReport()
        try:
            labels = read_source(LabelSource(path=path, on_bad=policy), tmp_path / "records", report)
        except PretrieveError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert len(labels) == report.queries
            assert not any("\n" in line for line in report.lines("labels.json"))
            assert policy == "skip" or not report.faults
