"""What a request asks for, read from its parameters or from JSON, and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pretrieve.core.errors import UsageError, suggest
from pretrieve.index.asked import Mode, check_mode, check_query, check_top_k
from pretrieve.serving.limits import Limits, RequestError

_NAMES = ("k", "mode", "filter", "group_by", "index", "plain", "full_text", "why")
_SWITCHES = ("plain", "full_text", "why")
_TRUTH = {"true": True, "1": True, "false": False, "0": False, "": False}


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """One query and its options, as of ``pretrieve search``.

    Attributes:
        query: what to search for.
        k: number of hits.
        mode: ranking.
        filter: which documents.
        group_by: field of which each value is one hit; ``none``: every hit.
        index: name of the index; empty: the first.
        plain: the query is text, without signs.
        full_text: hits with their text.
        why: hits with what they were found by.
    """

    query: str
    k: int = 10
    mode: Mode = "hybrid"
    filter: str | None = None
    group_by: str | None = None
    index: str = ""
    plain: bool = False
    full_text: bool = False
    why: bool = False


def read_query(values: Mapping[str, str], limits: Limits) -> SearchRequest:
    """The request in the parameters of an address.

    Args:
        values: the parameters; ``q`` is the query.
        limits: what is refused.

    Raises:
        RequestError: a parameter is unknown or invalid; status 400.
    """
    given: dict[str, Any] = {name: value for name, value in values.items() if name != "q"}
    if "q" not in values:
        raise RequestError(400, "q is missing: give the query, such as /search?q=rotate+keys.")
    if (k := given.get("k")) is not None:
        given["k"] = int(k) if k.isascii() and k.isdecimal() and len(k) < 10 else k
    for name in _SWITCHES:
        if name in given:
            given[name] = _TRUTH.get(given[name].lower(), given[name])
    return _checked(values["q"], given, limits, "q")


def read_batch(body: object, limits: Limits) -> list[SearchRequest]:
    """The requests of a batch: ``{"queries": [...]}`` with options that all have, or one ``{"query": ...}``.

    Args:
        body: parsed JSON.
        limits: what is refused.

    Raises:
        RequestError: it is of another form, or a value is invalid; status 400.
    """
    if not isinstance(body, dict):
        raise RequestError(400, 'the body is no object: send {"queries": ["...", ...], "k": 10}.')
    given = {name: value for name, value in body.items() if name not in ("query", "queries")}
    queries = body.get("queries", [body["query"]] if "query" in body else None)
    if not isinstance(queries, list) or not queries or {"query", "queries"} <= body.keys():
        raise RequestError(400, 'give "queries", a list of texts, or "query", a text.')
    if len(queries) > limits.batch:
        raise RequestError(
            400, f"{len(queries):,} queries; {limits.batch:,} is the maximum of a request: send several."
        )
    found = [_checked(query, given, limits, f"queries[{place}]") for place, query in enumerate(queries)]
    if (hits := sum(one.k for one in found)) > limits.hits:
        raise RequestError(
            400, f"{hits:,} hits; {limits.hits:,} is the maximum of a request: send fewer queries, or a smaller k."
        )
    return found


def _checked(query: object, given: Mapping[str, Any], limits: Limits, name: str) -> SearchRequest:
    if unknown := next((key for key in given if key not in _NAMES), None):
        raise RequestError(400, f"unknown parameter {unknown!r:.60}.{suggest(str(unknown)[:60], _NAMES)}")
    given = {key: value for key, value in given.items() if value is not None and (value != "" or key == "mode")}
    try:
        text = check_query(query, name)
        k, mode = check_top_k(given.get("k", 10)), check_mode(given.get("mode", "hybrid"))
    except UsageError as error:
        raise RequestError(400, str(error).replace("top_k", "k")) from None
    if len(text) > limits.query:
        raise RequestError(400, f"{name} has {len(text):,} characters; {limits.query:,} is the maximum.")
    if k > limits.k:
        raise RequestError(400, f"k={k}: {limits.k:,} is the maximum.")
    for key in ("filter", "group_by", "index"):
        value = given.get(key, "")
        if not isinstance(value, str) or len(value) > limits.query:
            raise RequestError(400, f"{key} is no text of at most {limits.query:,} characters.")
    for key in _SWITCHES:
        if not isinstance(given.get(key, False), bool):
            raise RequestError(400, f"{key}={given[key]!r:.40}: give true or false.")
    return SearchRequest(query=text, **{**given, "k": k, "mode": mode})
