"""The endpoint: what is sent, what is tried again, what ends a run, and where documents may go."""

from __future__ import annotations

import threading
import time

import pytest

import writers
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.generation import endpoint
from pretrieve.generation.asking import Sampling, write_queries
from pretrieve.generation.endpoint import Connection, EndpointError, EndpointGenerator, is_loopback
from pretrieve.generation.prompts import DEFAULTS, Prompt

DOCUMENTS = [(n, Document(id=f"d{n}", title=f"t{n}", text=f"red{n} green{n} blue{n} black{n}")) for n in range(6)]
PROMPT = Prompt(DEFAULTS["chat"], 3, 50)


@pytest.fixture(autouse=True)
def at_once(monkeypatch) -> None:
    monkeypatch.setattr(endpoint, "_FIRST", 0.01)


def ask(server, documents=DOCUMENTS, prompt=PROMPT, sampling=None, **options):
    connection = Connection(url=server.url, model="some-model", **options)
    return write_queries(EndpointGenerator(connection, sampling or Sampling()), prompt, documents)


def test_what_is_sent_and_read(monkeypatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # never asked for loopback
    with writers.serving() as server:
        found = ask(server, sampling=Sampling(temperature=0.5, top_p=0.9, max_new_tokens=20), api_key_env="MY_KEY")
    assert len(server.requests) == 6
    for (number, document), queries in zip(DOCUMENTS, found, strict=True):
        assert len(queries) == 3
        assert all(len(query.split()) == 3 and set(query.split()) <= set(document.text.split()) for query in queries)
        body = next(body for body in server.requests if document.text in body["messages"][0]["content"])
        assert (body["model"], body["temperature"], body["top_p"], body["max_tokens"]) == ("some-model", 0.5, 0.9, 60)
        assert f"Title: t{number}" in body["messages"][0]["content"]
    assert len({body["seed"] for body in server.requests}) == 6
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer secret"}


def test_seeds_are_of_documents_and_samples() -> None:
    with writers.serving() as server:
        assert ask(server)[2:4] == ask(server, DOCUMENTS[2:4], concurrency=1)
        assert ask(server) != ask(server, sampling=Sampling(seed=1))
        server.requests.clear()
        ask(server, DOCUMENTS[:1], Prompt("{document}", 3, 50))
        assert len({body["seed"] for body in server.requests}) == 3


@pytest.mark.parametrize(
    "reply",
    [429, 500, 503, b"garbage {", {"no": "choices"}, writers.completion(["x"]), (429, {"Retry-After": "0"}, b"wait")],
)
def test_what_passes_is_tried_again(reply) -> None:
    with writers.serving(replies=[reply, reply]) as server:
        assert all(ask(server, retries=2, concurrency=1))
        assert len(server.requests) == 8
    with (
        writers.serving(replies=[reply] * 9) as server,
        pytest.raises(EndpointError, match=r"in 3 tries.*add --resume to continue"),
    ):
        ask(server, retries=2, concurrency=1)
    assert len(server.requests) == 3


def test_an_empty_answer_is_an_empty_query() -> None:
    with writers.serving(replies=[writers.completion(None)]) as server:
        assert ask(server, DOCUMENTS[:1]) == [[""]]


def test_the_wait_doubles_and_honours_the_server(monkeypatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(threading.Event, "wait", lambda self, seconds=None: waits.append(seconds) or False)
    generator = EndpointGenerator(Connection(url="http://127.0.0.1:1/v1", model="m", retries=4), Sampling())
    replies = iter([endpoint._TransientError("no", wait) for wait in (0.0, 7.0, 99.0, 0.0)])

    def post(body: bytes) -> str:
        for error in replies:
            raise error
        return "done"

    generator._post = post
    from pretrieve.generation.asking import Ask

    assert generator._answer(PROMPT, Ask(DOCUMENTS[0][1], 0), threading.Event()) == "done"
    assert waits == [0.01, 7.0, 30.0, 0.08]


@pytest.mark.parametrize(
    ("status", "words"), [(401, "--api-key-env"), (403, "--api-key-env"), (404, "--model"), (405, "--endpoint")]
)
def test_a_refusal_ends_at_once(status, words) -> None:
    with (
        writers.serving(replies=[status]) as server,
        pytest.raises(EndpointError, match=f"{status}.*not to be") as error,
    ):
        ask(server, DOCUMENTS[:1])
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert len(server.requests) == 1


def test_a_document_that_is_refused() -> None:
    with writers.serving(refused="green2") as server:
        with pytest.raises(EndpointError, match=r"refuses document 'd2'.*--skip-refused"):
            ask(server)
        found = ask(server, skip_refused=True)
    assert [queries is None for queries in found] == [False, False, True, False, False, False]


@pytest.mark.parametrize("status", [302, 307])
def test_no_redirection_is_followed(status) -> None:
    """It could lead documents and key to another machine."""
    with writers.serving() as other, writers.serving() as server:
        server.replies = [(status, {"Location": f"{other.url}/chat/completions"}, b"")]
        with pytest.raises(EndpointError, match=str(status)):
            ask(server, DOCUMENTS[:1])
        assert not other.requests


def test_nobody_there_and_slow_answers() -> None:
    with pytest.raises(EndpointError, match=r"no answer .*refused.* in 2 tries"):
        ask(writers.Server(url="http://127.0.0.1:9/v1"), retries=1)
    with writers.serving(delay=1.0) as server, pytest.raises(EndpointError, match=r"no answer .*timed out"):
        ask(server, DOCUMENTS[:1], retries=0, timeout=0.1)


def test_requests_run_side_by_side_and_no_more_than_asked_for() -> None:
    running, most, lock = 0, 0, threading.Lock()
    generator = EndpointGenerator(Connection(url="http://127.0.0.1:1/v1", model="m", concurrency=3), Sampling())

    def post(body: bytes) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.05)
        with lock:
            running -= 1
        return "q"

    generator._post = post
    write_queries(generator, PROMPT, DOCUMENTS)
    assert most == 3


def test_documents_stay_on_this_machine_unless_it_is_allowed(monkeypatch) -> None:
    for host in ("localhost", "127.0.0.1", "127.8.8.8", "::1"):
        assert is_loopback(host)
    for url in (
        "http://10.0.0.1/v1",
        "https://api.example.org/v1",
        "http://localhost.example.org",
        "http://0.0.0.0/v1",
    ):
        with pytest.raises(UsageError, match=r"another machine.*--allow-remote"):
            Connection(url=url, model="m")
        Connection(url=url, model="m", allow_remote=True)
    for url in ("ftp://127.0.0.1", "127.0.0.1:8000", "http://", "http://me@127.0.0.1/v1", "http://127.0.0.1/v1?key=1"):
        with pytest.raises(UsageError, match="such as http"):
            Connection(url=url, model="m")
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(UsageError, match=r"NOT_SET.*not set"):
        Connection(url="http://localhost/v1", model="m", api_key_env="NOT_SET")
    for bad in ({"timeout": 0.0}, {"retries": -1}, {"concurrency": 0}, {"concurrency": 33}):
        with pytest.raises(UsageError, match="--concurrency"):
            Connection(url="http://localhost/v1", model="m", **bad)


def test_the_address() -> None:
    for url in ("http://localhost/v1", "http://localhost/v1/", "http://localhost/v1/chat/completions"):
        assert Connection(url=url, model="m").address == "http://localhost/v1/chat/completions"
