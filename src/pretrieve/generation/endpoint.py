"""A generator behind an OpenAI-compatible endpoint: chat completions over HTTP, by the standard library alone.

Documents are sent to another machine only with permission: an address that is not loopback is refused without
``allow_remote``, and redirections are refused always.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from pretrieve.core.errors import PretrieveError, UsageError
from pretrieve.generation.asking import Ask, Sampling
from pretrieve.generation.prompts import Kind, Prompt

_BUSY = (408, 409, 425, 429, 500, 502, 503, 504, 529)  # worth another try
_OF_ONE = (400, 413, 422)  # about this request alone, perhaps: a text that is too long, or that a filter refuses
_FIRST, _LONGEST = 0.5, 30.0  # seconds before the first retry, doubled for each; and before any
_ANSWER = 4 << 20  # bytes of an answer that are read
MOST = 32  # concurrent requests at most, and documents between two saves
_POLL = 0.2  # seconds between two looks for a signal
_DETAIL = 200  # characters of a server's message that are shown


class EndpointError(PretrieveError):
    """An endpoint gave no usable answer: the text names it, says what it answered, and what to do."""


class _TransientError(Exception):
    """An error that a retry may fix; ``wait`` is the delay requested by the server, in seconds."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


class _RefusedError(Exception):
    """This request is refused, others may not be."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How an endpoint is reached.

    Attributes:
        url: address of the API, as ``http://127.0.0.1:8000/v1``.
        model: name of the model there.
        api_key_env: environment variable that holds the API key; none if empty.
        allow_remote: documents may be sent to another machine.
        timeout: seconds to wait for an answer.
        retries: tries after the first one that fails.
        concurrency: number of concurrent requests, at most ``MOST``.
        skip_refused: leave out documents that the endpoint refuses.

    Raises:
        UsageError: the address is none, or of another machine; the variable is not set; a number is too small.
    """

    url: str
    model: str
    api_key_env: str = ""
    allow_remote: bool = False
    timeout: float = 120.0
    retries: int = 5
    concurrency: int = 8
    skip_refused: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise UsageError(f"--endpoint {self.url}: give an address such as http://127.0.0.1:8000/v1.")
        if not self.allow_remote and not is_loopback(parts.hostname):
            raise UsageError(
                f"--endpoint {self.url} is another machine: the documents would be sent there. Add --allow-remote if "
                "that is allowed."
            )
        if self.timeout <= 0 or self.retries < 0 or not 1 <= self.concurrency <= MOST:
            raise UsageError(f"--timeout is above 0, --retries at least 0, and --concurrency between 1 and {MOST}.")
        if self.api_key_env and not os.environ.get(self.api_key_env):
            raise UsageError(f"--api-key-env {self.api_key_env}: this environment variable is not set.")

    @property
    def address(self) -> str:
        """Where chat completions are asked for."""
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: ``localhost``, 127.0.0.0/8 or ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class EndpointGenerator:
    """A chat model behind an endpoint.

    Attributes:
        kind: "chat".
        fingerprint: address and name of the model; its contents are unknown.

    Args:
        connection: how it is reached.
        sampling: how it draws; each request has a seed of its own, which the server may honour.
    """

    kind: Kind = "chat"

    def __init__(self, connection: Connection, sampling: Sampling) -> None:
        self._connection, self._sampling = connection, sampling
        self.fingerprint = f"{connection.address}#{connection.model}"
        # the proxies of the environment are for other machines
        local = is_loopback(urlsplit(connection.url).hostname or "")
        proxies = urllib.request.ProxyHandler({} if local else None)
        self._opener = urllib.request.build_opener(proxies, _NoRedirection)

    def complete(self, prompt: Prompt, asks: Sequence[Ask]) -> list[str | None]:
        """Answer each request, several at once; None where the endpoint refuses one and that is allowed.

        Raises:
            EndpointError: the endpoint cannot be reached, refuses, or gives no usable answer after all tries.
        """
        stopped = threading.Event()
        try:
            return _all_at_once(
                lambda ask: self._answer(prompt, ask, stopped), asks, self._connection.concurrency, stopped
            )
        finally:
            stopped.set()  # threads that still wait give up

    def _answer(self, prompt: Prompt, ask: Ask, stopped: threading.Event) -> str | None:
        body = self._body(prompt, ask)
        tries = self._connection.retries + 1
        for attempt in range(tries):
            try:
                return self._post(body)
            except _RefusedError as error:
                if self._connection.skip_refused:
                    return None
                raise EndpointError(
                    f"{self._connection.address} refuses document {ask.document.id!r} ({error}): fix the options, or "
                    "leave such documents out with --skip-refused."
                ) from None
            except _TransientError as error:
                pause = max(error.wait, _FIRST * 2**attempt)
                if attempt + 1 == tries or stopped.wait(min(pause, _LONGEST)):
                    raise EndpointError(
                        f"{self._connection.address}: {error}, in {attempt + 1} tries: check that the server runs and "
                        "is not overloaded (--concurrency, --timeout, --retries), then add --resume to continue."
                    ) from None
        raise AssertionError("unreachable")

    def _body(self, prompt: Prompt, ask: Ask) -> bytes:
        sampling = self._sampling
        return orjson.dumps(
            {
                "model": self._connection.model,
                "messages": [{"role": "user", "content": prompt.fill(ask.document)}],
                "temperature": sampling.temperature,
                "top_p": sampling.top_p,
                "max_tokens": sampling.max_new_tokens * (prompt.number if prompt.at_once else 1),
                "seed": ask.seed(sampling.seed),
            }
        )

    def _post(self, body: bytes) -> str:
        """Send one request and return the text of its answer."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self._connection.api_key_env:
            headers["Authorization"] = f"Bearer {os.environ[self._connection.api_key_env]}"
        # only http and https get here
        request = urllib.request.Request(self._connection.address, body, headers)  # noqa: S310
        try:
            with self._opener.open(request, timeout=self._connection.timeout) as response:
                return _text_of(response.read(_ANSWER))
        except urllib.error.HTTPError as error:
            raise self._failure(error) from None
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are of the first kind
            reason = getattr(error, "reason", None) or error
            raise _TransientError(f"no answer ({reason or type(error).__name__})") from None

    def _failure(self, error: urllib.error.HTTPError) -> Exception:
        """What an HTTP status means for the request and for the run."""
        with error:
            said = f"HTTP {error.code}{_message(error)}"
        if error.code in _BUSY:
            return _TransientError(said, _seconds(error.headers.get("Retry-After")))
        if error.code in _OF_ONE:
            return _RefusedError(said)
        hints = {401: "give the key with --api-key-env", 403: "give the key with --api-key-env",
                 404: "check --endpoint (it often ends with /v1) and --model"}  # fmt: skip
        hint = hints.get(error.code, "check --endpoint and --model")
        return EndpointError(f"{self._connection.address} refuses ({said}): {hint}.")


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """Another address may be another machine, which was not allowed to see documents or the key."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _all_at_once(
    work: Callable[[Ask], str | None], asks: Sequence[Ask], threads: int, stopped: threading.Event
) -> list[str | None]:
    """Do the work on several threads; the first error ends it, and signals are handled immediately.

    The threads are daemons: the pool of the standard library waits for answers when the process ends.
    """
    todo: queue.SimpleQueue[tuple[int, Ask]] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, str | BaseException | None]] = queue.SimpleQueue()
    for item in enumerate(asks):
        todo.put(item)

    def run() -> None:
        with contextlib.suppress(queue.Empty):
            while not stopped.is_set():
                place, ask = todo.get_nowait()
                try:
                    done.put((place, work(ask)))
                except BaseException as error:
                    done.put((place, error))
                    return

    for _ in range(min(threads, len(asks))):
        threading.Thread(target=run, daemon=True).start()
    found: dict[int, str | None] = {}
    while len(found) < len(asks):
        with contextlib.suppress(queue.Empty):
            place, result = done.get(timeout=_POLL)
            if isinstance(result, BaseException):
                raise result
            found[place] = result
    return [found[place] for place in range(len(asks))]


def _text_of(data: bytes) -> str:
    """The text of a chat completion."""
    try:
        text = orjson.loads(data)["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError):
        raise _TransientError(f"no chat completion in the answer ({data[:60]!r})") from None
    if text is not None and not isinstance(text, str):
        raise _TransientError("a chat completion whose content is no text")
    return text or ""


def _message(error: urllib.error.HTTPError) -> str:
    """What the server says of an error, in one short line."""
    try:
        data = error.read(_ANSWER)
    except (OSError, http.client.HTTPException):
        return ""
    try:
        said = orjson.loads(data)
        inner = said.get("error", said) if isinstance(said, dict) else said
        text = inner.get("message", "") if isinstance(inner, dict) else str(inner)
    except ValueError:
        text = data.decode(errors="replace")
    text = " ".join(str(text).split())[:_DETAIL]
    return f": {text}" if text else ""


def _seconds(header: str | None) -> float:
    """``Retry-After`` in seconds; a date there is not worth reading."""
    return float(header) if header and header.strip().isdigit() else 0.0
