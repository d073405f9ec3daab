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
_GRADE = {"enum": [0, 1, None], "description": "1 is relevant, 0 is not, null takes it back."}
_BODY = (400, 401, 404, 413, 415, 503)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


_JUDGEMENT = {**_object({"query": _STRING, "id": _STRING, "grade": _GRADE}), "additionalProperties": False}
_JUDGED = _object({"grades": {"type": "object", "additionalProperties": {"enum": [0, 1]}},
                   "unnamed": {"type": "integer", "description": "Judgements that qrels.trec lacks."}})  # fmt: skip


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
    answers = _object({"answers": {"type": "array", "items": _ANSWER}})
    found = _object(
        {**dict.fromkeys(("id", "title", "text", "place", "parent"), _STRING), "fields": {"type": "object"}}
    )
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
                "get": _operation(
                    "A document", found, [name, _parameter("index", options["index"])], (400, 401, 404, 503)
                )
            },
            "/judge": {
                "post": _operation("Judge a document; 404 without --judgements", _JUDGED, [], _BODY, _JUDGEMENT)
            },
            "/healthz": {"get": _operation("Whether the server answers", _object({"status": _STRING}), [], (400,))},
            "/metrics": {
                "get": {
                    "summary": "Counts for Prometheus",
                    "responses": {
                        "200": {"description": "Text", "content": {"text/plain": {"schema": _STRING}}},
                        **_refusals((400, 401)),
                    },
                }
            },
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
        "why": {**_BOOLEAN, "description": "Hits with rankers, shared terms and near tokens."},
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
    responses |= _refusals(errors)
    made: dict[str, Any] = {"summary": summary, "parameters": list(parameters), "responses": responses}
    return made | ({} if body is None else {"requestBody": {"required": True, "content": _json(body)}})


def _refusals(errors: Sequence[int]) -> dict[str, Any]:
    return {str(status): {"description": "Refused", "content": _json(_ERROR)} for status in errors}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _answer() -> dict[str, Any]:
    number, texts = {"type": "number"}, {"type": "array", "items": _STRING}
    whole = {"type": "integer"}
    marks = {"type": "array", "items": {"type": "array", "items": whole, "minItems": 2, "maxItems": 2},
             "description": "First and last + 1 character of the query's words in the sentence."}  # fmt: skip
    relevance = {"type": ["number", "null"], "minimum": 0, "maximum": 1,
                 "description": "0 is a document taken at random, 1 one that says the query."}  # fmt: skip
    hit = _object({"rank": whole, "score": number, "id": _STRING, "title": _STRING, "sentence": _STRING,
                   "marks": marks, "place": _STRING, "fields": {"type": "object"}, "parent": _STRING,
                   "more": whole, "relevance": relevance})  # fmt: skip
    hit["properties"] |= {"why": _why(number), "text": {**_STRING, "description": "With full_text."}}
    hits = {"type": "array", "items": hit}
    answer = _object({"query": _STRING, "mode": _STRING, "bm25": _STRING, "relevant": {"type": "boolean"},
                      "notes": texts, "hits": hits})  # fmt: skip
    signs = _object({"text": _STRING, "signs": _STRING})
    answer["properties"]["understood"] = {**signs, "description": "Where signs of the query mean something."}
    return answer


def _why(number: dict[str, Any]) -> dict[str, Any]:
    ranker = _object({"name": _STRING, "score": number, "standard": number, "weight": number})
    term = _object({"term": _STRING, "word": _STRING, "score": number, "share": number})
    pair = _object({"query": _STRING, "hit": _STRING, "similarity": number})
    lists = {
        name: {"type": "array", "items": one} for name, one in (("rankers", ranker), ("terms", term), ("tokens", pair))
    }
    return _object({"found_by": {"enum": ["lexical", "dense", "both", "fusion", ""]}, **lists})
