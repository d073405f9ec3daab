"""The filter of ``generate``: a query is kept when searching for it finds the document that it was made from.

Alberti et al., *Synthetic QA corpora generation with roundtrip consistency*, ACL 2019, arXiv 1906.05416; with a
retriever as the filter, Dai et al., *Promptagator*, ICLR 2023, arXiv 2209.11755.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.types import Document, IntArray, Rows
from pretrieve.generation.filters import NOT_FOUND, REASONS, plain, sift
from pretrieve.index.index import Index, Mode
from pretrieve.pipeline.run.progress import Listener
from pretrieve.sampling.labels import Labels
from pretrieve.text.documents import Documents

_BLOCK = 512  # queries searched at once


@dataclass
class Kept:
    """The generated queries that were kept.

    Attributes:
        queries: each text once, with the numbers of its documents; one made from two documents that finds both has
            two.
        counts: number generated, kept, and dropped by reason.
        refused: documents that the generator refused.
    """

    queries: dict[str, tuple[str, list[int]]] = field(default_factory=dict)  # by normalised text
    counts: Counter[str] = field(default_factory=Counter)
    refused: int = 0

    def add(self, document: int, query: str) -> None:
        """Keep a query of a document."""
        self.queries.setdefault(plain(query), (query, []))[1].append(document)
        self.counts["kept"] += 1

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        dropped = {reason: self.counts[reason] for reason in REASONS}
        return {"generated": self.counts["generated"], "kept": self.counts["kept"], "dropped": dropped}


def round_trip(
    generated: Iterable[tuple[int, Document, Sequence[str] | None]],
    index: Index,
    listener: Listener,
    *,
    keep_within: int,
    copied_words: int,
) -> Kept:
    """Drop queries that are malformed or do not find their document.

    Args:
        generated: documents with their numbers and queries; None for one that was refused.
        index: index of all documents; searched with its vectors, if any.
        listener: receives progress, in documents.
        keep_within: rank within which a query must find its document to be kept.
        copied_words: see ``sift``.
    """
    kept = Kept()
    pairs = _sifted(generated, kept, listener, copied_words)
    mode: Mode = "lexical" if index.dense is None else "hybrid"
    while block := list(islice(pairs, _BLOCK)):
        found = index.rank([query for _, query in block], keep_within, mode)
        for (document, query), (hits, _) in zip(block, found, strict=True):
            if document in hits:
                kept.add(document, query)
            else:
                kept.counts[NOT_FOUND] += 1
    return kept


def _sifted(
    generated: Iterable[tuple[int, Document, Sequence[str] | None]], kept: Kept, listener: Listener, copied_words: int
) -> Iterator[tuple[int, str]]:
    """The queries that pass the text filters; the others are counted."""
    for number, document, queries in generated:
        filtered = sift(queries or (), document, copied_words=copied_words)
        kept.refused += queries is None
        kept.counts["generated"] += len(queries or ())
        kept.counts.update(filtered.dropped)
        yield from ((number, query) for query in filtered.kept)
        listener.advance(1)


def labels_of(kept: Kept, documents: Documents, target: Path) -> Labels:
    """The kept queries as labels of the documents, without negatives.

    Args:
        kept: queries with their documents.
        documents: the collection.
        target: folder of the ``Documents`` to write, documents and queries; an existing one is replaced.
    """
    queries = list(kept.queries.values())
    count, seen = len(documents), dict[int, int]()
    ids = []
    for _, numbers in queries:
        seen[numbers[0]] = place = seen.get(numbers[0], -1) + 1
        ids.append(f"{documents[numbers[0]].id}/{place}")
    as_documents = (Document(id=f"query {name}", text=text) for name, (text, _) in zip(ids, queries, strict=True))
    return Labels(
        records=Documents.write(target, itertools.chain(documents, as_documents), replace=True),
        size=count,
        places=count + np.arange(len(queries)),
        ids=ids,
        canonical=_canonical(documents),
        positives=Rows.of([numbers for _, numbers in queries]),
        negatives=Rows.of([[] for _ in queries]),
    )


def _canonical(documents: Documents) -> IntArray:
    """For each document the first with the same title and text."""
    firsts: dict[tuple[str, str], int] = {}
    found = [firsts.setdefault((item.title, item.text), number) for number, item in enumerate(documents)]
    return np.array(found, np.int64)
