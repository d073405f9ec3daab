"""The options of BM25 from ``index`` to ``search``, and its usual settings in ``evaluate``, as a user gives them."""

from __future__ import annotations

import orjson
import pytest

import searching


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return searching.static_model(tmp_path_factory.mktemp("model") / "model", searching.documents(60))


@pytest.fixture
def sources(tmp_path):
    path = tmp_path / "documents.jsonl"
    texts = ["Where do you rotate the keys of a server?", "The moon is what we see.", "How now, keys?"]
    path.write_bytes(b"\n".join(orjson.dumps({"id": f"d{n}", "text": text}) for n, text in enumerate(texts)))
    return path


def ids(outcome) -> list[str]:
    assert outcome.code == 0, outcome.err
    return [hit["id"] for hit in orjson.loads(outcome.out)["hits"]]


def test_the_default_drops_stop_words_and_says_so(run, tmp_path, sources, model) -> None:
    index = tmp_path / "index"
    outcome = run("index", sources, "--model", model, "-o", index)
    assert outcome.code == 0, outcome.err
    assert "BM25: k1 1.2, b 0.9; stop words: english (" in outcome.out
    assert set(ids(run("search", index, "where is the key", "--mode", "lexical", "--json"))) == {"d0", "d2"}
    assert ids(run("search", index, "what is the", "--mode", "lexical", "--json"))[0] == "d1", "no other words"
    shown = run("search", index, "where is the key")
    assert shown.out.strip().splitlines()[-1].startswith("BM25: k1 1.2, b 0.9; stop words: english (")
    assert "BM25" not in run("search", index, "where is the key", "--mode", "dense").out


def test_every_option_reaches_the_search(run, tmp_path, sources, model) -> None:
    index = tmp_path / "index"
    (tmp_path / "list.txt").write_text("keys\nkey\n")
    options = ("--k1", "1.5", "--b", "0.75", "--stop-words", tmp_path / "list.txt", "--stemmer", "none")
    facts = orjson.loads(run("index", sources, "--model", model, "-o", index, *options, "--json").out)
    assert facts["bm25"] == "BM25: k1 1.5, b 0.75; stop words: list.txt (2); stemmer: none"
    found = run("search", index, "keys moon", "--mode", "lexical", "--json")
    assert orjson.loads(found.out)["bm25"] == facts["bm25"]
    assert ids(found) == ["d1"]
    assert ids(run("search", index, "rotates", "--mode", "lexical", "--json")) == [], "not stemmed"
    run("index", sources, "--model", model, "-o", index, "--overwrite", "--stop-words", "none", "--k1", "2")
    assert "BM25: k1 2, b 0.62; stop words: none;" in run("search", index, "keys").out
    assert "d1" in ids(run("search", index, "where is the key", "--mode", "lexical", "--json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--stop-words", "englsh"), "unknown list of stop words, and no such file: 'englsh'. Did you mean 'english'"),
        (("--stemmer", "englsh"), "unknown stemmer 'englsh'. Did you mean 'english'"),
        (("--b", "2"), "--b"),
        (("--k1", "-1"), "--k1"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(run, tmp_path, model, options, message) -> None:
    outcome = run("index", tmp_path / "absent.jsonl", "--model", model, "-o", tmp_path / "index", *options)
    assert outcome.code == 2
    assert message in outcome.err
    assert list(tmp_path.glob("index*")) == []


def test_an_index_of_an_earlier_version_gives_one_line(run, tmp_path, sources, model) -> None:
    index = tmp_path / "index"
    run("index", sources, "--model", model, "-o", index)
    manifest = orjson.loads((index / "MANIFEST.json").read_bytes())
    del manifest["meta"]["stop_words"], manifest["checksum"]
    (index / "MANIFEST.json").write_bytes(orjson.dumps(manifest))
    outcome = run("search", index, "keys")
    assert outcome.code == 1
    assert "earlier version of pretrieve: index the documents again" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_usual_settings_are_rows_beside_the_default(run, tmp_path) -> None:
    folder = searching.beir(tmp_path / "beir")
    result, page = tmp_path / "result.json", tmp_path / "result.md"
    outcome = run(
        "evaluate", folder, "--lexical", "bm25s,lucene, pretrieve", "--output-json", result, "--markdown", page
    )
    assert outcome.code == 0, outcome.err
    facts = orjson.loads(result.read_bytes())
    assert [row["system"] for row in facts["rows"]] == ["BM25", "BM25 (bm25s)", "BM25 (Lucene)"]
    assert facts["lexical"]["BM25"].startswith("BM25: k1 1.2, b 0.9; stop words: ")
    assert facts["lexical"]["BM25 (bm25s)"] == "BM25: k1 1.5, b 0.75; stop words: lucene (33); stemmer: none"
    assert facts["lexical"]["BM25 (Lucene)"] == "BM25: k1 1.2, b 0.75; stop words: lucene (33); stemmer: porter"
    assert {(test["a"], test["b"]) for test in facts["tests"]} == {
        ("BM25 (bm25s) (lexical)", "BM25 (lexical)"), ("BM25 (Lucene) (lexical)", "BM25 (lexical)"),
        ("BM25 (Lucene) (lexical)", "BM25 (bm25s) (lexical)"),
    }  # fmt: skip
    assert "BM25 (Lucene): k1 1.2, b 0.75; stop words: lucene (33); stemmer: porter" in page.read_text()
    assert "BM25: k1 1.2, b 0.9; stop words: " in outcome.out


def test_an_unknown_setting_is_refused(run, tmp_path) -> None:
    outcome = run("evaluate", searching.beir(tmp_path / "beir"), "--lexical", "lucen")
    assert outcome.code == 2
    assert "unknown setting of BM25: 'lucen'. Did you mean 'lucene'" in outcome.err
