"""The process that serves: its socket, its signals, its end."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator

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
    host, port = listening.getsockname()[:2]
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    with _stopped_gently():
        uvicorn.Server(config).run(sockets=[listening])


@contextlib.contextmanager
def _stopped_gently() -> Iterator[None]:
    """The signal that ended the server is raised again after it: it is no error."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
