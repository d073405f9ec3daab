"""The process that serves: its socket, its signals, its end."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from pretrieve.core.errors import UsageError
from pretrieve.core.memory import leave_alone_what_is_loaded

_SWITCH = 0.0005  # seconds after which a search lets the event loop have its turn
_GRACE = 10  # seconds that running requests have to end


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Open the socket.

    Args:
        host: address or name.
        port: 0 chooses a free one.

    Raises:
        UsageError: it cannot be had.
    """
    found = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(2048)
    except OSError as error:
        if found is not None:
            found.close()
        raise UsageError(
            f"cannot listen on {host} port {port} ({error.strerror}): give another --port or --host."
        ) from error
    return found


def serve(app: Starlette, listening: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; requests that run then are answered first.

    Args:
        app: the application.
        listening: its socket.
        ready: told the address.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="on", timeout_graceful_shutdown=_GRACE,
        timeout_keep_alive=10, h11_max_incomplete_event_size=64 << 10, proxy_headers=False, backlog=2048,
    )  # fmt: skip
    leave_alone_what_is_loaded()
    sys.setswitchinterval(_SWITCH)
    server = uvicorn.Server(config)
    host, port = listening.getsockname()[:2]
    with _stopped_gently(server):
        ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        server.run(sockets=[listening])


@contextlib.contextmanager
def _stopped_gently(server: uvicorn.Server) -> Iterator[None]:
    """SIGINT and SIGTERM are no error, from the line that says "Serving on" to the end.

    While it serves, uvicorn handles them, and raises them again at its end. A supervisor may send SIGTERM more than
    once: a server that has ended ignores it, so that its process exits with 0.
    """

    def end(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    before = signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
