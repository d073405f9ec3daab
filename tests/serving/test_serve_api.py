"""The JSON API of ``pretrieve serve``, by a real process: answers, refusals, overload, a swap, the end."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest

import searching
from serving.conftest import HOSTILE, Server, pretrieve, write_documents

QUERIES = [
    {"q": "kamika lokaka"},
    {"q": "russhika estpanka", "k": "3", "mode": "lexical"},
    {"q": "russhika", "mode": "dense", "filter": "lang=en"},
    {"q": '"kamika" lang:en', "group_by": "lang"},
    {"q": HOSTILE},
]


@pytest.mark.parametrize("asked", QUERIES)
def test_the_answer_is_that_of_search_json(server, served_folder, asked) -> None:
    names = {"k": "-k", "mode": "--mode", "filter": "--filter", "group_by": "--group-by"}
    options = [part for name, value in asked.items() if name != "q" for part in (names[name], value)]
    said = pretrieve("search", served_folder / "index", asked["q"], "--json", *options)
    path = "/search?" + "&".join(f"{name}={quote(value)}" for name, value in asked.items())
    reply = server.get(path)
    assert reply.status == 200
    assert reply.json == json.loads(said)
    assert reply.json["hits"]
    options = {name: int(value) if name == "k" else value for name, value in asked.items() if name != "q"}
    batch = server.get("/search", {"queries": [asked["q"], "other words"], **options}).json["answers"]
    assert batch[0] == json.loads(said)
    assert len(batch) == 2


def test_a_document_by_its_id(server) -> None:
    reply = server.get("/documents/" + quote("x/<b>", safe=""))
    assert reply.status == 200
    assert reply.json["title"].startswith("<script>alert(1)</script>")
    assert server.get("/documents/none").status == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/search", None, 400, "q is missing"),
        ("/search?q=", None, 400, "q is empty"),
        ("/search?q=a&k=0", None, 400, "k=0"),
        ("/search?q=a&k=ten", None, 400, "k='ten'"),
        ("/search?q=a&k=1001", None, 400, "1,000 is the maximum"),
        ("/search?q=a&mode=fast", None, 400, "unknown mode 'fast'"),
        ("/search?q=a&filter=nofield%3D1", None, 400, "nofield"),
        ("/search?q=a&filter=((", None, 400, ""),
        ("/search?q=a&plain=perhaps", None, 400, "plain"),
        ("/search?q=a&K=3", None, 400, "unknown parameter 'K'"),
        ("/search?q=a&index=other", None, 404, "no index 'other'"),
        ("/search?q=" + "a" * 2001, None, 400, "2,000 is the maximum"),
        ("/search", b"{", 400, "malformed JSON"),
        ("/search", [], 400, "no object"),
        ("/search", {"queries": ["a", 3]}, 400, "queries[1]"),
        ("/search", {"queries": ["a"] * 101}, 400, "100 is the maximum"),
        ("/search", {"queries": ["a"] * 11, "k": 1000}, 400, "10,000 is the maximum"),
        ("/search", {"queries": ["a"], "k": 2.5}, 400, "k=2.5"),
        ("/search", {"queries": ["a"], "filter": 3}, 400, "filter"),
        ("/search", b" " * (2 << 20), 413, "1,048,576 bytes"),
        ("/nothing", None, 404, "Not Found"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_json(server, path, body, status, says) -> None:
    reply = server.get(path, body)
    assert reply.status == status, reply.text
    assert says in reply.json["error"]
    assert "\n" not in reply.json["error"]


def test_another_host_is_refused(server) -> None:
    assert server.get("/healthz", Host="evil.example").status == 400
    assert server.get("/healthz", Host="localhost:99").json == {"status": "ok"}


def test_every_answer_has_a_strict_policy(server) -> None:
    for path in ("/search?q=a", "/search", "/healthz", "/nothing"):
        headers = server.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_the_description_names_what_there_is(server) -> None:
    found = server.get("/openapi.json").json
    assert set(found["paths"]) >= {"/search", "/documents/{id}", "/healthz", "/metrics"}
    for parameter in found["paths"]["/search"]["get"]["parameters"]:
        value = {"q": "a", "index": "index", "filter": "lang=en", "group_by": "none"}.get(parameter["name"])
        value = value or str(parameter["schema"]["default"]).lower()
        assert server.get(f"/search?q=a&{parameter['name']}={quote(value)}").status == 200, parameter


def undescribed(value: object, schema: dict, named: dict) -> set[str]:
    """Keys of an answer that its description lacks."""
    schema = named[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(value, list):
        return {name for one in value for name in undescribed(one, schema.get("items", {}), named)}
    if not isinstance(value, dict) or "properties" not in schema:
        return set()
    known = schema["properties"]
    below = {name for key in value.keys() & known.keys() for name in undescribed(value[key], known[key], named)}
    return (value.keys() - known.keys()) | below


def test_the_description_has_every_key_of_an_answer(server) -> None:
    whole = server.get("/openapi.json").json
    schema = whole["paths"]["/search"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    named = whole["components"]["schemas"]
    answer = server.get("/search?q=%22kamika%22&why=true&full_text=true").json
    assert {"understood", "bm25"} <= answer.keys()
    assert {"why", "text", "marks", "relevance", "more"} <= answer["hits"][0].keys()
    assert undescribed(answer, schema, named) == set()
    assert undescribed({"other": 1, "hits": [{"new": 2, "why": {"old": 3}}]}, schema, named) == {"other", "new", "old"}


def test_metrics_count_requests(server) -> None:
    server.get("/nothing/at/all")
    server.get("/search?q=a")
    text = server.get("/metrics").text
    assert 'pretrieve_requests_total{route="other",status="404"}' in text
    assert 'pretrieve_requests_total{route="/search",status="200"}' in text
    assert 'pretrieve_documents{index="index"} 81' in text
    assert "/nothing" not in text


def test_a_token_is_asked_for(served_folder) -> None:
    server = Server(served_folder / "index", "--token", "secret-1")
    try:
        for headers in ({}, {"Authorization": "Bearer secret-2"}, {"Authorization": "secret-1"}):
            reply = server.get("/search?q=a", **headers)
            assert reply.status == 401
            assert "token" in reply.json["error"]
        assert server.get("/search?q=a", Authorization="Bearer secret-1").status == 200
        assert server.get("/healthz").status == 200
    finally:
        code, said = server.stop()
    assert "secret" not in said
    assert code == 0


def test_a_request_of_many_queries_lets_others_have_their_turn(served_folder) -> None:
    """One that comes at its beginning is answered long before its end."""
    server = Server(served_folder / "index")
    many = {"queries": [f"kamika {n}" for n in range(100)], "k": 100}

    def shares() -> Iterator[float]:
        """The time of a single query as a share of that of many, where it came while they ran."""
        for _ in range(10):
            done: list[tuple[int, float]] = []
            begun = time.perf_counter()
            asking = threading.Thread(
                target=lambda done=done: done.append((server.get("/search", many).status, time.perf_counter()))
            )
            asking.start()
            while "pretrieve_searches_inside 1" not in server.get("/metrics").text and not done:
                pass
            came = time.perf_counter()
            status = server.get("/search?q=kamika").status
            answered = time.perf_counter()
            asking.join()
            assert (status, done[0][0]) == (200, 200)
            yield (answered - came) / (done[0][1] - begun) if came < done[0][1] else 1.0

    try:
        assert any(share < 0.5 for share in shares())
    finally:
        server.stop()


def test_overload_is_503_with_a_time_to_wait(served_folder) -> None:
    server = Server(served_folder / "index", "--threads", "1", "--waiting", "1")
    replies = []
    body = {"queries": [f"kamika {n}" for n in range(100)], "k": 50}

    def ask() -> None:
        replies.append(server.get("/search", body))

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {reply.status for reply in replies} == {200, 503}
    for reply in replies:
        if reply.status == 503:
            assert reply.headers["retry-after"] == "1"
            assert "try again" in reply.json["error"]
    assert server.get("/search", body).status == 200, "afterwards there is room"
    assert "pretrieve_searches_inside 0" in server.get("/metrics").text
    server.stop()


def test_an_index_is_exchanged_without_a_failed_request(served_folder, tmp_path) -> None:
    shutil.copytree(served_folder / "index", tmp_path / "index")
    made = searching.documents(80)
    other = write_documents(tmp_path / "other.jsonl", [*made, *searching.documents(30, seed=5)[:0]][:40])
    server = Server(tmp_path / "index", "--threads", "2", "--waiting", "100")
    replies, running = [], threading.Event()

    def ask() -> None:
        while not running.is_set():
            replies.append(server.get("/search?q=kamika+lokaka").status)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    arguments = (other, "--model", served_folder / "model", "-o", tmp_path / "index")
    pretrieve("index", *arguments, "--overwrite")
    deadline = time.monotonic() + 20
    while 'pretrieve_documents{index="index"} 40' not in server.get("/metrics").text:
        assert time.monotonic() < deadline, "the new index is not opened"
        time.sleep(0.2)
    (tmp_path / "index" / "MANIFEST.json").write_text("{}")
    while server.get("/healthz").json["status"] == "ok":
        assert time.monotonic() < deadline, "the damage is not noticed"
        time.sleep(0.2)
    running.set()
    for thread in threads:
        thread.join()
    assert set(replies) == {200}
    assert len(replies) > 20
    assert server.stop()[1].count("has changed") == 2


def test_what_runs_is_answered_before_the_end(served_folder) -> None:
    server = Server(served_folder / "index")
    replies = []
    body = {"queries": [f"kamika {n}" for n in range(30)], "k": 80}  # less than the ten seconds of grace
    thread = threading.Thread(target=lambda: replies.append(server.get("/search", body)))
    thread.start()
    time.sleep(0.1)
    code, said = server.stop()
    thread.join()
    assert [reply.status for reply in replies] == [200]
    assert code == 0
    assert said.endswith("stopped.\n")


def test_mistakes_of_the_operator_are_one_line(served_folder, run) -> None:
    server = Server(served_folder / "index")
    port = server.address.rsplit(":", 1)[1]
    for words, says in (
        ((served_folder / "index", "--port", port), f"port {port}"),
        ((served_folder / "index", "--index", served_folder / "index"), "two indexes are called index"),
        ((served_folder / "docs.jsonl",), "docs.jsonl"),
        ((served_folder / "index", "--token", ""), "--token"),
    ):
        done = run("serve", *words)
        assert done.code != 0
        assert says in done.err
        assert done.err.count("\n") == 1
    server.stop()
