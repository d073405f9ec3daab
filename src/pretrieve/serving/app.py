"""The application: routes, and what holds for every request: token, host, headers, errors as JSON, counts."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pretrieve.serving import api, judging, pages
from pretrieve.serving.api import State, json_response
from pretrieve.serving.judgements import Judgements
from pretrieve.serving.limits import Gate, Limits, RequestError, ending
from pretrieve.serving.metrics import Metrics
from pretrieve.serving.served import Served

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src "
    "'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}
_OPEN = ("/healthz", "/static/serve.css", "/static/serve.js", "/static/serve.svg")  # answered without a token
_EVERY = 0.5  # seconds between two looks at the MANIFESTs


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How to serve.

    Attributes:
        token: what clients have to give; empty: nothing.
        hosts: names that clients may call the server by; empty: any.
        limits: what is refused.
        judgements: where judgements of the page are kept; None: nowhere.
        note: told what the operator should know.
    """

    token: str = ""
    hosts: Sequence[str] = ()
    limits: Limits = field(default_factory=Limits)
    judgements: Judgements | None = None
    note: Callable[[str], None] = print


def make_app(served: dict[str, Served], options: ServeOptions) -> Starlette:
    """Make the application.

    Args:
        served: the indexes by name.
        options: how to serve them.
    """
    state = State(
        served=served,
        limits=options.limits,
        gate=Gate(options.limits),
        metrics=Metrics(),
        judgements=options.judgements,
    )

    @contextlib.asynccontextmanager
    async def living(_: Starlette) -> AsyncIterator[None]:
        watch = asyncio.create_task(_watch(state, options.note))
        yield
        watch.cancel()
        await asyncio.to_thread(state.gate.close)  # what was cut off is answered meanwhile

    middleware = [Middleware(_Guard, state=state, options=options)]
    app = Starlette(
        routes=[*api.ROUTES, *judging.ROUTES, *pages.ROUTES],
        middleware=middleware,
        exception_handlers={HTTPException: _http_error},
        lifespan=living,
    )
    app.state.shared = state
    return app


async def _watch(state: State, note: Callable[[str], None]) -> None:
    """Open indexes again that have changed, in a thread of its own."""
    while True:
        await asyncio.sleep(_EVERY)
        for one in state.served.values():
            if await asyncio.to_thread(one.refresh):
                done = f"{len(one.index):,} documents" if not one.problem else f"the old one answers on: {one.problem}"
                note(f"{one.described} has changed: {done}")


class _Guard:
    """What is done around each request."""

    def __init__(self, app: ASGIApp, state: State, options: ServeOptions) -> None:
        self._app, self._state, self._options = app, state, options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request, begun, answered = Request(scope), time.perf_counter(), _Answered(send)
        try:
            _check(request, self._options)
            await self._app(scope, receive, answered)
        except RequestError as error:
            await error_response(error)(scope, receive, answered)
        except asyncio.CancelledError:  # the grace period after SIGTERM is over
            if answered.status:
                raise
            limits = self._options.limits
            await error_response(RequestError(503, ending(limits), limits.retry_after))(scope, receive, answered)
        except Exception as error:
            self._options.note(f"unexpected {type(error).__name__} in {_route(request)}: {error!s:.300}")
            if answered.status:
                raise
            said = {"error": f"unexpected {type(error).__name__}: please report it."}
            await json_response(said, 500)(scope, receive, answered)
        finally:
            self._state.metrics.add(_route(request), answered.status or 500, time.perf_counter() - begun)


class _Answered:
    """Sends an answer with the headers that all have; ``status`` is 0 until it begins."""

    def __init__(self, send: Send) -> None:
        self._send, self.status = send, 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            headers.setdefault("cache-control", "no-store")
        await self._send(message)


def _check(request: Request, options: ServeOptions) -> None:
    """Refuse a request of another host, or without the token."""
    host = request.headers.get("host", "").lower()
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    if options.hosts and name not in options.hosts:  # a page of another site that calls the server by its own name
        raise RequestError(400, f"{host!r:.80} is no name of this server: use {options.hosts[0]}.")
    if options.token and request.url.path not in _OPEN and not _knows(request, options.token):
        raise RequestError(401, "the token is missing or wrong: send Authorization: Bearer TOKEN.")


def error_response(error: RequestError) -> Response:
    """A refusal as JSON."""
    response = json_response({"error": str(error)}, error.status)
    if error.retry_after is not None:
        response.headers["retry-after"] = str(error.retry_after)
    if error.status == 401:
        response.headers["www-authenticate"] = "Bearer"
    return response


def _knows(request: Request, token: str) -> bool:
    kind, _, given = request.headers.get("authorization", "").partition(" ")
    found = [given if kind.lower() == "bearer" else "", request.cookies.get(pages.COOKIE, "")]
    if request.url.path == "/":
        found.append(request.query_params.get("token", ""))
    return any(hmac.compare_digest(one.encode("utf-8", "replace"), token.encode()) for one in found)


def _route(request: Request) -> str:
    """The route as declared: what clients write makes no labels."""
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            return str(route.path)
    return "other"


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = json_response({"error": error.detail}, error.status_code)
    response.headers.update(error.headers or {})
    return response
