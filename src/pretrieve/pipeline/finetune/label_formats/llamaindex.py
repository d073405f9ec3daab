"""LlamaIndex's ``EmbeddingQAFinetuneDataset``: one JSON object with queries, corpus and relevant_docs by id."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pretrieve.core.types import Document
from pretrieve.pipeline.finetune.label_formats.documents import reference
from pretrieve.pipeline.finetune.label_formats.example import BadLabelError, Example, Scored
from pretrieve.pipeline.finetune.label_formats.fields import empty, listed
from pretrieve.text.records import Fault

_PARTS = ("queries", "corpus", "relevant_docs")


def is_dataset(value: object) -> bool:
    """Whether a JSON value is such an object."""
    return isinstance(value, dict) and all(isinstance(value.get(name), dict) for name in _PARTS)


def read(value: Mapping[str, Any], source: str) -> Iterator[Document | Example | Fault]:
    """The documents, then the queries.

    Args:
        value: the object.
        source: the file, for messages.
    """
    rest = {name: held for name, held in value.items() if name not in _PARTS and (name, held) != ("mode", "text")}
    unused = [name for name, held in rest.items() if not empty(held)]
    for name, text in value["corpus"].items():
        where = f"{source}, corpus {name!r}"
        if isinstance(text, str) and text.strip() and str(name).strip():
            yield Document(id=str(name), text=text, where=where)
        else:
            yield Fault(where, "not a document", f"a text under its id was expected, found {text!r:.60}", text)
    yield from (
        Fault(f"{source}, relevant_docs {name!r}", "no query", "its id is not in queries", name)
        for name in value["relevant_docs"]
        if name not in value["queries"]
    )
    for name, query in value["queries"].items():
        yield _example(str(name), query, value["relevant_docs"].get(name), f"{source}, query {name!r}", unused)
        unused = []


def _example(name: str, query: object, relevant: object, where: str, unused: list[str]) -> Example | Fault:
    if not isinstance(query, str) or not query.strip():
        return Fault(where, "no query", f"a text was expected, found {query!r:.60}", query)
    try:
        ids = [reference(one, "relevant_docs") for one in listed(relevant)]
    except BadLabelError as error:
        return Fault(where, error.reason, error.detail, relevant)
    return Example(
        query=query.strip(), name=name, where=where, collection=True, unused=unused,
        positives=[Scored(one, math.nan) for one in ids if one is not None],
    )  # fmt: skip
