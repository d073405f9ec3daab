"""The JSON API: ``/search``, ``/documents/{id}``, ``/healthz``, ``/metrics``, ``/openapi.json``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pretrieve.core.errors import PretrieveError, suggest
from pretrieve.core.types import Document
from pretrieve.index.answer_json import answer_json, default_group
from pretrieve.index.find import Result, search
from pretrieve.index.index import Index
from pretrieve.serving import openapi
from pretrieve.serving.asked import SearchRequest, read_batch, read_query
from pretrieve.serving.judgements import Judgements
from pretrieve.serving.limits import Gate, Limits, RequestError, body_of
from pretrieve.serving.metrics import CONTENT_TYPE, Metrics
from pretrieve.serving.origins import origins
from pretrieve.serving.served import Served, document_of
from pretrieve.serving.why import explain


@dataclass(kw_only=True)
class State:
    """What all requests share.

    Attributes:
        served: the indexes by name, the first one the default.
        limits: what is refused.
        gate: runs searches.
        metrics: counts.
        judgements: what was judged; None: it is not kept.
    """

    served: dict[str, Served]
    limits: Limits
    gate: Gate
    metrics: Metrics
    judgements: Judgements | None = None

    def of(self, name: str) -> Served:
        """An index by name; the first without one.

        Raises:
            RequestError: there is none of that name; status 404.
        """
        if not name:
            return next(iter(self.served.values()))
        if name not in self.served:
            raise RequestError(404, f"no index {name!r:.60} is served.{suggest(name[:60], self.served)}")
        return self.served[name]


@contextlib.contextmanager
def searching(served: Served) -> Iterator[None]:
    """Searching an index: one at a time where its model asks for that, and errors as refusals.

    Raises:
        RequestError: query or filter cannot be read.
    """
    try:
        with served.encoding:
            yield
    except PretrieveError as error:
        raise RequestError(400 if error.exit_code == 2 else 500, str(error)) from error


def answer(state: State, request: SearchRequest) -> dict[str, Any]:
    """The answer of ``pretrieve search --json``.

    Args:
        state: the indexes.
        request: what is asked for.

    Raises:
        RequestError: query or filter cannot be read, or there is no such index.
    """
    served = state.of(request.index)
    index, reasons = served.index, list[dict[str, Any]]()
    with searching(served):
        result = search(
            index,
            request.query,
            request.k,
            request.mode,
            filter=request.filter,
            group_by=default_group(index, request.group_by),
            syntax=not request.plain,
        )
        if request.why:
            reasons = why_json(index, result, request.k)
    found = answer_json(index, request.query, request.mode, result, full_text=request.full_text)
    for hit, reason in zip(found["hits"] if request.why else (), reasons, strict=True):
        hit["why"] = reason
    return found


def why_json(index: Index, result: Result, depth: int) -> list[dict[str, Any]]:
    """Why each hit was found: by whom, with which scores, shared terms and near tokens.

    Args:
        index: the index.
        result: what was found.
        depth: number of hits that are asked for.
    """
    said, whys = origins(index, result, depth), explain(index, result)
    return [
        {"found_by": who, "rankers": [asdict(voice) for voice in voices], **why.to_json()}
        for (who, voices), why in zip(said, whys, strict=True)
    ]


def json_response(value: object, status: int = 200) -> Response:
    """A value as JSON."""
    data = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(data, status, media_type="application/json")


async def _search(request: Request) -> Response:
    state: State = request.app.state.shared
    asked = read_query(request.query_params, state.limits)
    return json_response(await state.gate.run(lambda: answer(state, asked)))


async def _search_many(request: Request) -> Response:
    state: State = request.app.state.shared
    try:
        body = orjson.loads(await body_of(request, state.limits))
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"the body is malformed JSON ({error}).") from None
    asked = read_batch(body, state.limits)
    answers = await state.gate.run_each([partial(answer, state, one) for one in asked])
    return json_response({"answers": answers})


async def find_document(request: Request) -> tuple[Served, Document]:
    """The document that an address names, and its index.

    Raises:
        RequestError: there is none, or too much to do.
    """
    state: State = request.app.state.shared
    served, name = state.of(request.query_params.get("index", "")), request.path_params["id"]
    found = await state.gate.run(lambda: document_of(served.index, name))
    if found is None:
        raise RequestError(404, f"no document {name!r:.100} in {served.name}.")
    return served, found


async def _document(request: Request) -> Response:
    return json_response(document_json((await find_document(request))[1]))


def document_json(document: Document) -> dict[str, Any]:
    """A document as plain values."""
    return {
        "id": document.id,
        "title": document.title,
        "text": document.text,
        "place": document.place,
        "parent": document.parent,
        "fields": dict(document.fields),
    }


async def _health(request: Request) -> Response:
    state: State = request.app.state.shared
    problems = any(one.problem for one in state.served.values())
    return json_response({"status": "old index" if problems else "ok"})


async def _metrics(request: Request) -> Response:
    state: State = request.app.state.shared
    return Response(state.metrics.text(state.gate, state.served), headers={"content-type": CONTENT_TYPE})


async def _openapi(request: Request) -> Response:
    state: State = request.app.state.shared
    return json_response(openapi.described(state.limits, list(state.served)))


ROUTES = [
    Route("/search", _search, methods=["GET"]),
    Route("/search", _search_many, methods=["POST"]),
    Route("/documents/{id:path}", _document, methods=["GET"]),
    Route("/healthz", _health, methods=["GET"]),
    Route("/metrics", _metrics, methods=["GET"]),
    Route("/openapi.json", _openapi, methods=["GET"]),
]
