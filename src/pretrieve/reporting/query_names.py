"""The queries that systems were evaluated on, and the titles of documents, from the benchmark, where that is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrieve.core import files
from pretrieve.core.errors import FingerprintError
from pretrieve.text.beir import Collection, load_collection

_TEXT = 160  # characters of a text in a table
_RELEVANT = 3  # relevant documents of a query that are named


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query: its id, its text, and the ids of the documents that are relevant to it."""

    id: str
    text: str
    relevant: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Queries in the order of the values, and titles of documents (or texts of those that have none) by id."""

    queries: Sequence[Query]
    titles: Mapping[str, str]

    def title(self, document: str) -> str:
        """A document as a table shows it."""
        return f"{document}: {short(self.titles.get(document, 'not in the corpus'))}"

    def named(self, query: Query) -> str:
        """The documents that are relevant to a query, as a table shows them."""
        more = len(query.relevant) - _RELEVANT
        named = [self.title(document) for document in query.relevant[:_RELEVANT]]
        return "; ".join([*named, *([f"and {more} more"] if more > 0 else [])])


def benchmark_of(collection: Collection) -> Benchmark:
    """Queries and titles of a collection."""
    queries = [
        Query(id=name, text=collection.queries[name], relevant=[hit for hit, grade in grades.items() if grade > 0])
        for name, grades in collection.qrels.items()
    ]
    titles = {document.id: document.title or document.text for document in collection.documents}
    return Benchmark(queries=queries, titles=titles)


def read_benchmark(folder: Path, facts: Mapping[str, Any]) -> Benchmark:
    """The benchmark of a comparison.

    Args:
        folder: BEIR folder that was compared on.
        facts: ``comparison.json``, with the fingerprints of the benchmark's files.

    Raises:
        FingerprintError: it is another benchmark, or has changed.
        UsageError: there is no such folder or split.
    """
    split, finetune = facts["split"], facts["finetune"]
    patterns = ("corpus.jsonl*", "queries.jsonl*", *(f"qrels/{name}.tsv*" for name in (split, finetune)))
    digests = [files.digest(path) for pattern in patterns for path in sorted(folder.glob(pattern))]
    if digests != facts["benchmark"]:
        raise FingerprintError(f"--benchmark {folder}: not the data of this comparison, or changed since.")
    return benchmark_of(load_collection(folder, split))


def short(text: str) -> str:
    """A text that fits a table; what is cut off ends in …."""
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"
