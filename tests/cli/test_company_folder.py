"""Every command over a folder as companies have them: exit 0, right counts, nothing lost, and no hang."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest

import company
import labelling
import writers
from pretrieve.text import corpus
from pretrieve.text.files.report import ReadReport

SMALL = ("--set", "dimensions=16", "--set", "vocabulary_size=600", "--tracker", "none")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> company.Company:
    return company.build(tmp_path_factory.mktemp("company") / "acme")


@pytest.fixture(scope="module")
def reading(made: company.Company) -> tuple[dict[str, str], ReadReport]:
    """The texts by id, and the report."""
    report = ReadReport()
    documents = corpus.read([made.folder], report=report)
    return {document.id: f"{document.title}\n{document.text}" for document in documents}, report


def test_no_text_is_lost(made: company.Company, reading) -> None:
    texts, _ = reading
    every = "\n".join(texts.values())
    lost = {name: [word for word in words if word not in every] for name, words in made.words.items()}
    assert {name: words for name, words in lost.items() if words} == {}
    kept = {name: [word for word in words if word in every] for name, words in made.absent.items()}
    assert {name: words for name, words in kept.items() if words} == {}, (
        "menus, queries and hidden files are no documents"
    )


def test_everything_is_counted(made: company.Company, reading) -> None:
    _, report = reading
    assert dict(report.faults) == made.faults
    assert {reason: report.ignored[reason] for reason in made.passed_over} == made.passed_over
    assert report.files_read == made.read
    assert report.files == report.files_read + report.ignored.total() + sum(made.faults.values())
    assert sum(report.notes[note] for note in report.notes if "a guess" in note) == 3  # windows, polish, russian
    named = " ".join(report.examples)
    assert all(reason in named for reason in made.faults), "an example of each reason"


def test_every_text_is_in_its_own_encoding(made: company.Company, reading) -> None:
    every = "\n".join(reading[0].values())
    for text in ("größer", "It’s “", "5 €", "gęślą jaźń", "простой русский", "日本語のページ", "Grüße", "Don’t"):
        assert text in every, text


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "start"
    labelling.static_model(folder)
    return folder


def test_train_index_search(run, made: company.Company, tmp_path: Path) -> None:
    outcome = run("train", made.folder, "-o", tmp_path / "model", "--steps", "2", *SMALL)
    assert outcome.code == 0, outcome.err
    line = next(line for line in outcome.err.splitlines() if re.search(r"\d+ files: ", line))
    assert f"{made.read} read" in line
    assert ".png 1" in line
    report = orjson.loads((tmp_path / "model" / "report.json").read_bytes())
    assert report["reading"]["bad"] == made.faults
    indexed = run("index", made.folder, "--model", tmp_path / "model", "-o", tmp_path / "index", "--json")
    assert indexed.code == 0, indexed.err
    assert orjson.loads(indexed.out)["reading"]["files_read"] == made.read
    word = made.words["office/report.docx"][0]
    found = run("search", tmp_path / "index", word, "--mode", "lexical", "-k", "1")
    assert found.code == 0
    assert "report.docx" in found.out


def test_inspect(run, made: company.Company) -> None:
    outcome = run("inspect", made.folder, "-n", "1")
    assert outcome.code == 0, outcome.err


def test_distill_and_generate(run, made: company.Company, things: Path, tmp_path: Path) -> None:
    outcome = run(
        "distill", made.folder, "--teacher", things / "teacher", "-o", tmp_path / "distilled",
        "--teacher-tokens", "1000", "--dimensions", "8",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    with writers.serving() as server:  # an endpoint whose queries are words of the documents
        outcome = run(
            "generate", made.folder, "-o", tmp_path / "labels.jsonl", "--generator", "m", "--endpoint", server.url,
            "--max-documents", "12", "--negatives", "2", "--copied-words", "0",
        )  # fmt: skip
    assert outcome.code == 0, outcome.err


def test_finetune_mine_and_compare(run, made: company.Company, things: Path, tmp_path: Path) -> None:
    for words in (
        ("finetune", things / "start", things / "pairs.jsonl", "-o", tmp_path / "tuned", "--steps", "1"),
        ("mine", things / "pairs.jsonl", "-o", tmp_path / "mined.jsonl", "--by", "bm25"),
    ):
        outcome = run(*words, "--documents", made.folder)
        assert outcome.code == 0, outcome.err
    outcome = run(
        "compare", made.folder, "--benchmark", things / "beir", "-o", tmp_path / "compared", "--methods", "none",
        "--base", "static", "--labels", "20", "--set", "dimensions=8", "--set", "vocabulary_size=300",
        "--tune", "steps=2", "--seeds", "1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err


def test_a_named_file_is_strict(run, made: company.Company, start: Path, tmp_path: Path) -> None:
    for name, words in (
        ("odd/binary.txt", "binary file"),
        ("odd/pipe.txt", "a named pipe"),
        ("odd/empty.txt", "empty"),
    ):
        outcome = run("index", made.folder / name, "--model", start, "-o", tmp_path / "index")
        assert outcome.code in (1, 2)
        assert name in outcome.err
        assert words in outcome.err
    outcome = run("index", made.folder, "--model", start, "-o", tmp_path / "index", "--on-bad", "fail")
    assert outcome.code == 1
    assert not (tmp_path / "index").exists()


def test_patterns_choose_files(run, made: company.Company, start: Path, tmp_path: Path) -> None:
    outcome = run(
        "index", made.folder, "--model", start, "-o", tmp_path / "index", "--include", "*.md", "--exclude", "packed/",
        "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    facts = orjson.loads(outcome.out)["reading"]
    assert facts["files_read"] == 2  # of the handbook
    assert facts["files_ignored"]["excluded"] > 20
