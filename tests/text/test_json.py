"""JSON: every shape that records come in, faults by place, and bounded memory."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core.errors import DataError
from pretrieve.text.corpus import ReadReport, read
from pretrieve.text.formats.json_values import JsonValues

RECORDS = [{"id": f"d{n}", "title": f"T{n}", "text": f'text {n}: "quotes", \\ and {{ brackets ]'} for n in range(3)]
TEXTS = {record["id"]: record["text"] for record in RECORDS}
SHAPES: dict[str, Any] = {
    "list": RECORDS,
    "under a key": {"version": "1.1", "data": RECORDS},
    "under two keys": {"responseHeader": {"status": 0}, "response": {"numFound": 3, "docs": RECORDS}},
    "beside others": {"queries": [{"id": "q", "text": "no document"}], "corpus": RECORDS},
    "texts by id": TEXTS,
    "records by id": {record["id"]: {"title": record["title"], "text": record["text"]} for record in RECORDS},
    "corpus of texts by id": {"queries": {"q": "what is it?"}, "corpus": TEXTS, "relevant_docs": {"q": ["d1"]}},
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("limit", [10_000, 250])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(tmp_path: Path, shape: str, indent: int | None, limit: int) -> None:
    """The same records in every shape, in files that are shorter and longer than a record may be."""
    path = tmp_path / "a.json"
    path.write_text("\n " + json.dumps(SHAPES[shape], indent=indent))
    assert {d.id: d.text for d in read([path], max_record_bytes=limit)} == TEXTS


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.ndjson", "a.jl", "a.jsonlines", "named"])
def test_objects_one_after_the_other(tmp_path: Path, name: str, indent: int | None) -> None:
    path = tmp_path / name
    path.write_text("\n".join(json.dumps(record, indent=indent) for record in RECORDS))
    assert {d.id: d.text for d in read([path])} == TEXTS


def test_one_object_is_one_record(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(RECORDS[0], indent=1))
    assert [d.id for d in read([path])] == ["d0"]
    path.write_text('{"title": "Article", "sections": [{"heading": "A"}], "text": "All of it.", "tags": {"a": "b"}}')
    assert [(d.title, d.text) for d in read([path])] == [("Article", "All of it.")]


def test_paragraphs_of_articles(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    article = {"title": "A", "paragraphs": [{"context": "First one.", "qas": []}, {"context": "Second one."}]}
    path.write_text(json.dumps({"version": "2.0", "data": [article]}))
    assert [(d.title, d.text) for d in read([path])] == [("A", "First one.\n\nSecond one.")]


def test_lists_of_texts_have_places_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('["one text", "another text",\n"a third"]')
    assert [(d.id, d.text) for d in read([path])] == [
        (f"{path}:1", "one text"),
        (f"{path}:1#2", "another text"),
        (f"{path}:2", "a third"),
    ]


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(SHAPES["beside others"]))
    report = ReadReport()
    assert len(list(read([path], report=report))) == 3
    assert f"{path}: with lists of records that are not read (queries)" in report.examples


@pytest.mark.parametrize(
    ("content", "good", "reason", "line"),
    [
        ('[{"id": 1, "text": "a b"},\n{id: 2},\n{"id": 3, "text": "c d"}]', 2, "malformed JSON", 2),
        ('[{"id": 1, "text": "a b"},\n7,\n{"id": 3, "text": "c d"}]', 2, "not an object", 2),
        ('[{"id": 1, "text": "a b"},\n{"id": 2, "text": "' + "x" * 3000 + '"},\n{"text": "c d"}]', 2, "too long", 2),
        ('[{"id": 1, "text": "a b"},\n{"id": 2, "text": "c', 1, "malformed JSON", 2),
        ('[{"id": 1, "text": "a b"},\n', 1, "malformed JSON", 2),
        ('{"id": 1, "text": "a b"}\n{"id": 2, "text": broken}\n{"id": 3, "text": "c d"}', 2, "malformed JSON", 2),
        ('{"id": 1, "text": "a b"}\n{"id": 2, "te\n{"id": 3, "text": "c d"}', 2, "malformed JSON", 2),
        ('[{"id": 1, "text": "a b"},\n{"id": 2, "text": "\\ud800"}]', 1, "lone surrogate", 2),
        ('[{"id": 1, "text": "a b"}]\ntrailing', 1, "malformed JSON", 2),
    ],
)
def test_faults_have_their_place(tmp_path: Path, content: str, good: int, reason: str, line: int) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    report = ReadReport()
    assert len(list(read([path], on_bad="skip", report=report, max_record_bytes=2000))) == good
    assert dict(report.faults) == {reason: 1}
    assert report.examples[0].startswith(f"{path}:{line}: {reason}")


@pytest.mark.parametrize("content", ["", "42", '"text"', "{", "[", "]", '{"a": ', "{}", "[]", '{"strict": true}'])
def test_what_holds_no_document_is_one_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(DataError):
        list(read([path]))


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.text(max_size=6)
    | st.sampled_from(['"', "\\", '\\"', "]}", "{["]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=300)
@given(elements=st.lists(values, max_size=5), size=st.integers(1, 9), indent=st.sampled_from([None, 1]))
def test_values_are_divided_rightly_wherever_chunks_end(elements: list[Any], size: int, indent: int | None) -> None:
    data = json.dumps(elements, indent=indent).encode()
    place = JsonValues((data[at : at + size] for at in range(0, len(data), size)), 10_000)
    place.peek()
    assert [json.loads(place.value() or b"") for _ in place.items()] == elements
    assert not place.cut
    assert place.peek() == b""
    assert place.line == 1 + data.count(b"\n")


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60) | st.text('[]{}",:\\ \n1a', max_size=60).map(str.encode))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "a.json"
    path.write_bytes(data)
    with contextlib.suppress(DataError):
        list(read([path], on_bad="skip"))


def test_memory_is_bounded(tmp_path: Path) -> None:
    """A record of 150 MB is passed over, blanks of 800 MB are read, in a process of less than 250 MB."""
    long, blank = tmp_path / "long.json", tmp_path / "blank.json.zst"
    with long.open("wb") as file:
        file.write(b'[{"text": "good one"}, {"text": "')
        for _ in range(150):
            file.write(b"word " * 200_000)
        file.write(b'"}, {"text": "good two"}]')
    packer = zstandard.ZstdCompressor().compressobj()
    spaces = [packer.compress(b" " * (1 << 22)) for _ in range(200)]
    blank.write_bytes(packer.compress(b"[") + b"".join(spaces) + packer.compress(b'{"text": "c d"}]') + packer.flush())
    script = (
        "import sys; from pretrieve.text.corpus import read, ReadReport\n"
        "report = ReadReport(); texts = [d.text for d in read(sys.argv[1:], on_bad='skip', report=report)]\n"
        "assert texts == ['good one', 'good two', 'c d'], texts\n"
        "assert dict(report.faults) == {'too long': 1}, report.faults\n"
        "status = open('/proc/self/status').read()\n"  # getrusage counts the process that started this one
        "assert int(status.split('VmHWM:')[1].split()[0]) < 250 << 10, status\n"
    )
    subprocess.run([sys.executable, "-c", script, long, blank], check=True)
