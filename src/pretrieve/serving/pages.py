"""The pages: rendered here, usable without their script, the same address for the same search."""

from __future__ import annotations

from importlib.resources import files as package_files
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from pretrieve.core.shown import shown
from pretrieve.index.hits import Hit
from pretrieve.serving.api import State, find_document
from pretrieve.serving.asked import read_query
from pretrieve.serving.facets import has, toggled
from pretrieve.serving.limits import RequestError
from pretrieve.serving.rankings import NO_FACETS, PAGE, columns, offered, read_rankings

COOKIE = "pretrieve_token"
_GIVEN = ("q", "filter", "group_by", "index", "page", "with")  # what an address says of a search
_STATIC = {"serve.css": "text/css", "serve.js": "text/javascript", "serve.svg": "image/svg+xml"}
_TEMPLATES = Environment(loader=PackageLoader("pretrieve.serving"), autoescape=True, undefined=StrictUndefined,
                         trim_blocks=True, lstrip_blocks=True)  # fmt: skip


def pieces(hit: Hit) -> list[tuple[str, bool]]:
    """The sentence of a hit in pieces, and whether each is a word of the query; control characters are escaped."""
    found, last = [], 0
    for start, stop in hit.marks:
        found += [(shown(hit.sentence[last:start]), False), (shown(hit.sentence[start:stop]), True)]
        last = stop
    return [one for one in (*found, (shown(hit.sentence[last:]), False)) if one[0]]


def read_address(name: str, index: str) -> str:
    """The address of a document's page.

    Args:
        name: the document's id.
        index: name of its index.
    """
    return f"/read/{quote(name.encode('utf-8', 'replace'), safe='')}?{urlencode({'index': index})}"


_TEMPLATES.filters |= {"shown": shown, "pieces": pieces, "shown_lines": lambda text: shown(text, lines=True)}


def _rendered(name: str, facts: dict[str, Any], status: int = 200) -> HTMLResponse:
    return HTMLResponse(_TEMPLATES.get_template(name).render(facts).encode("utf-8", "replace"), status)


async def _page(request: Request) -> Response:
    state: State = request.app.state.shared
    values = {name: value for name, value in request.query_params.items() if value}
    if token := values.pop("token", ""):  # known to be right: kept as a cookie, and out of the address
        response: Response = RedirectResponse("/?" + urlencode(values) if values else "/", 303)
        response.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return response
    several = [name.strip() for value in request.query_params.getlist("with") for name in value.split(",")]
    values |= {"with": ",".join(filter(None, several))}
    facts: dict[str, Any] = {"columns": [], "error": "", "page": 1, "q": values.get("q", ""), "grades": {},
                             "facets": NO_FACETS, "more": False}  # fmt: skip
    status, headers = 200, {}
    try:
        if facts["q"].strip():
            facts |= await _found(state, values)
    except RequestError as error:
        facts["error"], status = str(error), error.status
        headers = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
    response = _rendered("page.html", facts | _controls(state, values), status)
    response.headers.update(headers)
    return response


def _controls(state: State, values: dict[str, str]) -> dict[str, Any]:
    """What the page needs to make its form and its links."""
    known = {name: values[name] for name in _GIVEN if values.get(name)}
    chosen = values["with"].split(",") if values["with"] else ["hybrid"]
    default = values.get("index", "") if values.get("index", "") in state.served else next(iter(state.served))

    def link(**changed: object) -> str:
        return "/?" + urlencode({name: text for name, text in {**known, **changed}.items() if text})

    return {"values": known, "names": list(state.served), "judging": state.judgements is not None, "link": link,
            "chosen": chosen, "rankings": list(dict.fromkeys([*offered(state.served, default), *chosen])),
            "toggled": toggled, "has": has, "read_address": read_address, "size": PAGE}  # fmt: skip


async def _found(state: State, values: dict[str, str]) -> dict[str, Any]:
    """What the page shows of a query."""
    given = {name: values[name] for name in ("q", "filter", "group_by", "index") if values.get(name)}
    asked = read_query(given, state.limits)
    number = values.get("page", "1")
    page = int(number) if number.isascii() and number.isdecimal() and len(number) < 6 else 0
    if not 1 <= page <= state.limits.k // PAGE:
        raise RequestError(400, f"page={number:.20}: give a number from 1 to {state.limits.k // PAGE}.")
    default = state.of(asked.index).name
    rankings = read_rankings(values["with"].split(",") if values["with"] else [], state.served, default)
    found = await state.gate.run(lambda: columns(state, asked, rankings, page))
    grades = {} if state.judgements is None else state.judgements.of(asked.query)
    more = page < state.limits.k // PAGE and any(len(one.rows) == PAGE for one in found)
    return {"columns": found, "page": page, "grades": grades, "more": more, "facets": found[0].facets}


async def _read(request: Request) -> Response:
    """One document, whole."""
    served, document = await find_document(request)
    return _rendered("document.html", {"document": document, "index": served.name})


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        raise RequestError(404, "Not Found")
    data = (package_files("pretrieve.serving") / "static" / name).read_bytes()
    return Response(data, media_type=_STATIC[name], headers={"cache-control": "max-age=300"})


ROUTES = [
    Route("/", _page, methods=["GET"]),
    Route("/read/{id:path}", _read, methods=["GET"]),
    Route("/static/{name}", _static, methods=["GET"]),
]
