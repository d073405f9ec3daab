"""The answer to a query as JSON: the same on the command line and from the server."""

from __future__ import annotations

from typing import Any

from pretrieve.index.asked import Mode
from pretrieve.index.find import Result, field_counts
from pretrieve.index.index import Index


def default_group(index: Index, name: str | None) -> str | None:
    """The field to group by: as given; without one the parent, where there are passages; ``none`` is no field."""
    if name is None:
        return "parent" if "parent" in field_counts(index) else None
    return None if name == "none" else name


def answer_json(index: Index, query: str, mode: Mode, result: Result, *, full_text: bool = False) -> dict[str, Any]:
    """The answer to a query as plain values.

    Args:
        index: the index.
        query: as it was asked.
        mode: ranking.
        result: what was found.
        full_text: with the text of each hit.
    """
    understood = result.query.describe()
    return {
        "query": query,
        **({"understood": {"text": result.query.text, "signs": understood}} if understood else {}),
        "mode": mode,
        "bm25": index.lexical.describe(),
        "relevant": result.relevant,
        "notes": result.notes,
        "hits": [hit.to_json(full_text=full_text) for hit in result.hits],
    }
