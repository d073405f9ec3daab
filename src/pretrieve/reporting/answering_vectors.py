"""Which vector of a document answers each query of an example, for models with several vectors a document (MVR)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pretrieve.models.model_usage import MULTI_VECTOR_FILE
from pretrieve.models.text_encoder import open_encoder

_QUERY = "query"


def answered(folder: Path, examples: Sequence[dict[str, Any]]) -> str:
    """Add ``vector`` to the rows of queries: the number, from 1, of the vector of their document that scores highest.

    Args:
        folder: of the trained model.
        examples: as ``Opened.examples`` describes them; changed in place.

    Returns:
        What was added, in a sentence; empty for a model with one vector a document.

    Raises:
        PretrieveError: the model cannot be opened.
    """
    if not (folder / MULTI_VECTOR_FILE).is_file():
        return ""
    encoder, count = open_encoder(str(folder)), 0
    for example in examples:
        queries = [row for row in example["rows"] if row["role"] == _QUERY]
        (document,) = (row for row in example["rows"] if row["role"] != _QUERY)
        (vectors,) = encoder.encode_documents([_seen(document)])
        count = len(vectors)
        scores = encoder.encode_queries([_seen(row) for row in queries]) @ vectors.T
        for row, own in zip(queries, scores, strict=True):
            row["vector"], row["vectors"] = int(own.argmax()) + 1, count
    return (
        f"The trained model gives a block {count} vectors, and a query is answered by the one that scores highest: "
        "its number stands with the query, and at the query's place in the document."
    )


def _seen(row: dict[str, Any]) -> str:
    """The text of a row as the model sees it."""
    return " ".join(seen for _, seen, _ in row["pieces"] if seen)
