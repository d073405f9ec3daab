"""``pretrieve serve --model``: the documents of an index with another model beside it, by a real process."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import searching
from serving.conftest import Server, pretrieve, write_documents


@pytest.fixture(scope="module")
def other(served_folder, tmp_path_factory) -> Path:
    """Another model, with dots in its name as models of the hub have them."""
    return searching.static_model(tmp_path_factory.mktemp("models") / "Other-v1.5", searching.documents(80), seed=3)


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_answers_are_those_of_an_index_made_with_the_model(served_folder, other, tmp_path) -> None:
    pretrieve("index", served_folder / "docs.jsonl", "--model", other, "-o", tmp_path / "made")
    server = Server(served_folder / "index", "--model", other)
    for mode in ("hybrid", "dense", "lexical"):
        found = server.get(f"/search?q=kamika+lokaka&index=Other-v1.5&mode={mode}").json
        assert found == json.loads(pretrieve("search", tmp_path / "made", "kamika lokaka", "--json", "--mode", mode))
    first = server.get("/search?q=kamika+lokaka&mode=dense").json
    assert first["hits"] != server.get("/search?q=kamika+lokaka&mode=dense&index=Other-v1.5").json["hits"]
    page = server.get("/?q=kamika+lokaka&with=hybrid,Other-v1.5,Other-v1.5:dense").text
    assert page.count("overlap@10") >= 2
    code, said = server.stop()
    assert code == 0
    assert "Other-v1.5: 81 documents\n" in said


def test_it_follows_the_changes_of_the_index(served_folder, other, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    shutil.copytree(served_folder / "index", tmp_path / "index")
    server = Server(tmp_path / "index", "--model", other)
    assert list((tmp_path / "scratch").iterdir())
    changed = write_documents(tmp_path / "docs.jsonl", searching.documents(20))
    pretrieve("index", changed, "--model", served_folder / "model", "-o", tmp_path / "index", "--overwrite")
    wait_for(lambda: 'pretrieve_documents{index="Other-v1.5"} 20' in server.get("/metrics").text)
    pretrieve("index", changed, "--model", other, "-o", tmp_path / "made")
    made = json.loads(pretrieve("search", tmp_path / "made", "kamika lokaka", "--json", "--mode", "dense", "-k", "5"))
    found = server.get("/search?q=kamika+lokaka&index=Other-v1.5&mode=dense&k=5").json
    assert [hit["id"] for hit in found["hits"]] == [hit["id"] for hit in made["hits"]]
    (other / "tokenizer.json").rename(other / "aside.json")
    pretrieve(
        "index",
        served_folder / "docs.jsonl",
        "--model",
        served_folder / "model",
        "-o",
        tmp_path / "index",
        "--overwrite",
    )
    wait_for(lambda: server.get("/healthz").json["status"] != "ok")
    assert server.get("/search?q=kamika&index=Other-v1.5").json["hits"], "the old one answers on"
    (other / "aside.json").rename(other / "tokenizer.json")
    code, said = server.stop()
    assert code == 0
    assert f"index with {other} has changed: 20 documents" in said
    assert f"index with {other} has changed: the old one answers on: " in said
    assert not list((tmp_path / "scratch").iterdir()), "what was made for the server is gone"


def test_mistakes_are_one_line(served_folder, other, run) -> None:
    for words, says in (
        (("--model", "no/such"), "no/such"),
        (("--model", other, "--model", other), "two indexes are called Other-v1.5"),
        (("--model", served_folder / "docs.jsonl"), "docs.jsonl"),
    ):
        done = run("serve", served_folder / "index", *words)
        assert done.code != 0
        assert says in done.err
        assert sum(line.startswith("error:") for line in done.err.splitlines()) == 1
        assert "Traceback" not in done.err
