"""What every way to look up the best documents must do: in the folder, exactly or approximately, or in Milvus Lite."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import labelling
from milvus_server import model as model  # a fixture
from pretrieve import Retriever
from pretrieve.core.types import Document
from pretrieve.index.backends import Address
from pretrieve.index.backends.milvus import KINDS, Milvus
from pretrieve.index.find import search
from pretrieve.index.ids import hashes
from pretrieve.index.index import Index
from pretrieve.index.options import IndexOptions
from pretrieve.index.vector_options import VectorOptions
from pretrieve.models.bag import Bag

SIZE = 2500
MILVUS = pytest.mark.skipif(importlib.util.find_spec("pymilvus") is None, reason="the extra `milvus` is not installed")
WAYS = ["exact", "approximate", *(pytest.param(name, marks=MILVUS) for name in ("milvus", "milvus-hnsw"))]
LANGUAGES = ("en", "DE", "f\"r' or 1")


def documents(first: int, last: int) -> list[Document]:
    texts, _ = labelling.toy(last)
    return [
        Document(
            id=f"d{number}",
            text=texts[number]["text"],
            title=texts[number]["title"],
            fields={"lang": LANGUAGES[number % 3], "year": number % 7, "tags": ("a", f"t{number % 5}")},
        )
        for number in range(first, last)
    ]


@pytest.fixture(scope="module")
def queries() -> list[str]:
    return [" ".join(document["text"].rstrip(".").split()[:3]) for document in labelling.toy(24)[0][::2]]


def exact(folder: Path, model: Path, found: list[Document]) -> Index:
    return Index.build(folder, found, Bag.load(model), IndexOptions(dense=1.0))


class Case:
    """A way to index, made once."""

    def __init__(self, name: str, folder: Path, model: Path) -> None:
        self.exact = name in ("exact", "milvus")
        near = VectorOptions(exact_up_to=500, recall=0.9) if name == "approximate" else VectorOptions()
        store = Address.parse(str(folder / "store.db"), "HNSW" if name == "milvus-hnsw" else "FLAT")
        options: dict[str, Any] = {"store": store} if name.startswith("milvus") else {}
        self.index = Index.build(
            folder / "index", documents(0, SIZE), Bag.load(model), IndexOptions(dense=1.0, vectors=near), **options
        )


@pytest.fixture(
    scope="module",
    params=WAYS,
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, model: Path) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("case"), model)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Index:
    return exact(tmp_path_factory.mktemp("reference") / "index", model, documents(0, SIZE))


def same(case: Case, found: list[Any], expected: list[Any]) -> None:
    """The same hits, or of approximate ones most, with the same scores."""
    scores = {hit.id: hit.score for hit in expected}
    if case.exact:
        assert [hit.id for hit in found] == [hit.id for hit in expected]
    else:
        assert len({hit.id for hit in found} & {*scores}) >= 0.6 * len(expected)
    assert expected
    for hit in found:
        assert hit.score == pytest.approx(scores.get(hit.id, hit.score), abs=1e-5)


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_hits_are_those_of_the_exact_index(case: Case, reference: Index, queries: list[str], mode: Any) -> None:
    found, expected = case.index.search_many(queries, 20, mode), reference.search_many(queries, 20, mode)
    for one, other in zip(found, expected, strict=True):
        same(case, one, other)


@pytest.mark.parametrize(
    "where",
    [
        "lang=de",
        "lang in (EN, de) and year>=3",
        "year=3 or year=4.0",
        "not tags=t1",
        "tags=t2 and lang exists",
        'lang="f\\"r\' or 1"',
        "lang=\"en'] or key > 0 or lang == ['\"",
    ],
)
def test_filters_find_the_same(case: Case, reference: Index, queries: list[str], where: str) -> None:
    for mode in ("lexical", "dense", "hybrid"):
        found = search(case.index, queries[0], 10, mode, filter=where).hits
        expected = search(reference, queries[0], 10, mode, filter=where).hits
        assert bool(found) == bool(expected)
        if expected:
            same(case, found, expected)


@pytest.mark.parametrize("name", [pytest.param("milvus", marks=MILVUS), "approximate"])
def test_after_changes_hits_are_those_of_a_rebuild(name: str, tmp_path: Path, model: Path, queries: list[str]) -> None:
    case = Case(name, tmp_path, model)
    more = [
        *(replace(one, text=f"{one.text} " * 4) for one in documents(SIZE, SIZE + 40)),  # moves the mean length
        Document(id="d3", text="an other text " + queries[0]),
        Document(id="!", text="!"),
    ]
    index, changes = case.index.add(more)
    assert (changes.new, changes.changed) == (41, 1)
    index, _ = index.delete([f"d{number}" for number in range(50, 90)])
    index = index.compact()
    kept = [one for one in documents(0, SIZE) if one.id != "d3" and one.id not in {f"d{n}" for n in range(50, 90)}]
    rebuilt = exact(tmp_path / "rebuilt", model, kept + more)
    for mode in ("lexical", "dense", "hybrid"):
        for query in queries:
            same(case, index.search(query, 10, mode), rebuilt.search(query, 10, mode))


@MILVUS
def test_equal_documents_come_by_id_however_many_there_are(tmp_path: Path, model: Path) -> None:
    same = [Document(id=f"d{number:03}", text="bado kilu mane") for number in range(400)]
    store = Address.parse(str(tmp_path / "store.db"))
    index = Index.build(tmp_path / "index", same, Bag.load(model), IndexOptions(dense=1.0), store=store)
    for mode in ("lexical", "dense"):
        assert [hit.id for hit in index.search("kilu", 3, mode)] == ["d000", "d001", "d002"]


@MILVUS
@pytest.mark.parametrize("kind", KINDS[2:])
def test_types_that_are_accepted_are_those_of_lite(kind: str, tmp_path: Path, model: Path, reference: Index) -> None:
    store = Address.parse(str(tmp_path / "store.db"), kind)
    index = Index.build(tmp_path / "index", documents(0, SIZE), Bag.load(model), IndexOptions(dense=1.0), store=store)
    found, expected = index.search("bado kilu mane", 10, "dense"), reference.search("bado kilu mane", 10, "dense")
    assert len({hit.id for hit in found} & {hit.id for hit in expected}) >= 8


@MILVUS
@pytest.mark.parametrize("mode", ["lexical", "dense"])
def test_more_hits_than_milvus_returns_come_from_the_folder(
    case: Case, reference: Index, queries: list[str], mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Milvus, "deepest", 300)  # of 16,384
    for k in (290, 700):
        for found, expected in zip(
            case.index.search_many(queries[:2], k, mode), reference.search_many(queries[:2], k, mode), strict=True
        ):
            same(case, found, expected)


@MILVUS
def test_a_retriever_is_saved_with_a_store(tmp_path: Path, model: Path) -> None:
    retriever = Retriever(Bag.load(model), str(model), documents(0, 80))
    retriever.save(tmp_path / "index", store=str(tmp_path / "store.db"))
    again = Retriever.load(tmp_path / "index")
    assert again.index.store is not None
    assert len(again.index.store.backend.keys() if again.index.store.backend else ()) == 80
    found, expected = again.search("bado kilu", top_k=5), retriever.search("bado kilu", top_k=5)
    assert [(hit.id, hit.score) for hit in found] == [(hit.id, hit.score) for hit in expected]


@MILVUS
def test_the_collection_is_what_answers(tmp_path: Path, model: Path, queries: list[str]) -> None:
    index = Case("milvus", tmp_path, model).index
    assert index.store is not None
    assert index.store.backend is not None
    assert index.dense is not None
    best = index.search(queries[0], 1, "dense")[0].id
    asked = []
    whole = index.store.backend.search
    index.store.backend.search = lambda *a, **k: asked.append(a[0]) or whole(*a, **k)  # type: ignore[method-assign]
    index.search(queries[0], 1, "hybrid")
    assert sorted(asked) == ["dense", "lexical"]
    keys = index.store.backend.keys()
    (found,) = whole("dense", index.dense.queries([queries[0]]), 1)
    assert found.documents == hashes([best], 1).view(np.int64)
    index.store.backend.delete(found.keys)
    assert len(index.store.backend.keys()) == len(keys) - 1
    assert index.search(queries[0], 1, "dense")[0].id != best


def program(*arguments: object, ok: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pretrieve", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == ok, done.stderr
    if ok:
        return done.stdout
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


@MILVUS
def test_the_program_with_a_store(tmp_path: Path, model: Path) -> None:
    lines = [{"id": d["_id"], "title": d["title"], "text": d["text"]} for d in labelling.toy(1200)[0]]
    docs = labelling.lines(tmp_path / "docs.jsonl", lines)
    (tmp_path / "whole").mkdir()
    index, store = tmp_path / "whole/index", tmp_path / "whole/file.db"
    program("index", docs, "--model", model, "-o", index, "--store", store, ok=True)
    before = json.loads(program("search", index, lines[7]["text"], "--json", ok=True))
    moved = tmp_path / "moved"
    (tmp_path / "whole").rename(moved)
    assert json.loads(program("search", moved / "index", lines[7]["text"], "--json", ok=True))["hits"] == before["hits"]
    ids = tmp_path / "ids"
    ids.write_text(before["hits"][0]["id"] + "\n")
    program("index", "--delete", ids, "-o", moved / "index", ok=True)
    after = json.loads(program("search", moved / "index", lines[7]["text"], "--json", ok=True))
    assert [hit["id"] for hit in after["hits"]][:5] == [hit["id"] for hit in before["hits"]][1:6]
    again = ("index", docs, "--model", model, "-o", tmp_path / "other", "--store", moved / "file.db")
    assert "exists: give another name, or --overwrite" in program(*again)
    (moved / "file.db").rename(moved / "away.db")
    assert json.loads(program("search", moved / "index", lines[7]["text"], "--json", ok=True))["hits"] == after["hits"]
    program("index", docs, "-o", moved / "index", "--update", ok=True)
    assert (moved / "file.db").exists()
    assert json.loads(program("search", moved / "index", lines[7]["text"], "--json", ok=True))["hits"] == before["hits"]


@pytest.mark.parametrize(
    ("store", "said"),
    [
        pytest.param("milvus://127.0.0.1:1/docs", "cannot be reached", marks=MILVUS),
        ("milvus://127.0.0.1:1/a-b", "letters, digits and _ alone"),
        ("milvus://127.0.0.1:x/docs", "the port is no number"),
        ("milvus://me:secret@127.0.0.1/docs", "MILVUS_TOKEN"),
        ("redis://127.0.0.1/docs", "give milvus://host:19530/collection"),
        ("docs", "a file that ends in .db"),
        pytest.param("missing/docs.db", "its folder does not exist", marks=MILVUS),
    ],
)
def test_a_bad_store_is_one_line_before_anything_is_built(tmp_path: Path, model: Path, store: str, said: str) -> None:
    (tmp_path / "a.txt").write_text("some text")
    error = program("index", tmp_path / "a.txt", "--model", model, "-o", tmp_path / "index", "--store", store)
    assert said in error
    assert "secret" not in error
    assert not (tmp_path / "index").exists()


def test_without_the_extra_it_is_named(tmp_path: Path, model: Path) -> None:
    (tmp_path / "a.txt").write_text("some text")
    hidden = (
        "import importlib.util as u, sys; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'pymilvus' else find(name, *a)\n"
        "from pretrieve.cli.app import main; main()"
    )
    options = ["--model", str(model), "-o", str(tmp_path / "index"), "--store", str(tmp_path / "file.db")]
    done = subprocess.run(
        [sys.executable, "-c", hidden, "index", str(tmp_path / "a.txt"), *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode
    assert "Traceback" not in done.stderr
    assert '".[milvus]"' in done.stderr
    assert not (tmp_path / "index").exists()


@MILVUS
def test_a_collection_of_somebody_else_is_left_alone(tmp_path: Path, model: Path) -> None:
    made = "import sys, pymilvus; pymilvus.MilvusClient(sys.argv[1]).create_collection('pretrieve', dimension=4)"
    subprocess.run([sys.executable, "-c", made, str(tmp_path / "file.db")], check=True)
    (tmp_path / "a.txt").write_text("some text")
    error = program(
        "index", tmp_path / "a.txt", "--model", model, "-o", tmp_path / "index", "--store", tmp_path / "file.db",
        "--overwrite",
    )  # fmt: skip
    assert "is none of pretrieve" in error
