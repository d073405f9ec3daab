"""The usual names of a record's fields, in any case, best first (docs/input.md)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

FIRST: Mapping[str, tuple[str, ...]] = {  # as they are written here, before all others
    "id": ("_id", "id"),
    "title": ("title",),
    "text": ("text", "contents", "body"),
    "group": ("lang", "language"),
}
CONVENTIONS: Mapping[str, tuple[str, ...]] = {  # in any case; the first that a record has counts
    "id": (*FIRST["id"], "docid", "doc_id", "docno", "document_id", "pid", "passage_id", "uuid", "key"),
    "title": (*FIRST["title"], "headline", "subject", "heading", "name"),
    "text": (
        *FIRST["text"], "content", "passage", "passages", "passage_text", "paragraphs", "article", "document",
        "full_text", "abstract", "answer", "description", "message", "comment", "summary", "sentence", "sentences",
        "tokens", "context",
    ),
    "group": FIRST["group"],
}  # fmt: skip
ANSWER, _QUESTIONS = "answer", ("question", "questions")  # a question is the title of an answer
_ALL = frozenset(itertools.chain(_QUESTIONS, *CONVENTIONS.values()))


def folded(name: str) -> str:
    """A name without case, blanks around it and a byte order mark."""
    return name.strip("\ufeff \t\r\n").casefold()


def is_known(name: str) -> bool:
    """Whether a name is a usual one of a field."""
    return folded(name) in _ALL


def usual(names: Sequence[str], role: str) -> list[str]:
    """Those of some names that are usual for a role: as they have always been read first, then all in any case."""
    exact = [name for name in FIRST[role] if name in names]
    plain = {folded(name): name for name in reversed(names)}
    return list(dict.fromkeys([*exact, *(plain[name] for name in CONVENTIONS[role] if name in plain)]))


def questions(names: Iterable[str]) -> list[str]:
    """Those of some names that hold a question."""
    return [name for name in names if folded(name) in _QUESTIONS]
