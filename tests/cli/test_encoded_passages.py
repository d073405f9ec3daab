"""Vectors of passages: ``encode --passages`` writes them, and ``index --passages --vectors`` takes them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_bad_input import one_line

import searching

MADE = searching.documents(20, sentences=40)
QUERIES = [MADE[number].text[100:140] for number in (2, 11)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("passages")
    searching.static_model(folder / "model", MADE)
    (folder / "docs").mkdir()
    for one in MADE:
        lines = one.text.split(". ")
        text = ".\n\n".join(lines[:20]) + f"\n\n## {one.title}\n\n" + ".\n\n".join(lines[20:])
        (folder / "docs" / f"{one.id}.md").write_text(f"# {one.title}\n\n{text}\n")
    return folder


def hits(run, index: Path) -> list[Any]:
    found = [run("search", index, query, "--json", "--full-text", "--group-by", "none") for query in QUERIES]
    assert not any(outcome.code for outcome in found)
    return [json.loads(outcome.out)["hits"] for outcome in found]


@pytest.mark.parametrize("words", [(), ("--passage-words", 100)])
def test_an_index_takes_vectors_of_passages(run, place: Path, tmp_path: Path, words: tuple) -> None:
    own = ("--model", place / "model", "--passages", *words)
    encoded = run("encode", place / "docs", "-o", tmp_path / "vectors", "--shard-size", 16, *own)
    assert encoded.code == 0, encoded.err
    printed = next(line for line in encoded.out.splitlines() if line.strip().startswith("pretrieve index"))
    assert " --passages" in printed
    assert run(*[word.strip("'") for word in printed.split()[1:]], "-o", tmp_path / "index").code == 0
    assert run("index", place / "docs", "-o", tmp_path / "again", *own).code == 0
    assert hits(run, tmp_path / "index") == hits(run, tmp_path / "again")
    assert any("#" in hit["id"] for hit in hits(run, tmp_path / "index")[0])
    again = run("encode", place / "docs", "-o", tmp_path / "vectors", "--shard-size", 16, "--json", *own)
    facts = json.loads(again.out)
    assert (facts["written"], facts["present"]) == (0, facts["shards"])
    assert facts["documents"] >= 2 * len(MADE)
    for check in (("encode", "--check"), ("index", "--overwrite", "--vectors", tmp_path / "vectors")):
        place_of = tmp_path / ("vectors" if check[0] == "encode" else "index")
        size = ("--shard-size", 16) if check[0] == "encode" else ()
        assert run(check[0], place / "docs", "-o", place_of, *own, *check[1:], *size).code == 0


def test_vectors_that_are_cut_otherwise_are_refused_in_one_line(run, place: Path, tmp_path: Path) -> None:
    docs, own = place / "docs", ("--model", place / "model")
    for name, words in (("whole", ()), ("cut", ("--passages", "--passage-words", 100))):
        assert run("encode", docs, "-o", tmp_path / name, *own, *words).code == 0
    said = {
        ("cut", ()): "vectors of passages of 100 words, and this command is for whole documents: "
        "give --passages --passage-words 100, or encode again",
        ("cut", ("--passages",)): "passages of 100 words, and this command is for passages of 200 words",
        ("whole", ("--passages",)): "vectors of whole documents, and this command is for passages of 200 words: "
        "leave --passages out, or encode again",
    }
    for (name, words), text in said.items():
        vectors = tmp_path / name
        for command in (("index", "-o", tmp_path / "index", "--vectors", vectors), ("encode", "-o", vectors)):
            outcome = run(command[0], docs, *own, *words, *command[1:])
            assert outcome.code == 1
            assert f"{vectors} holds {text if 'vectors' in text else f'vectors of {text}'}" in one_line(outcome.err)
    assert not (tmp_path / "index").exists()


def test_vectors_of_other_passages_are_refused(run, place: Path, tmp_path: Path) -> None:
    docs = Path(shutil.copytree(place / "docs", tmp_path / "docs"))
    own = ("--model", place / "model", "--passages")
    assert run("encode", docs, "-o", tmp_path / "vectors", *own).code == 0
    path = docs / "d003.md"
    path.write_text(path.read_text().replace("\n## ", "\n## Another "))
    outcome = run("index", docs, "-o", tmp_path / "index", "--vectors", tmp_path / "vectors", *own)
    assert outcome.code == 1
    assert "is of other documents (fingerprint" in one_line(outcome.err)


@pytest.mark.parametrize("command", ["index", "encode"])
def test_words_of_passages_need_passages(run, place: Path, tmp_path: Path, command: str) -> None:
    words = (command, place / "docs", "--model", place / "model", "-o", tmp_path / "out")
    assert "--passage-words is for --passages: give it too" in one_line(run(*words, "--passage-words", 100).err)
    if command == "encode":
        assert "--passages cuts documents, and --queries" in one_line(run(*words, "--passages", "--queries").err)
    assert not (tmp_path / "out").exists()
