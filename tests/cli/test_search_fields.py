"""Fields, filters, groups, signs, passages and files of queries through the command line."""

from __future__ import annotations

import json
import re

import orjson
import pytest

import searching
from pretrieve.core.types import Document

PROSE = "The glacier moves slowly down the valley and carries stones to the lake. " * 8


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fields")
    words = Document(id="w", text=f"keys rotate linux windows violin {PROSE}")
    searching.static_model(folder / "model", [words, *searching.documents(20)])
    docs = folder / "docs"
    docs.mkdir()
    (docs / "keys.md").write_text(
        f"---\nauthor: Ada\ndate: 2025-03-01\n---\n# Keys\n\nHow to rotate keys. {PROSE}\n\n## Linux\n\nRotate keys."
        f" {PROSE}\n\n## Windows\n\nRotate keys here. {PROSE}\n\nMore of it. {PROSE}\n"
    )
    lines = [
        {"id": f"i{n}", "text": f"item {n} is a violin of wood", "lang": ["en", "de"][n % 2], "year": 2020 + n}
        for n in range(6)
    ]
    (docs / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture
def index(place, run):
    if not (place / "index").exists():
        done = run("index", place / "docs", "--model", place / "model", "-o", place / "index", "--passages",
                   "--passage-words", 100, "--json")  # fmt: skip
        assert done.code == 0, done.err
        facts = orjson.loads(done.out)
        assert facts["fields"]["lang"] == 6
        assert facts["reading"]["cut"] == 1
        assert "cut into 2 passages" in done.err
    return place / "index"


def hits(run, *words) -> list[dict]:
    done = run("search", *words, "--json")
    assert done.code == 0, done.err
    return orjson.loads(done.out)["hits"]


def test_hits_have_fields_place_and_relevance(index, run) -> None:
    best = hits(run, index, "rotate keys linux")[0]
    assert best["title"] == "Keys > Linux"
    assert best["place"] == "keys.md:11"
    assert best["fields"] == {"author": "Ada", "date": "2025-03-01"}
    assert best["more"] == 3, "passages are grouped by their document"
    assert best["parent"].endswith("keys.md")
    assert 0 < best["relevance"] <= 1
    printed = run("search", index, "rotate keys linux").out
    assert re.search(r"keys\.md:11; relevance 0\.\d\d; author: Ada; date: 2025-03-01; 3 more of it", printed)


def test_every_passage_is_a_hit_on_request(index, run) -> None:
    found = hits(run, index, "rotate keys", "--group-by", "none", "-k", 4)
    assert {hit["id"].partition("#")[2] for hit in found} == {"1", "2", "3#1", "3#2"}


def test_words_are_one_query(index, run) -> None:
    assert hits(run, index, "rotate", "keys", "linux")[0]["title"] == "Keys > Linux"


def test_filters(index, run) -> None:
    found = hits(run, index, "violin", "--filter", "lang=en and year>=2022")
    assert {hit["id"] for hit in found} == {"i2", "i4"}
    assert {hit["id"] for hit in hits(run, index, "violin lang:de year:<2024")} == {"i1", "i3"}
    assert len(hits(run, index, "violin", "--group-by", "lang", "--filter", "lang exists")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("violin", "--filter", "lang="), "expected a value after '=', the filter ends there"),
        (("violin", "--filter", "lnag=en"), "no document has a field 'lnag'. Did you mean 'lang'"),
        (("violin", "--group-by", "lnag"), "--group-by: no document has a field 'lnag'"),
        (("lang:en",), "no words to search for"),
        (("--queries", "nothing.txt"), "go together"),
        (("--queries", "nothing.txt", "--run", "run.txt"), "nothing.txt: no such file"),
        (("violin", "--queries", "a", "--run", "b"), "give one of them"),
    ],
)
def test_mistakes_are_one_line(index, run, words, said) -> None:
    done = run("search", index, *words)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("error:") == 1


def test_what_was_understood_is_said(index, run) -> None:
    done = run("search", index, '"rotate keys" +linux -windows')
    assert 'rotate keys linux; with "rotate keys", linux; without windows' in done.out.splitlines()[0]
    assert "Keys > Windows" not in done.out
    facts = orjson.loads(run("search", index, "keys -windows", "--json").out)
    assert facts["understood"] == {"text": "keys", "signs": "without windows"}
    plain = orjson.loads(run("search", index, "keys -windows", "--plain", "--json").out)
    assert "understood" not in plain


def test_nothing_relevant_is_said(index, run) -> None:
    done = run("search", index, "zebra crossing quantum violin")
    assert "Nothing relevant found; nearest:" in done.out
    assert orjson.loads(run("search", index, "zebra crossing quantum violin", "--json").out)["relevant"] is False
    assert "Nothing relevant" not in run("search", index, "how to rotate keys", "--mode", "lexical").out


