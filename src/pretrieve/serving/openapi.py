"""The description of the JSON API, by OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pretrieve.index.asked import MODES
from pretrieve.serving.limits import Limits

_STRING, _BOOLEAN = {"type": "string"}, {"type": "boolean", "default": False}
_ERROR = {"$ref": "#/components/schemas/Error"}
_ANSWER = {"$ref": "#/components/schemas/Answer"}


def described(limits: Limits, names: Sequence[str]) -> dict[str, Any]:
    """The description as plain values.

    Args:
        limits: what is refused.
        names: of the indexes.
    """
    options = _options(limits, names)
    query = {"type": "string", "minLength": 1, "maxLength": limits.query}
    asked = [_parameter("q", query, required=True), *(_parameter(name, kind) for name, kind in options.items())]
    queries = {"type": "array", "items": query, "minItems": 1, "maxItems": limits.batch}
    body = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"queries": queries, "query": query, **options},
        "oneOf": [{"required": ["queries"]}, {"required": ["query"]}],
    }
    answers = {"type": "object", "properties": {"answers": {"type": "array", "items": _ANSWER}}}
    found = {"type": "object", "properties": dict.fromkeys(("id", "title", "text", "place", "parent"), _STRING)}
    name = {"name": "id", "in": "path", "required": True, "schema": _STRING}
    return {
        "openapi": "3.1.0",
        "info": {"title": "pretrieve serve", "version": version("pretrieve")},
        "security": [{}, {"token": []}],
        "paths": {
            "/search": {
                "get": _operation("One query", _ANSWER, asked, (400, 401, 404, 503)),
                "post": _operation("Several queries", answers, [], (400, 401, 404, 413, 503), body),
            },
            "/documents/{id}": {
                "get": _operation("A document", found, [name, _parameter("index", options["index"])], (401, 404, 503))
            },
            "/healthz": {"get": _operation("Whether the server answers", {"type": "object"}, [], ())},
            "/metrics": {"get": {"summary": "Counts for Prometheus", "responses": {"200": {"description": "Text"}}}},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _object({"error": _STRING}), "Answer": _answer()},
        },
    }


def _options(limits: Limits, names: Sequence[str]) -> dict[str, Any]:
    return {
        "k": {"type": "integer", "minimum": 1, "maximum": limits.k, "default": 10},
        "mode": {"enum": list(MODES), "default": "hybrid"},
        "filter": {"type": "string", "description": "Such as lang=en and date>=2025.", "maxLength": limits.query},
        "group_by": {"type": "string", "description": "A field, or none.", "maxLength": limits.query},
        "index": {"enum": list(names), "default": names[0]},
        "plain": {**_BOOLEAN, "description": "The query is text: quotes, +, - and : mean nothing."},
        "full_text": {**_BOOLEAN, "description": "Hits with their whole text."},
    }


def _parameter(name: str, schema: dict[str, Any], *, required: bool = False) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _operation(
    summary: str,
    schema: dict[str, Any],
    parameters: Sequence[dict[str, Any]],
    errors: Sequence[int],
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    responses: dict[str, Any] = {"200": {"description": "Found", "content": _json(schema)}}
    responses |= {str(status): {"description": "Refused", "content": _json(_ERROR)} for status in errors}
    made: dict[str, Any] = {"summary": summary, "parameters": list(parameters), "responses": responses}
    return made | ({} if body is None else {"requestBody": {"required": True, "content": _json(body)}})


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _answer() -> dict[str, Any]:
    number, texts = {"type": "number"}, {"type": "array", "items": _STRING}
    hit = _object({"rank": {"type": "integer"}, "score": number, "id": _STRING, "title": _STRING, "sentence": _STRING})
    hits = {"type": "array", "items": hit}
    facts = {"query": _STRING, "mode": _STRING, "relevant": {"type": "boolean"}, "notes": texts, "hits": hits}
    return _object(facts)
