"""The page of ``pretrieve serve``: hostile text is text, rankings side by side, judgements that ``evaluate`` reads."""

from __future__ import annotations

from urllib.parse import quote

import orjson
import pytest

from pretrieve.serving.comparing import change, overlap, rbo
from serving.conftest import HOSTILE, Server, pretrieve


def test_hostile_text_is_text(server) -> None:
    for sign in ("<script>alert", "<img"):
        assert sign not in server.get(f"/?q={quote(HOSTILE)}").text
    page = server.get("/?q=script+alert+kamika&with=fused,lexical").text
    assert "&lt;script&gt;alert" in page
    for sign in ("<script>alert", "<img", "\x1b", "\u202e"):
        assert sign not in page
    assert "<mark>kamika</mark>" in page
    assert server.get("/?q=a&with=<b>").text.count("<b>") == 0


def test_rankings_side_by_side(server) -> None:
    reply = server.get("/?q=kamika+lokaka&with=lexical,dense,index")
    assert reply.status == 200
    assert reply.text.count("<section") == 3
    assert reply.text.count("overlap@10") == 2
    assert 'class="origin' in reply.text
    assert server.get("/?q=kamika&page=2").text.count('<ol start="11">') == 1
    for bad in ("with=a,a", "with=nothing", "page=0", "filter=((("):
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


def test_judgements_are_read_by_evaluate(served_folder, tmp_path) -> None:
    server = Server(served_folder / "index", "--judgements", tmp_path / "kept")
    for query, name, grade in (("kamika lokaka", "d001", 1), ("kamika lokaka", "d002", 0), ("russhika", "d003", 1)):
        assert server.get("/judge", {"query": query, "id": name, "grade": grade}).json["grades"][name] == grade
    assert server.get("/judge", {"query": "a", "id": "none", "grade": 1}).status == 404
    assert server.get("/judge", {"query": "a", "id": "d001", "grade": 7}).status == 400
    server.stop()
    server = Server(served_folder / "index", "--judgements", tmp_path / "kept")
    assert server.get("/judge", {"query": "kamika lokaka", "id": "d002", "grade": None}).json["grades"] == {"d001": 1}
    server.stop()
    said = pretrieve("evaluate", tmp_path / "kept", "--model", served_folder / "model", "--json")
    assert orjson.loads(said)["rows"]
