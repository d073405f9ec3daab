"""Searching texts that a Python program holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from pretrieve.core.errors import UsageError
from pretrieve.core.types import TextEncoder
from pretrieve.index.asked import check_mode, check_queries, check_query, check_top_k
from pretrieve.index.index import Index
from pretrieve.pipeline.run.memory_labels import listed


def checked(query: Any, corpus: Any, top_k: object, mode: object) -> str | list[str]:
    """Arguments of a search, checked before anything is indexed.

    Args:
        query: one query, or several.
        corpus: texts in memory, or None.
        top_k: number of hits.
        mode: hybrid, dense or lexical.

    Returns:
        The query, or a list of them.

    Raises:
        UsageError: one of them is invalid.
    """
    check_top_k(top_k)
    check_mode(mode)
    if isinstance(corpus, str | bytes | os.PathLike):
        raise UsageError(f"corpus={corpus!r:.60} is one text: give a list of texts; to search files, index them first.")
    if isinstance(query, str | bytes | bytearray | Mapping | set) or not isinstance(query, Iterable):
        return check_query(query)
    if getattr(query, "ndim", 1) != 1:
        raise UsageError("the query is a table or a single value: give a text, or a list of texts.")
    return check_queries(list(query))


def searched(corpus: Any, model: TextEncoder) -> Index:
    """The index of texts in memory; those that cannot be used are left out, with a warning.

    Args:
        corpus: texts or records.
        model: the model.

    Raises:
        UsageError: there is no text.
    """
    return Index.of(listed(corpus, "corpus", depth=3), model)
