"""From fields to documents: names by convention, values of other types, characters, ids that several files have."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.types import Document
from pretrieve.text.corpus import Fields, ReadReport, read


def documents(path: Path, *records: dict[str, object], **fields: str) -> list[Document]:
    path.write_bytes(b"\n".join(map(orjson.dumps, records)))
    return list(read([path], fields=Fields(**fields)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"_id": "a", "id": "b", "title": "T", "text": "x y", "contents": "no"}, ("a", "T", "x y")),
        ({"ID": "a", "Title": "T", "TEXT": "x y"}, ("a", "T", "x y")),
        ({"docid": "a", "headline": "T", "content": "x y"}, ("a", "T", "x y")),
        ({"pid": 7, "name": "T", "description": "x y"}, ("7", "T", "x y")),
        ({"uuid": "a", "subject": "T", "abstract": "no", "body": "x y"}, ("a", "T", "x y")),
        ({"id": "a", "question": "What?", "answer": "x y"}, ("a", "What?", "x y")),
        ({"id": "a", "question": "What?", "text": "x y"}, ("a", "", "x y")),
        ({"id": "a", "summary": "no", "body": "x y", "Text": "no"}, ("a", "", "x y")),
        ({"id": "a", "text": "", "abstract": "x y"}, ("a", "", "x y")),
        ({"id": "a", "text": None, "abstract": "x y"}, ("a", "", "x y")),
        ({"id": "a", "tokens": ["x", "y"]}, ("a", "", "x y")),
        ({"id": "a", "paragraphs": ["x y", None, "z z"]}, ("a", "", "x y\n\nz z")),
        ({"id": "a", "passages": [{"text": "x y"}, {"passage": "z z"}]}, ("a", "", "x y\n\nz z")),
        ({"id": "a", "body": {"text": "x y", "format": "plain"}}, ("a", "", "x y")),
        ({"id": "a", "title": 1984, "text": 2001}, ("a", "1984", "2001")),
        ({"id": "a", "title": "Only a title", "text": ""}, ("a", "Only a title", "Only a title")),
        ({"id": "a", "title": "Only a title"}, ("a", "Only a title", "Only a title")),
    ],
)
def test_names_and_values(tmp_path: Path, record: dict[str, object], expected: tuple[str, str, str]) -> None:
    (document,) = documents(tmp_path / "a.jsonl", record)
    assert (document.id, document.title, document.text) == expected


def test_names_that_are_given_count_in_any_case(tmp_path: Path) -> None:
    (document,) = documents(tmp_path / "a.jsonl", {"Words": "x y", "text": "no"}, text="words")
    assert document.text == "x y"
    (document,) = documents(tmp_path / "a.jsonl", {"words": "x y", "WORDS": "no"}, text="words")
    assert document.text == "x y"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("in\xadvis\u200bib\ufefff\u2060le", "invisibfle"),
        ("\u202aleft\u202c to \u200fright\u2069", "left to right"),
        ("a\xa0b\x07c\r\nd\re", "a\xa0b c\nd\ne"),
        ("کتاب\u200cها", "کتاب\u200cها"),
        ("👩\u200d💻 works", "👩\u200d💻 works"),
        ("日本\u3000語\ttab", "日本\u3000語\ttab"),
        ("plain\x7ftext\x0b.", "plain text ."),
    ],
)
def test_characters(tmp_path: Path, text: str, expected: str) -> None:
    (document,) = documents(tmp_path / "a.jsonl", {"text": text})
    assert document.text == expected


def test_what_was_guessed_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    report = ReadReport()
    records = [{"title": f"Only {n}", "text": "", "state": "open door"} for n in range(3)]
    path.write_bytes(b"\n".join(map(orjson.dumps, records)))
    assert len(list(read([path], report=report))) == 3
    assert f"{path}: with documents without text, read by their title (3 of its documents)" in report.examples
    assert f"{path}: with columns not used (state)" in report.examples
    assert report.facts()["notes"] == {
        "with documents without text, read by their title": 1,
        "with columns not used": 1,
    }


@pytest.mark.parametrize("name", ["products.csv", "products.jsonl"])
def test_a_file_without_a_text_field(tmp_path: Path, name: str) -> None:
    """In a folder its words are joined, and that is said; a file that is named is refused with its fields."""
    record = {"id": "7", "colour": "dark red", "use": "for long walks in the rain", "price": "12.5"}
    path = tmp_path / name
    rows = [",".join(record), ",".join(record.values())]
    path.write_bytes("\n".join(rows).encode() if name.endswith("csv") else orjson.dumps(record))
    report = ReadReport()
    (document,) = read([tmp_path], report=report)
    assert (document.id, document.text) == ("7", "colour: dark red\nuse: for long walks in the rain")
    assert report.notes == {"without a text field, read as lines of name: value": 1}
    with pytest.raises((UsageError, DataError), match=r"no field text|no text"):
        list(read([path]))


def test_a_good_record_behind_a_refused_one_with_the_same_id_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "text": ""}\n{"id": "a", "text": "a good text"}\n{"id": "b", "text": "a good text"}\n')
    report = ReadReport()
    assert [d.id for d in read([path], on_bad="skip", report=report)] == ["a"]
    assert (dict(report.faults), report.duplicates) == ({"empty document": 1}, 1)


def test_files_of_a_folder_may_have_the_same_ids(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("id,text\n1,a red shoe\n2,a blue shoe\n")
    (tmp_path / "tickets.csv").write_text(
        "id,text\n1,it does not work\n2,a blue shoe\n3,please help\n1,again the first\n"
    )
    report = ReadReport()
    found = {d.id: d.text for d in read([tmp_path], report=report)}
    ticket = tmp_path / "tickets.csv"
    assert found == {"1": "a red shoe", "2": "a blue shoe", f"{ticket}#1": "it does not work", "3": "please help"}
    assert (dict(report.faults), report.duplicates) == ({"duplicate id": 1}, 1)
    assert f"{ticket}: with ids that another file has, named FILE#id (1 of its documents)" in report.examples


def test_ids_by_a_wide_convention_may_repeat(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    found = documents(
        path, {"docid": "D", "text": "one"}, {"docid": "D", "text": "two"}, {"docid": "E", "text": "three"}
    )
    assert [d.id for d in found] == ["D", f"{path}:2", "E"]
    with pytest.raises(DataError, match="duplicate id"):
        documents(path, {"docid": "D", "text": "one"}, {"docid": "D", "text": "two"}, id="docid")
