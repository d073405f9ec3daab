"""The queries that a comparison was evaluated on, from its benchmark, where that is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrieve.core import files
from pretrieve.core.errors import FingerprintError
from pretrieve.text.beir import load_collection

_TEXT = 160  # characters of a text in a table
_RELEVANT = 3  # relevant documents of a query that are named


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query: its id, its text, and the documents that are relevant to it."""

    id: str
    text: str
    relevant: str


def read_query_names(benchmark: Path, facts: Mapping[str, Any]) -> list[Query]:
    """The queries in the order of a comparison's values.

    Args:
        benchmark: BEIR folder that was compared on.
        facts: ``comparison.json``, with the fingerprints of the benchmark's files.

    Raises:
        FingerprintError: it is another benchmark, or has changed.
        UsageError: there is no such folder or split.
    """
    split, finetune = facts["split"], facts["finetune"]
    patterns = ("corpus.jsonl*", "queries.jsonl*", *(f"qrels/{name}.tsv*" for name in (split, finetune)))
    digests = [files.digest(path) for pattern in patterns for path in sorted(benchmark.glob(pattern))]
    if digests != facts["benchmark"]:
        raise FingerprintError(f"--benchmark {benchmark}: not the data of this comparison, or changed since.")
    collection = load_collection(benchmark, split)
    titles = {document.id: document.title or document.text for document in collection.documents}
    queries = []
    for name, text in collection.queries.items():
        relevant = [document for document, grade in collection.qrels[name].items() if grade > 0]
        named = [f"{document}: {short(titles.get(document, 'not in the corpus'))}" for document in relevant[:_RELEVANT]]
        more = [f"and {len(relevant) - _RELEVANT} more"] if len(relevant) > _RELEVANT else []
        queries.append(Query(id=name, text=short(text), relevant="; ".join(named + more)))
    return queries


def short(text: str) -> str:
    """A text that fits a table; what is cut off ends in …."""
    return text if len(text) <= _TEXT else f"{text[: _TEXT - 1]}…"
