"""Fields of documents, and filters over them, as hashes that a backend compares.

Nothing of a user's text is in what a backend is asked. A filter that is translated says less than the filter, never
more: the folder's own filter decides on what comes back.
"""

from __future__ import annotations

import hashlib

import orjson

from pretrieve.core.types import Document
from pretrieve.index.columns import own_fields
from pretrieve.index.field_values import Literal, folded
from pretrieve.index.filters import Combination, Comparison, Filter, Node

MANY = 0  # stands for all facts of a document with too many
_KEPT = 4_000  # values of a document's fields that are kept
_EXACT = 1 << 53  # numbers below are exact as floats


def facts_of(document: Document) -> list[int]:
    """The values of a document's fields as hashes."""
    found: dict[int, None] = {}
    own = {name: value for name, value in own_fields(document) if name not in document.fields}
    for name, value in [*document.fields.items(), *own.items()]:
        for one in [value] if isinstance(value, str | int | float) else value:
            text = folded(one if isinstance(one, str) else orjson.dumps(one).decode())
            found[_fact(name, text)] = None
            if isinstance(one, int | float) and not isinstance(one, bool) and abs(one) < _EXACT:
                found[_fact(name, _number(one))] = None
        if len(found) > _KEPT:
            return [MANY]
    return list(found)


def narrowed(where: Filter | None) -> list[list[int]]:
    """A filter as facts: of each list a document has at least one.

    Equality of texts and numbers, ``in``, ``and`` and ``or`` are translated; the rest is left to the folder.
    """
    return [] if where is None else _narrowed(where.node)


def _narrowed(node: Node) -> list[list[int]]:
    if isinstance(node, Comparison):
        return _compared(node)
    if isinstance(node, Combination) and node.how == "and":
        return [one for part in node.parts for one in _narrowed(part)]
    if isinstance(node, Combination) and node.how == "or":
        parts = [_narrowed(part) for part in node.parts]
        if all(len(part) == 1 for part in parts):
            return [[one for part in parts for one in part[0]]]
    return []


def _compared(node: Comparison) -> list[list[int]]:
    if node.sign != "=":
        return []
    found = [MANY]
    for value in node.values:
        literal = Literal.of(value)
        if literal.span is not None:  # a stretch of time
            return []
        found.append(_fact(node.field, literal.text))
        if literal.number is not None and abs(literal.number) < _EXACT:
            found.append(_fact(node.field, _number(literal.number)))
    return [found]


def _fact(name: str, value: str) -> int:
    """Hash of a field's value, int64; never ``MANY``."""
    data = f"{folded(name)}\0{value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), signed=True) or 1


def _number(value: float) -> str:
    return f"\0{float(value)!r}"
