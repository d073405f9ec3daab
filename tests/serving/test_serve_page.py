"""The page of ``pretrieve serve``: hostile text is text, rankings side by side, judgements that ``evaluate`` reads."""

from __future__ import annotations

import re
import shutil
from html import unescape
from urllib.parse import quote

import pytest

import searching
from pretrieve.index.filters import Filter
from pretrieve.serving.comparing import change, overlap, rbo
from pretrieve.serving.facets import has, toggled
from serving.conftest import HOSTILE, Server, pretrieve, write_documents


def test_hostile_text_is_text(server) -> None:
    for sign in ("<script>alert", "<img"):
        assert sign not in server.get(f"/?q={quote(HOSTILE)}").text
    page = server.get("/?q=script+alert+kamika&with=hybrid,lexical").text
    assert "&lt;script&gt;alert" in page
    for sign in ("<script>alert", "<img", "\x1b", "\u202e"):
        assert sign not in page
    assert "<mark>kamika</mark>" in page
    assert server.get("/?q=a&with=<b>").text.count("<b>") == 0


def test_rankings_side_by_side(server) -> None:
    reply = server.get("/?q=kamika+lokaka&with=lexical,dense,hybrid")
    assert reply.status == 200
    assert reply.text.count("<section") == 3
    assert reply.text.count("overlap@10") == 2
    assert 'class="origin' in reply.text
    assert server.get("/?q=kamika&page=2").text.count('<ol start="11">') == 1
    for bad in ("with=lexical,lexical", "with=nothing", "with=index:fast", "page=0", "page=101", "filter=((("):
        reply = server.get(f"/?q=kamika&{bad}")
        assert reply.status == 400
        assert 'role="alert"' in reply.text


def test_style_and_script_come_along(server) -> None:
    assert server.get("/static/serve.css").status == 200
    assert server.get("/static/serve.js").headers["content-type"].startswith("text/javascript")
    assert server.get("/static/page.html").status == 404
    assert server.get("/judge", {"query": "a", "id": "d001", "grade": 1}).status == 404


def test_how_alike_rankings_are() -> None:
    assert rbo("abc", "abc") == pytest.approx(1)
    assert rbo("abc", "xyz") == 0
    assert rbo("ab", "ba", p=0.5) == pytest.approx(0.5)  # by hand: (0/1 * .5 + 2/2 * .25) * 1 + 2/2 * .25
    assert overlap("abcd", "abxy") == 0.5
    assert [change(1, "c", "abc"), change(2, "a", "abc"), change(2, "b", "abc"), change(1, "z", "abc")] == [
        "▲2", "▼1", "=", "new",
    ]  # fmt: skip


def test_documents_have_a_page(server) -> None:
    reply = server.get(f"/read/{quote('x/<b>', safe='')}")
    assert reply.status == 200
    assert "&lt;script&gt;alert" in reply.text
    for sign in ("<script>alert", "<img", "\x1b", "\u202e"):
        assert sign not in reply.text
    assert server.get("/read/none").status == 404


def test_an_index_cannot_be_called_as_a_ranking(served_folder, tmp_path, run) -> None:
    shutil.copytree(served_folder / "index", tmp_path / "dense")
    done = run("serve", tmp_path / "dense")
    assert done.code != 0
    assert "rename its folder" in done.err


def test_another_index_side_by_side(served_folder, tmp_path) -> None:
    other = write_documents(tmp_path / "other.jsonl", searching.documents(30))
    pretrieve("index", other, "--model", served_folder / "model", "-o", tmp_path / "other")
    server = Server(served_folder / "index", "--index", tmp_path / "other")
    try:
        text = server.get("/?q=kamika+lokaka&with=hybrid,other,other:dense,other:lexical").text
        assert text.count("<section") == 4
        assert text.count("overlap@10") == 3
        assert "gone:" in text
        assert '<span class="moved">' in text
        assert re.search(r'href="/read/d0\d\d\?index=other"', text)
        text = server.get("/?q=kamika+lokaka&with=hybrid,other&index=other").text
        assert 'role="alert"' in text, "the same ranking twice"
    finally:
        server.stop()


def test_who_found_a_hit_is_asked_of_the_documents_that_are_allowed(server) -> None:
    best = server.get("/search?q=kamika+lokaka&k=1&mode=lexical").json["hits"][0]["id"]
    where = quote(f'not id="{best}"')
    (hit,) = server.get(f"/search?q=kamika+lokaka&k=1&why=1&mode=lexical&filter={where}").json["hits"]
    assert hit["id"] != best
    assert hit["why"]["found_by"] in ("lexical", "both")


def test_why_adds_up_to_the_score(server) -> None:
    query = "kamika kamika lokaka unheardof"
    plain = server.get(f"/search?q={quote(query)}&k=5").json
    reply = server.get(f"/search?q={quote(query)}&k=5&why=1").json
    assert server.get("/search", {"query": query, "k": 5, "why": True}).json["answers"] == [reply]
    seen = set()
    for hit, bare in zip(reply["hits"], plain["hits"], strict=True):
        why = hit.pop("why")
        assert hit == bare
        words = why["rankers"][0]
        assert words["name"] == "BM25"
        assert sum(term["score"] for term in why["terms"]) == pytest.approx(words["score"], abs=1e-5)
        assert {term["word"] for term in why["terms"]} <= {"kamika", "lokaka"}
        assert not why["terms"] or sum(term["share"] for term in why["terms"]) == pytest.approx(1)
        assert why["tokens"]
        for pair in why["tokens"]:
            assert pair["query"] in ("kamika", "lokaka")
            assert pair["similarity"] == pytest.approx(1, abs=1e-5) or pair["hit"] != pair["query"]
        seen |= {term["word"] for term in why["terms"]}
    assert seen
    assert server.get(f"/?q={quote(query)}").text.count('<details class="why">') == 10
    assert server.get("/search?q=a&why=maybe").status == 400


def test_facets_count_what_their_filter_finds(server) -> None:
    text = server.get("/?q=kamika").text
    links = re.findall(r'class="facet" href="([^"]+)".*?<span class="count">([\d,]+)</span>', text)
    assert [int(count) for _, count in links] == [80, 1]
    assert "Among the best 81 documents" in text
    for link, count in links:
        page = server.get(unescape(link)).text
        assert f"Among the best {count} documents" in page, "the hostile value too"
        assert 'aria-current="true"' in page
        (back,) = re.findall(r'class="facet" href="([^"]+)" aria-current', page)
        assert unescape(back) == "/?q=kamika"


@pytest.mark.parametrize(
    ("given", "then"),
    [("", 'a="1"'), ("b=2", 'b=2 and a="1"'), ("b=2 or c=3", '(b=2 or c=3) and a="1"'), ("(b=2\nOR c=3)", None)],
)
def test_a_facet_is_added_to_a_filter_and_taken_away(given, then) -> None:
    added = toggled(given, 'a="1"')
    assert then is None or added == then
    Filter.parse(added)
    assert has(added, 'a="1"')
    assert not has(given, 'a="1"')
    assert toggled(added, 'a="1"').strip("()") == given.strip("()")
