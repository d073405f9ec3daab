"""``--store`` and what may be wrong around it, through the command line; the server is Milvus Lite behind a port."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from test_bad_input import one_line

import labelling
from milvus_server import model as model
from milvus_server import server as server
from milvus_server import serving

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pymilvus") is None, reason="the extra `milvus` is not installed"
)
HOSTILE = [chr(34) + "a", "c d", "e' or 1", "f]) or key > 0", "é\\u2019", "g\\", "h" * 300]


def records(count: int = 30) -> list[dict[str, Any]]:
    texts = labelling.toy(count)[0]
    return [
        {"id": HOSTILE[n] if n < len(HOSTILE) else f"d{n}", "text": one["text"], "key": n, "document": f"x{n % 3}",
         "facts": [n], "lexical": "{0: 1}", "dense": [1.0, 2.0]}
        for n, one in enumerate(texts)
    ]  # fmt: skip


def hits(run: Any, index: Path, *options: object) -> list[tuple[str, float]]:
    """Hits of the collection; a note would be an error here."""
    outcome = run("search", index, records()[0]["text"], "--json", *options)
    assert outcome.code == 0, outcome.err
    return [(hit["id"], round(hit["score"], 5)) for hit in json.loads(outcome.out)["hits"]]


def noted(index: Path, *options: object) -> tuple[list[tuple[str, float]], str]:
    """Hits and notes, by a process of its own."""
    words = ["search", index, records()[0]["text"], "--json", *options]
    done = subprocess.run(
        [sys.executable, "-m", "pretrieve", *map(str, words)], capture_output=True, text=True, check=True
    )
    return [(hit["id"], round(hit["score"], 5)) for hit in json.loads(done.stdout)["hits"]], done.stderr


def test_hostile_ids_fields_and_texts(run: Any, tmp_path: Path, model: Path, server: str) -> None:
    long = " ".join(f"w{n}" for n in range(2_000))
    docs = labelling.lines(tmp_path / "docs.jsonl", [*records(), {"id": "long", "text": f"{long} zuzuzu"}])
    for name, store in (("here", ()), ("there", ("--store", f"{server}/hostile"))):
        outcome = run("index", docs, "--model", model, "-o", tmp_path / name, *store)
        assert outcome.code == 0, outcome.err
    for options in (
        ("--mode", "lexical", "-k", 7), ("--mode", "dense", "-k", 7),
        ("--filter", "document=x1", "-k", 3, "--mode", "dense"),
        ("--filter", "key=2", "-k", 1, "--mode", "lexical"), ("--filter", 'document="x1\\" or 1"', "-k", 3),
    ):  # fmt: skip
        assert hits(run, tmp_path / "there", *options) == hits(run, tmp_path / "here", *options)
    found = json.loads(run("search", tmp_path / "there", "zuzuzu", "--json", "--mode", "lexical").out)["hits"]
    assert [hit["id"] for hit in found] == ["long"]


def test_collections_that_are_gone_or_of_another_index(run: Any, tmp_path: Path, model: Path, server: str) -> None:
    docs = labelling.lines(tmp_path / "docs.jsonl", records())
    more = ("--mode", "dense", "-k", 5)
    one = ("index", docs, "--model", model, "-o", tmp_path / "one", "--store", f"{server}/shared")
    two = ("index", docs, "--model", model, "-o", tmp_path / "two", "--store", f"{server}/shared")
    assert run(*one).code == 0
    found = hits(run, tmp_path / "one", *more)
    assert "exists: give another name, or --overwrite" in one_line(run(*two).err)
    assert not (tmp_path / "two").exists()
    assert run(*two, "--overwrite").code == 0
    assert hits(run, tmp_path / "two", *more) == found
    for words in (("search", tmp_path / "one", "bado", *more), ("index", "--compact", "-o", tmp_path / "one")):
        assert "is of another index: build this one again" in one_line(run(*words).err)
    from pymilvus import MilvusClient

    MilvusClient(server.replace("milvus", "http", 1)).drop_collection("shared")
    again, note = noted(tmp_path / "two", *more)
    assert again == found
    assert "is not there: hits come from" in note
    assert "pretrieve index --compact -o" in note
    assert run("index", "--compact", "-o", tmp_path / "two").code == 0
    assert hits(run, tmp_path / "two", *more) == found


def test_a_store_inside_the_index_is_refused(run: Any, tmp_path: Path, model: Path) -> None:
    docs = labelling.lines(tmp_path / "docs.jsonl", records())
    (tmp_path / "index").mkdir()
    place = tmp_path / "index/store.db"
    outcome = run("index", docs, "--model", model, "-o", tmp_path / "index", "--store", place, "--overwrite")
    assert "would lie in the index" in one_line(outcome.err)
    file = tmp_path / "plain.db"
    file.write_text("no folder of Milvus Lite")
    outcome = run("index", docs, "--model", model, "-o", tmp_path / "other", "--store", file)
    assert "cannot be opened" in one_line(outcome.err)
    assert file.read_text() == "no folder of Milvus Lite"


def test_a_dead_server_is_one_line_within_seconds(run: Any, tmp_path: Path, model: Path) -> None:
    docs = labelling.lines(tmp_path / "docs.jsonl", records())
    index = tmp_path / "index"
    with serving(tmp_path / "data.db") as (address, process):
        assert run("index", docs, "--model", model, "-o", index, "--store", f"{address}/docs").code == 0
        before = (index / "MANIFEST.json").read_bytes()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            process.send_signal(number)
            start = time.monotonic()
            for words in (("search", index, "bado"), ("index", docs, "-o", index, "--update")):
                labelling.lines(docs, records(31))
                outcome = run(*words, *(("-k", 3, "--mode", "dense") if words[0] == "search" else ()))
                assert outcome.code == 1
                assert "cannot be reached" in one_line(outcome.err)
            assert time.monotonic() - start < 90
            assert (index / "MANIFEST.json").read_bytes() == before
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = f"milvus://127.0.0.1:{silent.getsockname()[1]}/docs"
        outcome = run("index", docs, "--model", model, "-o", tmp_path / "other", "--store", store)
        assert "cannot be reached" in one_line(outcome.err)
