"""Files of questions in the three usual forms, and what is wrong with others."""

import gzip

import pytest

from pretrieve.core.errors import DataError, UsageError
from pretrieve.sampling.question_files import Question, QuestionReport, read_questions

EXPECTED = [
    Question(text="who sang it", answers=("Ann Lee", 'the "A" band')),
    Question(text="when was it", answers=("1973",)),
]


def test_the_usual_forms_are_read(tmp_path) -> None:
    ours, nq, table = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz", tmp_path / "c.csv"
    ours.write_text(
        '{"question": "who  sang it", "answers": ["Ann Lee", "the \\"A\\" band", "Ann Lee"]}\n\n'
        '{"question": "when was it", "answers": "1973"}\n'
    )
    nq.write_bytes(gzip.compress(ours.read_text().replace("answers", "answer").encode()))
    table.write_text("who sang it\t\"['Ann Lee', 'the \"\"A\"\" band']\"\nwhen was it\t['1973']\n")
    for path in (ours, nq, table):
        assert read_questions(path) == EXPECTED


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.jsonl",
            '{"question": "x", "answers": ["y"]}\n{"query": "x", "answers": ["y"]}\n',
            "a.jsonl:2: no question",
        ),
        ("a.jsonl", '{"question": "x", "answers": []}\n', "a.jsonl:1: no list of answers"),
        ("a.jsonl", '{"question": "x", "answers": [1]}\n', "no list of answers"),
        ("a.jsonl", "[1]\n", "no question"),
        ("a.jsonl", "{\n", "no question"),
        ("a.tsv", "x\tnot a list\n", "no list of answers"),
        ("a.jsonl", "\n", "holds no question"),
    ],
)
def test_bad_lines_are_named(tmp_path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_questions(tmp_path / name)


def test_unknown_files_are_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        read_questions(tmp_path / "none.jsonl")
    (tmp_path / "a.xml").write_text("x")
    with pytest.raises(UsageError, match="are read from"):
        read_questions(tmp_path / "a.xml")


def test_what_is_not_used_is_named_and_bad_lines_are_counted(tmp_path) -> None:
    path, put, report = tmp_path / "a.jsonl", tmp_path / "put.jsonl", QuestionReport()
    path.write_text(
        '\ufeff{"question": "who", "answers": ["x"], "answer": "y", "id": 7, "note": null}\n'
        '{"question": "who"}\n{broken\n{"question": "when", "answer": "y", "id": 8}\n'
    )
    expected = [Question(text="who", answers=("x",)), Question(text="when", answers=("y",))]
    assert read_questions(path, on_bad="quarantine", quarantine=put, report=report) == expected
    assert report.unused == {"id": 2, "answer": 1}
    said = report.lines(path)
    assert f"{path}: the field 'id' is not used (lines: 2)." in said
    assert f"{path}: left out: bad lines: 2 (no list of answers: 1, no question: 1)." in said
    assert len(put.read_bytes().splitlines()) == 2
    with pytest.raises(DataError, match=r"a.jsonl:2: no list of answers .*--on-bad skip"):
        read_questions(path)
