"""The end of ``pretrieve serve``: what still runs after the grace period, and who comes after SIGTERM."""

from __future__ import annotations

import socket
import threading
import time
from email.message import Message
from email.parser import BytesParser
from urllib.parse import urlsplit

from serving.conftest import Reply, Server


def connected(server: Server) -> socket.socket:
    where = urlsplit(server.address)
    return socket.create_connection((where.hostname, where.port), timeout=60)


def reply_of(connection: socket.socket) -> tuple[int, Message, bytes]:
    """Status, headers and body of what a connection answers until it is closed."""
    found = b""
    while piece := connection.recv(1 << 16):
        found += piece
    head, _, body = found.partition(b"\r\n\r\n")
    line, _, headers = head.partition(b"\r\n")
    return int(line.split()[1]), BytesParser().parsebytes(headers), body


def test_what_still_runs_after_the_grace_period_is_503(served_folder) -> None:
    server = Server(served_folder / "index", "--threads", "1")
    body = {"queries": [f"kamika lokaka {n}" for n in range(100)], "k": 100, "why": True}
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(server.get("/search", body))) for _ in range(6)]
    for thread in threads:
        thread.start()
    name = urlsplit(server.address).netloc
    with connected(server) as held:
        held.sendall(f"POST /search HTTP/1.1\r\nhost: {name}\r\ncontent-length: 100\r\n\r\n{{".encode())
        time.sleep(1)
        server.process.terminate()
        begun = time.monotonic()
        time.sleep(1)
        try:
            with connected(server) as late:
                late.sendall(f"GET /search?q=a HTTP/1.1\r\nhost: {name}\r\n\r\n".encode())
                assert reply_of(late)[0] == 503
        except OSError:
            pass  # refused
        status, headers, text = reply_of(held)
        assert time.monotonic() - begun > 5, "it was given time"
    assert status == 503, text
    assert headers["retry-after"] == "1"
    assert b"the server ends" in text
    for thread in threads:
        thread.join()
    code, said = server.stop()
    assert {reply.status for reply in replies} <= {200, 503}
    assert all(reply.headers["retry-after"] == "1" for reply in replies if reply.status == 503)
    assert code == 0
    assert "unexpected" not in said
    assert said.endswith("stopped.\n")


def test_who_asks_for_the_end_again_and_again_changes_nothing(served_folder) -> None:
    """SIGTERM, until the process is gone: it ends by itself, with 0."""
    server = Server(served_folder / "index")
    while server.process.poll() is None:
        server.process.terminate()
        time.sleep(0.002)
    code, said = server.stop()
    assert said.endswith("stopped.\n")
    assert code == 0
