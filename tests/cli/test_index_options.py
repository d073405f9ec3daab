"""What an index was built with is what it is searched with, on the command line and in Python."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from test_bad_input import one_line

import labelling
import stock
from pretrieve import Retriever
from pretrieve.core.manifest import manifest_of

QUERY = "bamu kine lusi doki"  # words of queries of the toy
OPTIONS = {
    "query prompt": {"query_prompt": "mane pora "},
    "document prompt": {"document_prompt": "mane pora "},
    "both prompts": {"query_prompt": "kilu ", "document_prompt": "tusi "},
    "no prompt": {"query_prompt": "", "document_prompt": ""},
    "length": {"max_length": 7},
    "similarity": {"similarity": "cosine"},
    "pooling": {"pooling": "cls"},
    "like": {"like": "BAAI/bge-small-en-v1.5"},
}
FOR_TRANSFORMERS = {"pooling", "like", "max_length"}  # static models: tests/models/test_static_folders.py
CASES = [
    (kind, name)
    for name, options in OPTIONS.items()
    for kind in ("static", "transformer")
    if kind == "transformer" or not options.keys() & FOR_TRANSFORMERS
]
OWN = {"query": "doba ", "document": "nepo "}  # prompts of the model's own


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    lines = [{"id": d["_id"], "title": d["title"], "text": d["text"]} for d in labelling.toy(40)[0]]
    labelling.lines(folder / "documents.jsonl", lines)
    labelling.static_model(folder / "static", prompts=OWN, similarity="dot")
    labelling.transformer_model(folder / "transformer", prompts=OWN)
    return folder


def words(options: dict[str, Any]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def by_hand(made: Path, kind: str, options: dict[str, Any]) -> np.ndarray:
    """Scores of the documents by sentence-transformers, with prompts put before the texts by hand."""
    folder = str(made / kind)
    bge = "like" in options
    if kind == "transformer" and (bge or "pooling" in options):
        transformer = Transformer(folder)
        model = SentenceTransformer(modules=[transformer, Pooling(transformer.get_embedding_dimension(), "cls")])
    else:
        model = SentenceTransformer(folder, device="cpu")
    if "max_length" in options:
        model.max_seq_length = options["max_length"]
    query = "Represent this sentence for searching relevant passages: " if bge else OWN["query"]
    document = "" if bge else OWN["document"]
    query, document = options.get("query_prompt", query), options.get("document_prompt", document)
    texts = [orjson.loads(line) for line in (made / "documents.jsonl").read_bytes().splitlines()]
    asked = model.encode([query + QUERY])
    found = model.encode([f"{document}{text['title']} {text['text']}" for text in texts])
    if options.get("similarity") == "cosine" or bge:  # the models' own is dot
        asked, found = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (asked, found))
    return np.sort((asked @ found.T)[0])[::-1][:10]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_search_uses_what_the_index_was_built_with(run, made: Path, kind: str, name: str, tmp_path: Path) -> None:
    options = OPTIONS[name]
    index = tmp_path / "index"
    outcome = run("index", made / "documents.jsonl", "--model", made / kind, "-o", index, *words(options))
    assert outcome.code == 0, outcome.err
    outcome = run("search", index, QUERY, "--mode", "dense", "--json")
    assert outcome.code == 0, outcome.err
    scores = [hit["score"] for hit in json.loads(outcome.out)["hits"]]
    np.testing.assert_allclose(scores, by_hand(made, kind, options), atol=1e-5)
    plain = by_hand(made, kind, {})
    assert np.abs(np.array(scores) - plain).max() > 1e-3, "the option makes a difference here"
    retriever = Retriever.load(index)
    found = [hit.score for hit in retriever.search(QUERY, top_k=10, mode="dense")]
    np.testing.assert_allclose(found, scores, atol=1e-6)
    retriever.save(tmp_path / "again")
    again = [hit.score for hit in Retriever.load(tmp_path / "again").search(QUERY, top_k=10, mode="dense")]
    np.testing.assert_allclose(again, scores, atol=1e-6)


def test_a_python_option_is_kept_too(made: Path, tmp_path: Path) -> None:
    for kind in ("static", "transformer"):
        model = Retriever.load(made / kind, truncate_dim=5, query_prompt="kilu ").model
        assert model.encode_queries(["ba"]).shape == (1, 5)
        assert model.described == {"truncate_dim": 5, "query_prompt": "kilu "}


def test_a_moved_model_is_found_again(run, made: Path, tmp_path: Path) -> None:
    for kind in ("static", "transformer"):
        model, index = Path(shutil.copytree(made / kind, tmp_path / f"{kind}-model")), tmp_path / f"{kind}-index"
        built = (
            "index",
            made / "documents.jsonl",
            "--model",
            model,
            "-o",
            index,
            "--link-model",
            "--query-prompt",
            "kilu ",
        )
        assert run(*built, "--link-model").code == 0
        before = run("search", index, QUERY, "--mode", "dense", "--json").out
        model.rename(tmp_path / f"{kind}-moved")
        outcome = run("search", index, QUERY)
        assert outcome.code == 2
        assert "give `pretrieve search` its new place with --model" in one_line(outcome.err)
        moved = ("--model", tmp_path / f"{kind}-moved")
        assert run("search", index, QUERY, "--mode", "dense", "--json", *moved).out == before
        outcome = run("search", index, QUERY, "--model", made / ("static" if kind == "transformer" else "transformer"))
        assert outcome.code == 1
        assert "was built with model" in one_line(outcome.err)


CHANGES = {
    "pooling": ("1_Pooling/config.json", {"pooling_mode": "max"}),
    "length": ("sentence_bert_config.json", {"max_seq_length": 5}),
    "dimensions": ("config_sentence_transformers.json", {"truncate_dim": 6}),
    "document prompt": ("config_sentence_transformers.json", {"prompts": {"document": "kilu "}}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_model_is_refused(run, made: Path, name: str, tmp_path: Path) -> None:
    for kind in ("transformer", "static"):
        path, values = CHANGES[name]
        if not (made / kind / path).exists():
            continue
        model, index = Path(shutil.copytree(made / kind, tmp_path / kind)), tmp_path / f"{kind}-index"
        assert run("index", made / "documents.jsonl", "--model", model, "-o", index, "--link-model").code == 0
        found = orjson.loads((model / path).read_bytes())
        (model / path).write_bytes(orjson.dumps(found | values))
        outcome = run("search", index, QUERY)
        assert outcome.code == 1, outcome.out
        assert f"If it was changed on purpose, remove {model / 'MANIFEST.json'}" in one_line(outcome.err)
        (model / "MANIFEST.json").unlink()
        outcome = run("search", index, QUERY)
        assert outcome.code == 1, outcome.out
        assert str(model) in one_line(outcome.err)
        assert "index again" in one_line(outcome.err)


def test_a_model_that_broke_is_refused_by_search(run, made: Path, tmp_path: Path) -> None:
    for kind in ("transformer", "static"):
        model, index = Path(shutil.copytree(made / kind, tmp_path / kind)), tmp_path / f"{kind}-index"
        assert run("index", made / "documents.jsonl", "--model", model, "-o", index, "--link-model").code == 0
        weights = next(model.rglob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-100])
        outcome = run("search", index, QUERY)
        assert outcome.code == 1
        assert f"model.safetensors: expected {weights.stat().st_size + 100} bytes" in one_line(outcome.err)


def test_a_bare_model_is_searched_as_it_was_described(run, made: Path, tmp_path: Path) -> None:
    stock.checkpoint("bert", tmp_path / "bare", layers=1)
    index = tmp_path / "index"
    described = ("--pooling", "cls", "--similarity", "dot", "--max-length", "20")
    made_index = run("index", made / "documents.jsonl", "--model", tmp_path / "bare", "-o", index, *described)
    assert made_index.code == 0, made_index.err
    outcome = run("search", index, QUERY, "--mode", "dense", "--json")
    assert outcome.code == 0, outcome.err
    transformer = Transformer(str(tmp_path / "bare"))
    model = SentenceTransformer(modules=[transformer, Pooling(16, "cls")], device="cpu")
    model.max_seq_length = 20
    asked = model.encode([QUERY])[0]
    lines = map(orjson.loads, (made / "documents.jsonl").read_bytes().splitlines())
    texts = {line["id"]: f"{line['title']} {line['text']}" for line in lines}
    for hit in json.loads(outcome.out)["hits"]:
        assert hit["score"] == pytest.approx(float(asked @ model.encode([texts[hit["id"]]])[0]), abs=1e-4)


def test_an_older_index_says_it_of_another_size(run, made: Path, tmp_path: Path) -> None:
    """It does not know the configuration; the sizes of vectors tell."""
    model, index = Path(shutil.copytree(made / "transformer", tmp_path / "model")), tmp_path / "index"
    assert run("index", made / "documents.jsonl", "--model", model, "-o", index, "--link-model").code == 0
    manifest = orjson.loads((index / "MANIFEST.json").read_bytes())
    del manifest["meta"]["model"]["configuration"]
    (index / "MANIFEST.json").write_bytes(manifest_of("index", manifest["meta"], manifest["files"]))
    settings = model / "config_sentence_transformers.json"
    settings.write_bytes(orjson.dumps(orjson.loads(settings.read_bytes()) | {"truncate_dim": 6}))
    (model / "MANIFEST.json").unlink()
    outcome = run("search", index, QUERY)
    assert outcome.code == 1
    assert "vectors of 6 dimensions, and the documents' have 16" in one_line(outcome.err)
