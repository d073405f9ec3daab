"""`beir:NAME` and `ir_datasets:NAME`: collections by name, here of local files that the library knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import searching
from pretrieve.core import extras
from pretrieve.text import named


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder whose collection the library has as ``beir/pretrieve-toy/test``, and its documents alone."""
    ir_datasets = pytest.importorskip("ir_datasets")
    folder = tmp_path_factory.mktemp("library")
    documents = searching.documents(40)
    queries = {f"q{number}": " ".join(documents[number].text.split()[:4]) for number in range(10)}
    grades = [(f"q{number}", documents[number].id, 1 + number % 2) for number in range(10)]
    (folder / "docs.tsv").write_text("".join(f"{one.id}\t{one.text}\n" for one in documents))
    (folder / "queries.tsv").write_text("".join(f"{name}\t{text}\n" for name, text in queries.items()))
    (folder / "qrels.txt").write_text("".join(f"{query} 0 {name} {grade}\n" for query, name, grade in grades))
    paths = {"docs_tsv": folder / "docs.tsv", "queries_tsv": folder / "queries.tsv", "qrels_trec": folder / "qrels.txt"}
    given = {key: str(path) for key, path in paths.items()}
    for name, parts in (("beir/pretrieve-toy/test", given), ("pretrieve-docs", {"docs_tsv": given["docs_tsv"]})):
        if name not in ir_datasets.registry._registered:
            ir_datasets.registry.register(name, ir_datasets.create_dataset(**parts))
    beir = folder / "beir"
    (beir / "qrels").mkdir(parents=True)
    lines = [{"_id": one.id, "text": one.text} for one in documents]
    (beir / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
    lines = [{"_id": name, "text": text} for name, text in queries.items()]
    (beir / "queries.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (beir / "qrels" / "test.tsv").write_text("".join(f"{query}\t{name}\t{grade}\n" for query, name, grade in grades))
    return beir


def error_of(outcome) -> str:
    assert outcome.code in (1, 2), outcome.out
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error:")]
    return line


@pytest.mark.parametrize(
    "name", ["beir:pretrieve-toy", "beir:pretrieve-toy/test", "ir_datasets:beir/pretrieve-toy/test"]
)
def test_evaluate_takes_a_name(run, library, name) -> None:
    words = ("--metric", "nDCG@10", "--json")
    found, expected = (json.loads(run("evaluate", source, *words).out) for source in (name, library))
    assert found["rows"] == expected["rows"]
    assert found["queries"] == 10


def test_documents_have_a_name(run, library, tmp_path) -> None:
    for number, source in enumerate(("ir_datasets:pretrieve-docs", "beir:pretrieve-toy/test")):
        model = tmp_path / f"model{number}"
        searching.static_model(model, searching.documents(40))
        outcome = run("index", source, "--model", model, "-o", tmp_path / f"index{number}", "--json")
        assert outcome.code == 0, outcome.err
        hits = json.loads(run("search", tmp_path / f"index{number}", "stone", "--json").out)["hits"]
        assert {hit["id"] for hit in hits} <= {one.id for one in searching.documents(40)}
        assert hits


def test_mine_and_finetune_take_a_name(run, library, tmp_path) -> None:
    """The negatives are those of the folder, and the same command goes on, although it is fetched again."""
    for number, source in enumerate(("beir:pretrieve-toy", library)):
        words = ("--split", "test", "--by", "bm25", "--number", 3, "-o", tmp_path / f"{number}.jsonl")
        outcome = run("mine", source, *words)
        assert outcome.code == 0, outcome.err
        assert "--split test" in outcome.out
    assert (tmp_path / "0.jsonl").read_bytes() == (tmp_path / "1.jsonl").read_bytes()
    searching.static_model(tmp_path / "model", searching.documents(40))
    words = ("finetune", tmp_path / "model", "beir:pretrieve-toy", "--split", "test", "-o", tmp_path / "tuned",
             "--steps", "1", "--tracker", "none", "--negatives", "none")  # fmt: skip
    outcome = run(*words, "--json")
    assert outcome.code == 0, outcome.err
    assert sum(json.loads(outcome.out)["queries"].values()) == 10, outcome.out
    again = run(*words, "--resume")
    assert again.code == 0, again.err


def test_what_there_is_not_is_one_line(run, library) -> None:
    assert "has no such collection. Did you mean 'pretrieve-toy/test'?" in error_of(
        run("evaluate", "beir:pretrieve-toi/test")
    )
    assert "has no queries and no qrels" in error_of(run("evaluate", "ir_datasets:pretrieve-docs"))


def test_without_a_network_it_is_one_line(run, library, monkeypatch) -> None:
    """A real collection of the library, which has to be fetched first."""
    import ir_datasets

    monkeypatch.setenv("IR_DATASETS_DL_TRIES", "1")
    monkeypatch.setattr(ir_datasets.util.download.RequestsDownload, "stream", failing)
    line = error_of(run("evaluate", "beir:nfcorpus"))
    assert "beir:nfcorpus cannot be fetched or read" in line
    assert "look at the network" in line


def failing(self):
    raise ConnectionError("no route to host")


def test_without_the_library_it_is_one_line(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(extras._MODULES, "ir", ("a_library_that_is_not_there",))
    for words in (("evaluate", "beir:scifact"), ("inspect", "beir:scifact")):
        assert "beir:scifact needs pretrieve's extra for collections by name" in error_of(run(*words))
    assert not named.is_named("beir/scifact")
