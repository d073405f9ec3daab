"""What a request may ask for, and how many may wait: a server that has too much to do says so at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

T = TypeVar("T")
_DRAINED = 16  # times the largest body that is read of a larger one, and dropped


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused.

    Attributes:
        threads: searches that run at once.
        waiting: further ones that wait; more get 503.
        body: bytes of a request.
        query: characters of a query.
        k: hits of a query, and the deepest hit of a page.
        batch: queries of a request.
        hits: of all queries of a request.
        retry_after: seconds that a refused client is told to wait.
    """

    threads: int = 1
    waiting: int = 1
    body: int = 1 << 20
    query: int = 2_000
    k: int = 1_000
    batch: int = 100
    hits: int = 10_000
    retry_after: int = 1


class RequestError(Exception):
    """A request that is refused; ``status`` is that of HTTP, the text says what to do.

    Attributes:
        status: 4xx or 503.
        retry_after: seconds to wait, if that helps.
    """

    def __init__(self, status: int, text: str, retry_after: int | None = None) -> None:
        super().__init__(text)
        self.status, self.retry_after = status, retry_after


class Gate:
    """Runs searches in a few threads, and refuses those that would wait behind too many.

    Args:
        limits: threads and waiting requests.

    Attributes:
        inside: requests that run or wait.
        refused: requests that were refused.
        closed: whether the server ends: nothing begins any more.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="search")
        self.inside = self.refused = 0
        self.closed = False

    async def run(self, work: Callable[[], T]) -> T:
        """Run work in a thread.

        Args:
            work: the work.

        Raises:
            RequestError: too many wait, or the server ends; status 503.
        """
        self._enter()
        future = self._pool.submit(work)
        future.add_done_callback(self._leave_later(asyncio.get_running_loop()))
        return await asyncio.wrap_future(future)

    async def run_each(self, works: Iterable[Callable[[], T]]) -> list[T]:
        """Run the work of one request piece by piece, so that others have their turn in between.

        Args:
            works: the pieces, in order.

        Raises:
            RequestError: too many wait, or the server ends, also between two pieces; status 503.
        """
        self._enter()
        try:
            found = []
            for work in works:
                self.check_open()
                found.append(await asyncio.wrap_future(self._pool.submit(work)))
            return found
        finally:
            self._leave()

    def _enter(self) -> None:
        """Count a request, or refuse it."""
        limits = self._limits
        self.check_open()
        if self.inside >= limits.threads + limits.waiting:
            self.refused += 1
            text = f"{self.inside} requests run or wait already: try again in {limits.retry_after} s."
            raise RequestError(503, text, limits.retry_after)
        self.inside += 1

    def _leave_later(self, loop: asyncio.AbstractEventLoop) -> Callable[[object], None]:
        """Count the end of the work itself: it goes on where its client has left."""

        def left(_: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._leave)

        return left

    def _leave(self) -> None:
        self.inside -= 1

    def check_open(self) -> None:
        """Refuse to begin work, such as the next query of several, where the server ends.

        Raises:
            RequestError: it does; status 503.
        """
        if self.closed:
            raise RequestError(503, ending(self._limits), self._limits.retry_after)

    def close(self) -> None:
        """Let what runs end, and drop what waits."""
        self.closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)


def ending(limits: Limits) -> str:
    """What a request is told that the end of the server cuts off.

    Args:
        limits: seconds to wait.
    """
    return f"the server ends: try again in {limits.retry_after} s."


async def body_of(request: Request, limits: Limits) -> bytes:
    """The body of a request.

    Args:
        request: the request.
        limits: its largest size.

    Raises:
        RequestError: it is larger; status 413.
    """
    found, size = bytearray(), 0
    async for piece in request.stream():
        size += len(piece)
        if size <= limits.body:
            found += piece
        elif size > _DRAINED * limits.body:
            break
    if size > limits.body:  # what was sent is read, so that the client gets the refusal and not a broken connection
        raise RequestError(413, f"the body is larger than {limits.body:,} bytes: send fewer queries at once.")
    return bytes(found)
