"""The page: rendered here, usable without its script, the same address for the same search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files as package_files
from typing import Any
from urllib.parse import urlencode

import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from pretrieve.core.shown import shown
from pretrieve.index.answering import default_group
from pretrieve.index.find import search
from pretrieve.index.hits import Hit, Hits
from pretrieve.serving.api import State, json_response, searching
from pretrieve.serving.asked import SearchRequest, read_query
from pretrieve.serving.comparing import change, overlap, rbo
from pretrieve.serving.limits import RequestError, body_of
from pretrieve.serving.origins import Voice, origins

COOKIE = "pretrieve_token"
PAGE = 10  # hits of a page
_COLUMNS = 4
_MODES = {"fused": "hybrid", "hybrid": "hybrid", "lexical": "lexical", "dense": "dense"}
_STATIC = {"serve.css": "text/css", "serve.js": "text/javascript"}
_TEMPLATES = Environment(loader=PackageLoader("pretrieve.serving"), autoescape=True, undefined=StrictUndefined,
                         trim_blocks=True, lstrip_blocks=True)  # fmt: skip


def pieces(hit: Hit) -> list[tuple[str, bool]]:
    """The sentence of a hit in pieces, and whether each is a word of the query; control characters are escaped."""
    found, last = [], 0
    for start, stop in hit.marks:
        found += [(shown(hit.sentence[last:start]), False), (shown(hit.sentence[start:stop]), True)]
        last = stop
    return [one for one in (*found, (shown(hit.sentence[last:]), False)) if one[0]]


_TEMPLATES.filters |= {"shown": shown, "pieces": pieces}


@dataclass(frozen=True, kw_only=True)
class Column:
    """One ranking of the page.

    Attributes:
        name: as the address has it.
        hits: of this page, each with who found it, the rankers, and its change against the first column.
        ids: of all hits down to this page, best first.
        gone: ids of the first column's page that are not among ``ids``.
        overlap: overlap@10 with the first column.
        rbo: the same.
        relevant: whether there is an answer.
        notes: what the user should know.
    """

    name: str
    hits: Sequence[tuple[Hit, str, Sequence[Voice], str]]
    ids: Sequence[str]
    gone: Sequence[str]
    overlap: float
    rbo: float
    relevant: bool
    notes: Sequence[str]


def _columns(state: State, asked: SearchRequest, names: Sequence[str], page: int) -> list[Column]:
    """All rankings of a page."""
    found: list[Column] = []
    for name in names:
        here = replace(asked, mode=_MODES[name]) if name in _MODES else replace(asked, index=name)  # type: ignore[arg-type]
        served = state.of(here.index)
        index = served.index
        with searching(served):
            result = search(
                index, here.query, page * PAGE, here.mode, filter=here.filter,
                group_by=default_group(index, here.group_by), syntax=True,
            )  # fmt: skip
            shown_hits = replace(result, hits=Hits(result.hits[(page - 1) * PAGE :]))
            said = origins(index, shown_hits, page * PAGE)
        ids = [hit.id for hit in result.hits]
        base = found[0].ids if found else ids
        moved = [change(hit.rank, hit.id, base) if found else "" for hit in shown_hits.hits]
        hits = [(hit, *origin, move) for hit, origin, move in zip(shown_hits.hits, said, moved, strict=True)]
        gone = [one for one in base[(page - 1) * PAGE :] if one not in ids]
        found.append(Column(name=name, hits=hits, ids=ids, gone=gone, overlap=overlap(base, ids), rbo=rbo(base, ids),
                            relevant=result.relevant, notes=result.notes))  # fmt: skip
    return found


async def _page(request: Request) -> Response:
    state: State = request.app.state.shared
    values = dict(request.query_params)
    if token := values.pop("token", ""):  # known to be right: kept as a cookie, and out of the address
        response: Response = RedirectResponse("/?" + urlencode(values) if values else "/", 303)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response
    facts: dict[str, Any] = {"columns": [], "error": "", "page": 1, "q": values.get("q", ""), "grades": {}}
    status = 200
    try:
        if facts["q"].strip():
            facts |= await _found(state, values)
    except RequestError as error:
        if error.retry_after is not None:
            raise
        facts["error"], status = str(error), error.status
    facts |= {"values": values, "names": list(state.served), "judging": state.judgements is not None,
              "link": lambda **changed: "/?" + urlencode({**values, **changed})}  # fmt: skip
    return HTMLResponse(_TEMPLATES.get_template("page.html").render(facts).encode("utf-8", "replace"), status)


async def _found(state: State, values: dict[str, str]) -> dict[str, Any]:
    """What the page shows of a query."""
    given = {name: values[name] for name in ("q", "filter", "group_by", "index") if values.get(name)}
    asked = read_query(given, state.limits)
    number = values.get("page", "1")
    page = int(number) if number.isascii() and number.isdecimal() and len(number) < 6 else 0
    if not 1 <= page <= state.limits.k // PAGE:
        raise RequestError(400, f"page={number:.20}: give a number from 1 to {state.limits.k // PAGE}.")
    names = [name.strip() for name in values.get("with", "").split(",") if name.strip()] or ["fused"]
    if len(set(names)) < len(names) or len(names) > _COLUMNS:
        raise RequestError(400, f"with={','.join(names):.80}: give up to {_COLUMNS} different rankings or indexes.")
    if unknown := next((name for name in names if name not in _MODES and name not in state.served), ""):
        raise RequestError(400, f"with={unknown:.60}: give {', '.join([*_MODES, *state.served])}.")
    columns = await state.gate.run(lambda: _columns(state, asked, names, page))
    grades = {} if state.judgements is None else state.judgements.of(asked.query)
    return {"columns": columns, "page": page, "grades": grades, "more": any(len(one.hits) == PAGE for one in columns)}


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
    if not isinstance(body, dict) or not isinstance(body.get("id"), str) or body.get("grade") not in (0, 1, None):
        raise RequestError(
            400, 'send {"query": "...", "id": "...", "grade": 1}; 0 is not relevant, null takes it back.'
        )
    query = body.get("query")
    asked = read_query({"q": query if isinstance(query, str) else ""}, state.limits)
    judge, document, grade = state.judgements.judge, body["id"], body["grade"]
    return json_response({"grades": await state.gate.run(lambda: judge(asked.query, document, grade))})


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise RequestError(404, "Not Found")
    data = (package_files("pretrieve.serving") / "static" / name).read_bytes()
    return Response(data, media_type=_STATIC[name], headers={"cache-control": "max-age=300"})


ROUTES = [
    Route("/", _page, methods=["GET"]),
    Route("/judge", _judge, methods=["POST"]),
    Route("/static/{name}", _static, methods=["GET"]),
]