@pytest.mark.parametrize(
    ("name", "content", "ids"),
    [
        ("q.txt", "rotate keys linux\n\nviolin -wood\n", ["1", "3"]),
        ("q.tsv", "id\ttext\na\trotate keys linux\nb\tviolin\n", ["a", "b"]),
        ("q.tsv", "a\trotate keys linux\nb\tviolin\n", ["a", "b"]),
        ("q.jsonl", '{"_id": "a", "text": "rotate keys linux"}\n"violin"\n', ["a", "2"]),
    ],
)
def test_files_of_queries_become_runs(index, run, tmp_path, name, content, ids) -> None:
    (tmp_path / name).write_text(content)
    done = run("search", index, "--queries", tmp_path / name, "--run", tmp_path / "run.txt", "-k", 3)
    assert done.code == 0, done.err
    assert "2 queries, 6 hits" in done.out
    rows = [line.split(" ") for line in (tmp_path / "run.txt").read_text().splitlines()]
    assert [row[0] for row in rows] == [ids[0]] * 3 + [ids[1]] * 3
    assert [row[3] for row in rows] == ["1", "2", "3"] * 2
    assert all(len(row) == 6 and row[1] == "Q0" and row[5] == "pretrieve" for row in rows)
    assert rows[0][2].endswith("keys.md"), "by parent, as hits are shown"
    assert float(rows[0][4]) >= float(rows[1][4])


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("q.tsv", "a\tb\tc\n", "q.tsv:1: 3 columns"),
        ("q.jsonl", "{\n", "q.jsonl:1: malformed JSON"),
        ("q.jsonl", '{"id": 1}\n', "q.jsonl:1: no text, query or question"),
        ("q.tsv", "a\tx\na\ty\n", "q.tsv:2: a query 'a' stands there before"),
        ("q.txt", "\n", "holds no query"),
    ],
)
def test_bad_files_of_queries_are_one_line(index, run, tmp_path, name, content, said) -> None:
    (tmp_path / name).write_text(content)
    done = run("search", index, "--queries", tmp_path / name, "--run", tmp_path / "run.txt")
    assert done.code in (1, 2)
    assert said in done.err
    assert not (tmp_path / "run.txt").exists()


def test_fields_too_large_are_counted(place, run, tmp_path) -> None:
    (tmp_path / "r.jsonl").write_text(
        json.dumps({"id": "a", "text": "violin", "big": "x " * 5000, "vector": [0.5] * 400})
    )
    done = run("index", tmp_path / "r.jsonl", "--model", place / "model", "-o", tmp_path / "i")
    assert done.code == 0, done.err
    assert "with fields that are too long to be kept" in done.err
    assert "big (1), vector (1)" in done.err


def test_vectors_fit_an_index_with_fields(place, run, tmp_path) -> None:
    """Encoded without fields, indexed with them: they are the same documents."""
    source = place / "docs" / "items.jsonl"
    assert run("encode", source, "--model", place / "model", "-o", tmp_path / "v").code == 0
    done = run("index", source, "--model", place / "model", "-o", tmp_path / "i", "--vectors", tmp_path / "v")
    assert done.code == 0, done.err
    assert hits(run, tmp_path / "i", "violin lang:en year:2020")[0]["fields"] == {"lang": "en", "year": 2020}


def test_updates_keep_fields_and_passages(place, run, tmp_path) -> None:
    """An update reads as the index was built: the same passages, places and fields; what is gone is not found."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for path in (place / "docs").iterdir():
        (docs / path.name).write_bytes(path.read_bytes())
    built = ("--passages", "--passage-words", 100)
    assert run("index", docs, "--model", place / "model", "-o", tmp_path / "i", *built).code == 0
    lines = (docs / "items.jsonl").read_text().splitlines()
    more = {"id": "new", "text": "a violin that is new", "lang": "fr", "year": 2030}
    (docs / "items.jsonl").write_text("\n".join([*lines[1:], json.dumps(more)]))
    done = run("index", docs, "--update", "-o", tmp_path / "i")
    assert done.code == 0, done.err
    assert "1 new" in done.out
    assert "1 removed" in done.out
    assert [hit["id"] for hit in hits(run, tmp_path / "i", "violin", "--filter", "year>=2030")] == ["new"]
    assert hits(run, tmp_path / "i", "violin", "--filter", "year=2020") == []
    assert hits(run, tmp_path / "i", "rotate keys linux")[0]["place"] == "keys.md:11"
    assert run("index", tmp_path / "none", "--update", "--passages", "-o", tmp_path / "i").code == 2
    assert run("index", "--compact", "-o", tmp_path / "i").code == 0
    assert {hit["id"] for hit in hits(run, tmp_path / "i", "violin lang:en")} == {"i2", "i4"}
