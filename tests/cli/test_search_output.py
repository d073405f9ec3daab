"""What ``pretrieve search`` prints of long documents, and as JSON."""

from __future__ import annotations

import orjson
import pytest

import searching


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("long")
    made = searching.documents(20)
    searching.static_model(folder / "model", made)
    lines = [{"id": one.id, "title": one.title, "text": one.text} for one in made]
    lines.append({"id": "long", "title": "Long", "text": f"{'word ' * 400_000} violin {'word ' * 100_000}"})
    (folder / "docs.jsonl").write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return folder


@pytest.fixture
def index(place, run):
    if not (place / "index").exists():
        done = run("index", place / "docs.jsonl", "--model", place / "model", "-o", place / "index")
        assert done.code == 0, done.err
    return place / "index"


def test_a_long_document_prints_a_snippet(index, run):
    done = run("search", index, "violin")
    assert done.code == 0
    (line,) = [line for line in done.out.splitlines() if "violin" in line]
    assert "… word" in line
    assert "word …" in line
    assert max(map(len, done.out.splitlines())) < 400


def test_code_is_shown_in_a_line(place, run, tmp_path):
    """Its line breaks and indentation are one space each; --top-k is -k."""
    code = "def play(violin):\n        return violin\n"
    (tmp_path / "play.json").write_bytes(orjson.dumps({"text": code}))
    assert run("index", tmp_path / "play.json", "--model", place / "model", "-o", tmp_path / "made").code == 0
    done = run("search", tmp_path / "made", "violin", "--top-k", 1)
    assert "              def play(violin): return violin\n" in done.out
    assert "elevan" not in done.out, "one document has none to be compared with"


def test_json_holds_the_text_only_on_request(index, run, tmp_path):
    short = run("search", index, "violin", "--json").out
    full = run("search", index, "violin", "--json", "--full-text").out
    (hit, *_), (whole, *_) = orjson.loads(short)["hits"], orjson.loads(full)["hits"]
    assert len(short) < 50_000
    assert hit["id"] == "long"
    assert set(whole) - set(hit) == {"text"}
    assert len(whole["text"]) > 2_000_000
    assert hit["sentence"][slice(*hit["marks"][0])] == "violin"
    assert run("search", index, "violin", "--output-json", tmp_path / "o.json", "--full-text").code == 0
    assert len((tmp_path / "o.json").read_bytes()) > 2_000_000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("violin", "--full-text"), "--json"),
        (("",), "the query is empty"),
        (("  ",), "the query is empty"),
        (("half \udcff",), "surrogate"),
        (("x" * 100_001,), "100,000 is the maximum"),
    ],
)
def test_odd_queries_are_one_line(index, run, words, said):
    done = run("search", index, *words)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("error:") == 1


def test_a_source_in_memory_is_none_for_a_command(run, tmp_path):
    done = run("train", "memory:0123456789abcdef", "-o", tmp_path / "m")
    assert done.code == 2
    assert "that a Python program gave to Retriever" in done.err
    assert not (tmp_path / "m").exists()
