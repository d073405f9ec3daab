"""Judgements over HTTP: ``POST /judge``."""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pretrieve.serving.api import State, json_response
from pretrieve.serving.asked import read_query
from pretrieve.serving.limits import RequestError, body_of


async def _judge(request: Request) -> Response:
    state: State = request.app.state.shared
    if state.judgements is None:
        raise RequestError(404, "judgements are not kept: start the server with --judgements FOLDER.")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise RequestError(415, "send JSON.")  # what a page of another site cannot do unasked
    try:
        body = orjson.loads(await body_of(request, state.limits))
    except orjson.JSONDecodeError as error:
        raise RequestError(400, f"the body is malformed JSON ({error}).") from None
    query, document, grade = _read(body)
    kept, text = state.judgements, read_query({"q": query}, state.limits).query
    grades = await state.gate.run(lambda: kept.judge(text, document, grade))
    return json_response({"grades": grades, "unnamed": kept.unnamed})


def _read(body: object) -> tuple[str, str, int | None]:
    """Query, document and grade of a judgement.

    Raises:
        RequestError: it is of another form.
    """
    if isinstance(body, dict) and body.keys() == {"query", "id", "grade"}:
        query, document, grade = body["query"], body["id"], body["grade"]
        whole = grade is None or (type(grade) is int and grade in (0, 1))  # true and 1.0 are equal to 1
        if isinstance(query, str) and isinstance(document, str) and whole:
            return query, document, grade
    raise RequestError(400, 'send {"query": "...", "id": "...", "grade": 1}; 0 is not relevant, null takes it back.')


ROUTES = [Route("/judge", _judge, methods=["POST"])]
