"""The fields of a record: found by their usual names, and those that nobody asked for are known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pretrieve.pipeline.finetune.label_formats.example import BadLabelError

# The usual names of fields, in lower case; the first one present counts.
QUERY = ("query", "question", "anchor", "query_text", "sentence1")
QUERY_ID = ("query_id", "qid", "id", "_id")
POSITIVE = (
    "positive", "positives", "pos", "positive_ctxs", "positive_passages", "positive_passage", "document", "passage",
    "answer", "sentence2", "text",
)  # fmt: skip
POSITIVE_ID = ("positive_document_ids", "positive_ids", "positive_id", "pos_ids", "pos_id", "document_id", "passage_id")
NEGATIVE = (
    "negative", "negatives", "neg", "hard_negative_ctxs", "hard_negatives", "hard_negative", "negative_passages",
    "negative_passage",
)  # fmt: skip
NEGATIVE_ID = ("negative_document_ids", "negative_ids", "negative_id", "neg_ids", "neg_id")
NUMBERED_NEGATIVE = ("negative", "hard_negative", "neg")
LIST = ("documents", "docs", "passages")  # of a labelled list
LIST_ID = ("document_ids", "passage_ids", "docids")
NUMBERED_LIST = ("document", "doc", "passage")
POSITIVE_SCORES = ("positive_scores", "pos_scores")
NEGATIVE_SCORES = ("negative_scores", "neg_scores")
LABEL = ("label", "labels", "score", "scores")
ANSWERS = ("answers",)
DOCUMENT_ID = ("id", "_id", "passage_id", "psg_id", "docid", "doc_id", "document_id", "pid")
DOCUMENT_TEXT = ("text", "contents", "body")
DOCUMENT_TITLE = ("title",)

_NUMBERED = re.compile(r"(.+?)_?(\d+)")


class LabelFields:
    """The fields of one record, by name regardless of case; remembers which were used.

    Args:
        record: the fields.
        prefix: what stands before their names in messages, for fields of fields.

    Example:
        >>> fields = LabelFields({"Query": "a", "source": "web"})
        >>> fields.first(QUERY)
        ('Query', 'a')
        >>> fields.unused()
        ['source']
    """

    def __init__(self, record: Mapping[Any, Any], prefix: str = "") -> None:
        self._record, self._prefix = record, prefix
        self._names: dict[str, Any] = {}  # the record's name of each field in lower case
        for name in record:
            self._names.setdefault(str(name).strip().casefold(), name)
        self._used: set[Any] = set()
        self._inner: list[str] = []

    def first(self, names: Sequence[str]) -> tuple[str, Any] | None:
        """The first of some fields that is there and not null, as (name, value); it counts as used."""
        for name in names:
            if name in self._names and self._record[self._names[name]] is not None:
                self._used.add(self._names[name])
                return str(self._names[name]), self._record[self._names[name]]
        return None

    def numbered(self, stems: Sequence[str]) -> list[tuple[str, Any]]:
        """The fields of a stem and a number (``negative_1``, ``negative_2``, ...), by number; they count as used."""
        found: list[tuple[int, str, Any]] = []
        for lower, name in self._names.items():
            match = _NUMBERED.fullmatch(lower) if lower[-1:].isdigit() else None
            if match and match[1] in stems and len(match[2]) < 10:
                found.append((int(match[2]), str(name), self._record[name]))
                self._used.add(name)
        return [(name, value) for _, name, value in sorted(found, key=lambda entry: entry[:2])]

    def release(self, name: str) -> None:
        """A field that was looked at is not used after all."""
        self._used = {used for used in self._used if str(used) != name}

    def has(self, names: Sequence[str]) -> bool:
        """Whether one of some fields is there and holds something."""
        known = self._names.keys() & names
        return bool(known) and any(not empty(self._record[self._names[name]]) for name in known)

    def adopt(self, inner: LabelFields) -> None:
        """Count the unused fields of a field's value as this record's."""
        self._inner += inner.unused()

    def unused(self) -> list[str]:
        """The names of fields that hold something and were not used."""
        own = [str(name) for name, value in self._record.items() if name not in self._used and not empty(value)]
        return [*dict.fromkeys([self._prefix + name for name in own] + self._inner)]

    def listed(self) -> str:
        """All names, for messages."""
        names = [str(name) for name in self._record]
        return ", ".join(names[:20]) + (", ..." if len(names) > 20 else "") or "none"


def empty(value: object) -> bool:
    """Whether a field holds nothing: null, an empty text, or a list or object of such."""
    if isinstance(value, list | dict):
        return all(empty(one) for one in (value.values() if isinstance(value, dict) else value))
    return value is None or (isinstance(value, str) and not value.strip())


def text_of(fields: LabelFields, names: Sequence[str], what: str) -> str:
    """The text of a field.

    Raises:
        BadLabelError: there is none, or it is no text.
    """
    found = fields.first(names)
    if found is None:
        raise BadLabelError(f"no {what}", f"name it {either(names)}; its fields: {fields.listed()}")
    if not isinstance(found[1], str):
        raise BadLabelError(f"no {what}", f"{found[0]} is not a text: {found[1]!r:.60}")
    if not found[1].strip():
        raise BadLabelError(f"no {what}", f"{found[0]} is empty")
    return found[1].strip()


def id_of(fields: LabelFields, names: Sequence[str]) -> str:
    """The id in a field; empty where there is none.

    Raises:
        BadLabelError: it is neither a text nor a number.
    """
    found = fields.first(names)
    if found is None:
        return ""
    if isinstance(found[1], bool) or not isinstance(found[1], str | int | float):
        raise BadLabelError("id is not a text", f"{found[0]}: {found[1]!r:.60}")
    return str(found[1]).strip()


def listed(value: object) -> list[Any]:
    """A value as a list: of nothing for null."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def either(names: Sequence[str]) -> str:
    """``a, b or c``."""
    return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]
