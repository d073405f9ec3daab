"""Texts of documents, as a model takes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from pretrieve.core.types import Document, TextEncoder
from pretrieve.index.pseudo import full_text


def texts_for(documents: Iterable[Document], encoder: TextEncoder) -> Iterator[str]:
    """Texts for the model: some expect a separator between title and text."""
    separator: str = getattr(encoder, "separator", " ")
    return (full_text(document, separator) for document in documents)


def batches(texts: Iterable[str], size: int = 1024) -> Iterator[list[str]]:
    """Texts in lists."""
    iterator = iter(texts)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
