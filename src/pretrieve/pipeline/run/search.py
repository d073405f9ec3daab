"""Searching texts that a Python program holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.types import Document, TextEncoder
from pretrieve.index.asked import check_mode, check_queries, check_query, check_top_k
from pretrieve.index.index import Index
from pretrieve.pipeline.run.memory_labels import listed
from pretrieve.text import memory


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


def identified(given: Any, name: str = "documents") -> list[Document]:
    """Documents that are added to others, each with an id of its own.

    Args:
        given: records with ids, or a dict of texts by id.
        name: what messages call it.

    Raises:
        UsageError: one has no id, or there is no text.
        DataError: two have one id.
    """
    if not isinstance(given, Mapping):
        given = [*memory.items_of(given, name)]
        for number, item in enumerate(given):
            named = isinstance(item, Document) or (
                isinstance(item, Mapping) and any(memory.plain(item.get(key)) is not None for key in ("_id", "id"))
            )
            if not named:
                raise UsageError(f"{name}[{number}] has no id: give records with ids, or a dict of texts by id.")
    found = listed(given, name, depth=3)
    seen = set[str]()
    for document in found:
        if document.id in seen:
            raise DataError(f"two of {name} have the id {document.id!r}: nothing was changed.")
        seen.add(document.id)
    return [replace(document, place="") for document in found]  # its place in this call says nothing later


def ids_of(given: Any) -> list[str]:
    """Ids of documents.

    Raises:
        UsageError: it is one text, or one of them is none.
    """
    return _texts(given, "ids")


def texts_of(given: Any) -> list[str]:
    """Texts to encode.

    Raises:
        UsageError: it is one text, or one of them is none.
    """
    return _texts(given, "texts")


def _texts(given: Any, name: str) -> list[str]:
    if isinstance(given, str | bytes | bytearray | Mapping) or not isinstance(given, Iterable):
        raise UsageError(f"{name}={given!r:.60}: give a list of texts.")
    found = list(given)
    for number, text in enumerate(found):
        if not isinstance(text, str):
            raise UsageError(f"{name}[{number}] is {text!r:.60}: give texts.")
    return [str(text) for text in found]
