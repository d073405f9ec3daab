"""`pretrieve index --recall`, `--exact-up-to` and `--dtype`, as users meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_bad_input import one_line

import labelling
from pretrieve.core import files

QUERY = "bamu kine lusi doki"
NEAR = ("--exact-up-to", "500", "--recall", "0.9")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    labelling.static_model(folder / "model")
    lines = [{"id": d["_id"], "title": d["title"], "text": d["text"]} for d in labelling.toy(2000)[0]]
    labelling.lines(folder / "documents.jsonl", lines)
    labelling.lines(folder / "more.jsonl", [{**line, "id": f"more-{line['id']}"} for line in lines[:20]])
    return folder


def hits(run, index: Path) -> list[str]:
    outcome = run("search", index, QUERY, "--json", "-k", 10, "--mode", "dense")
    assert outcome.code == 0, outcome.err
    return [hit["id"] for hit in json.loads(outcome.out)["hits"]]


def test_recall_is_reached_printed_and_kept(run, made: Path, tmp_path: Path) -> None:
    whole, index, docs = tmp_path / "whole", tmp_path / "index", made / "documents.jsonl"
    assert run("index", docs, "--model", made / "model", "-o", whole, "--recall", "1", "--exact-up-to", 500).code == 0
    outcome = run("index", docs, "--model", made / "model", "-o", index, *NEAR)
    assert outcome.code == 0, outcome.err
    kept = files.load_manifest(index, "index")["meta"]["parts"][0]["measured"]["vectors"]["approximate"]
    assert kept["recall"] >= 0.85
    assert f"recall@10 {kept['recall']:.3f} of exact search, of 0.9 wanted" in " ".join(outcome.out.split())
    assert len({*hits(run, index)} & {*hits(run, whole)}) >= 8
    assert run("verify", index).code == 0
    outcome = run("index", made / "more.jsonl", "-o", index, "--add")
    assert "20 new" in outcome.out
    said = " ".join(run("index", "--compact", "-o", index).out.split())
    assert said.startswith("2 parts merged into one. 2,020 documents; 0 deleted ones dropped. Vectors are searched")
    meta = files.load_manifest(index, "index")["meta"]
    near = meta["parts"][0]["measured"]["vectors"]["approximate"]
    assert f"recall@10 {near['recall']:.3f} of exact search, of 0.9 wanted ({near['queries']} pseudo-queries" in said
    facts = json.loads(run("index", "--compact", "-o", index, "--json").out)
    assert facts == {"index": str(index), "merged": 0, "documents": 2020, "dropped": 0,
                     "vectors": meta["parts"][0]["measured"]}  # fmt: skip
    assert meta["vectors"] == {"dtype": "float32", "exact_up_to": 500, "recall": 0.9}
    assert meta["parts"][0]["measured"]["vectors"]["approximate"]["lists"] >= kept["lists"]
    assert len(hits(run, index)) == 10


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_smaller_vectors_print_their_loss(run, made: Path, tmp_path: Path, dtype: str) -> None:
    index = tmp_path / "index"
    outcome = run(
        "index", made / "documents.jsonl", "--model", made / "model", "-o", index, "--dtype", dtype, "--json", *NEAR
    )
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)["vectors"]
    assert found["dtype"] == dtype
    loss = found["measured"]["vectors"]["loss"]
    assert 0.8 < loss["recall"] <= 1
    assert 0 < loss["difference"] < 0.01
    before = hits(run, index)
    assert run("index", made / "more.jsonl", "-o", index, "--add").code == 0
    assert run("index", "--compact", "-o", index).code == 0
    after = {name.removeprefix("more-") for name in hits(run, index)}  # copies have the same scores
    assert len(after - {*before}) <= 2
    assert run("verify", index).code == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--recall", "1.5"], "--recall"),
        (["--exact-up-to", "-1"], "--exact-up-to"),
        (["--dtype", "int4"], "--dtype"),
        (["--update", "--recall", "0.9"], "--recall: chosen when an index is built"),
        (["--update", "--dtype", "int8"], "--dtype: chosen when an index is built"),
    ],
)
def test_what_is_refused(run, made: Path, tmp_path: Path, options: list[str], text: str) -> None:
    outcome = run("index", made / "documents.jsonl", "--model", made / "model", "-o", tmp_path / "index", *options)
    assert outcome.code != 0
    assert text in outcome.err
    one_line(outcome.err)


WITHOUT = """
import sys
from importlib.abc import MetaPathFinder
class Missing(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] == "faiss":
            raise ModuleNotFoundError(name=name)
sys.meta_path.insert(0, Missing())
from pretrieve.cli.app import main
sys.argv[0] = "pretrieve"
main()
"""


def test_without_faiss(run, made: Path, tmp_path: Path) -> None:
    """It is asked for in one line; where it is not, search is exact, and the user is told."""

    def lacking(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", WITHOUT, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    docs, build = made / "documents.jsonl", ("--model", made / "model", "-o")
    assert run("index", docs, *build, tmp_path / "near", *NEAR).code == 0
    outcome = lacking("search", tmp_path / "near", QUERY, "--mode", "dense")
    assert outcome.returncode != 0
    assert '".[faiss]"' in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert lacking("search", tmp_path / "near", QUERY, "--mode", "lexical").returncode == 0
    outcome = lacking("index", docs, *build, tmp_path / "a", *NEAR)
    assert outcome.returncode != 0
    assert '".[faiss]"' in outcome.stderr
    outcome = lacking("index", docs, *build, tmp_path / "b", "--exact-up-to", "500")
    assert outcome.returncode == 0, outcome.stderr
    assert "searched exactly, which is slow" in " ".join(outcome.stdout.split())
    assert lacking("search", tmp_path / "b", QUERY, "--mode", "dense").returncode == 0


def test_exact_search_does_not_import_faiss(run, made: Path, tmp_path: Path) -> None:
    assert run("index", made / "documents.jsonl", "--model", made / "model", "-o", tmp_path / "index").code == 0
    code = (
        "import sys; from pretrieve.index.index import Index; from pathlib import Path; "
        f"Index.open(Path({str(tmp_path / 'index')!r})).search('bamu'); assert 'faiss' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
