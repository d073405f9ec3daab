"""Judgements of the page: a BEIR folder that ``evaluate`` and ``finetune`` read, whatever was judged and taken back."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from pretrieve.core.types import Document
from pretrieve.index.index import Index
from pretrieve.serving.judgements import Judgements
from pretrieve.serving.limits import RequestError
from pretrieve.text.beir import load_collection
from pretrieve.text.qrels import parse_qrels
from serving.conftest import Server, pretrieve


def judge(server: Server, query: str, name: str, grade: object):
    return server.get("/judge", {"query": query, "id": name, "grade": grade})


def test_judgements_are_read_by_evaluate_and_finetune(served_folder, tmp_path) -> None:
    kept = tmp_path / "kept"
    server = Server(served_folder / "index", "--judgements", kept)
    for query, name, grade in (("kamika lokaka", "d001", 1), ("kamika lokaka", "d002", 0), ("russhika", "d003", 1)):
        assert judge(server, query, name, grade).json["grades"][name] == grade
    assert judge(server, "a", "none", 1).status == 404
    for grade in (True, 1.0, 7, "1", [1]):
        assert judge(server, "a", "d001", grade).status == 400
    assert server.get("/judge", {"query": "a", "id": "d001"}).status == 400
    server.stop()
    server = Server(served_folder / "index", "--judgements", kept)
    assert judge(server, "kamika lokaka", "d002", None).json["grades"] == {"d001": 1}
    server.stop()
    said = pretrieve("evaluate", kept, "--model", served_folder / "model", "--json")
    assert json.loads(said)["rows"]
    assert load_collection(kept).qrels == {"q1": {"d001": 1}, "q2": {"d003": 1}}
    assert parse_qrels(kept / "qrels.trec").grades == {"q1": {"d001": 1}, "q2": {"d003": 1}}
    assert (kept / "qrels.trec").read_text().splitlines() == ["q1 0 d001 1", "q2 0 d003 1"]
    options = ["--split", "test", "--steps", "2", "--tracker", "none", "--set", "batch_size=2"]
    pretrieve("finetune", served_folder / "model", kept, "-o", tmp_path / "tuned", *options)
    assert (tmp_path / "tuned" / "MANIFEST.json").is_file()


@pytest.fixture
def kept(tmp_path):
    """Opens a folder of judgements, again and again, of documents whose ids are hard to write down."""
    made = [Document(id=name, text="kamika lokaka") for name in ("a b", "a\tb", "ab")]
    served = SimpleNamespace(index=Index.of(made), name="index", opened=1)
    return lambda: Judgements.opened(tmp_path / "kept", served)


def test_queries_keep_their_names_when_others_go(kept, tmp_path) -> None:
    with kept() as found:
        for query in ("one", "two", "three"):
            found.judge(query, "ab", 1)
        found.judge("two", "ab", None)
    with kept() as found:
        found.judge("four", "a b", 0)
        assert found.of("three") == {"ab": 1}
    read = load_collection(tmp_path / "kept")
    assert {read.queries[name]: grades for name, grades in read.qrels.items()} == {
        "one": {"ab": 1}, "three": {"ab": 1}, "four": {"a b": 0},
    }  # fmt: skip


def test_a_folder_without_judgements_can_be_used_again(kept) -> None:
    with kept() as found:
        found.judge("one", "ab", 1)
        assert found.judge("one", "ab", None) == {}
    with kept() as found:
        assert found.judge("one", "ab", 1) == {"ab": 1}


def test_ids_that_qrels_cannot_name_are_refused_or_counted(kept, tmp_path) -> None:
    with kept() as found:
        with pytest.raises(RequestError, match="a tab or a line break"):
            found.judge("kamika", "a\tb", 1)
        found.judge("kamika", "ab", 1)
        assert found.unnamed == 0
        found.judge("kamika", "a b", 1)
        assert found.unnamed == 1
    assert load_collection(tmp_path / "kept").qrels == {"q1": {"ab": 1, "a b": 1}}
    assert parse_qrels(tmp_path / "kept" / "qrels.trec").grades == {"q1": {"ab": 1}}


def test_one_server_keeps_a_folder(served_folder, tmp_path, run) -> None:
    server = Server(served_folder / "index", "--judgements", tmp_path / "kept")
    done = run("serve", served_folder / "index", "--port", "0", "--judgements", tmp_path / "kept")
    assert done.code != 0
    assert f"pid {server.process.pid}" in done.err
    server.stop()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("of a person")
    done = run("serve", served_folder / "index", "--port", "0", "--judgements", tmp_path / "other")
    assert done.code != 0
    assert "new folder" in done.err
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["file"]
