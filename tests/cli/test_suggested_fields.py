"""What an error about the fields of a table says to do works when it is done, and loses nothing."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import orjson
import pytest


@pytest.mark.parametrize(
    ("name", "content", "hits", "titles"),
    [
        ("a.tsv", "0\tThe first passage is about a dam.\n1\tThe second is about trains.\n", 2, 0),
        ("b.csv", "3,A short name,The first passage is about a dam.\n4,B,The second is about trains.\n", 2, 2),
        ("c.csv", "ID,Title,Texts\n1,Dam,How a dam is built\n2,Lake,How a lake forms\n", 2, 2),
        ("d.csv", "ID;Title;the_text\n1;Dam;How a dam is built\n2;Lake;How a lake forms\n", 2, 2),
    ],
)
def test_suggestions_work_when_followed(
    run, model: Path, tmp_path: Path, name: str, content: str, hits: int, titles: int
) -> None:
    source = tmp_path / name
    source.write_text(content)
    refused = run("index", source, "-o", tmp_path / "index", "--model", model)
    assert refused.code == 2
    message = " ".join(refused.err.split())
    if columns := re.search(r"such as (--columns \S+)", message):
        options = shlex.split(columns[1])
    else:
        suggested = re.search(r"Did you mean '([^']+)'", message)
        assert suggested, message
        options = ["--text-field", suggested[1]]
    assert run("index", source, "-o", tmp_path / "index", "--model", model, *options).code == 0
    found = run("search", tmp_path / "index", "dam lake trains", "--json")
    assert "dam" in found.out
    answers = orjson.loads(found.out)
    assert len(answers["hits"]) == hits, found.out
    assert sum(bool(hit["title"]) for hit in answers["hits"]) == titles


def test_persian_words_are_found_however_they_are_spelt(run, model: Path, tmp_path: Path) -> None:
    source = tmp_path / "a.json"
    source.write_text(orjson.dumps([{"id": "a", "text": "کتاب\u200cهای من"}, {"id": "b", "text": "خانه"}]).decode())
    assert run("index", source, "-o", tmp_path / "index", "--model", model).code == 0
    for query in ("کتابهای", "کتاب\u200cهای", "کتاب"):
        assert '"a"' in run("search", tmp_path / "index", query, "--json").out
