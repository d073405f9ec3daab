"""Judging a fine-tuned model on queries that were held out, and its model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import Document
from pretrieve.evaluation.benchmark import evaluate
from pretrieve.evaluation.collection import Collection
from pretrieve.evaluation.encode import open_encoder
from pretrieve.index.dense import TextEncoder
from pretrieve.index.index import IndexOptions
from pretrieve.models.bag import Bag
from pretrieve.pipeline.listener import Listener
from pretrieve.pipeline.tuning import Tuning
from pretrieve.text.labels import Labels

METRIC = "nDCG@10"
_POOL, _POOL_TRANSFORMER = 20_000, 1_000  # documents beside the relevant ones: a transformer reads slowly
_WEIGHT = 0.5  # of vectors beside words, for the hybrid rows: a choice by pseudo-queries would cost an index of its own


def judge_tuned(start: str, model: Path, labels: Labels, listener: Listener) -> dict[str, Any]:
    """Compare BM25, the start and the fine-tuned model on held-out queries, among some documents.

    Args:
        start: folder or name of the start.
        model: folder of the fine-tuned model.
        labels: the held-out queries'.
        listener: hears of progress.

    Returns:
        ``evaluation.benchmark.Result`` as JSON, with the number of documents under "documents".
    """
    models: dict[str, TextEncoder] = {"start": open_encoder(start), "model": open_encoder(str(model))}
    static = all(isinstance(encoder, Bag) for encoder in models.values())
    collection = _collection(labels, _POOL if static else _POOL_TRANSFORMER)
    listener.stage("judge", len(labels), "queries")
    result = evaluate(collection, models, metrics=(METRIC,), options=IndexOptions(dense=_WEIGHT))
    listener.advance(len(labels))
    return {**result.to_json(), "documents": len(collection.documents)}


def _collection(labels: Labels, pool: int) -> Collection:
    """The held-out queries over their relevant documents and a number of others."""
    relevant = np.unique(labels.positives.tokens)
    others = np.setdiff1d(np.arange(labels.size), relevant)
    drawn = generator(0, "judging pool", 0).permutation(len(others))[:pool]
    chosen = np.sort(np.concatenate([relevant, others[drawn]]))
    documents: list[Document] = [labels.records[int(number)] for number in chosen]
    ids = {int(number): document.id for number, document in zip(chosen, documents, strict=True)}
    qrels: Mapping[str, Mapping[str, int]] = {
        name: {ids[int(number)]: 1 for number in labels.positives.row(row)} for row, name in enumerate(labels.ids)
    }
    return Collection(
        name="held-out queries",
        split="held out",
        documents=documents,
        queries=dict(zip(labels.ids, labels.texts(), strict=True)),
        qrels=qrels,
    )


def tuned_card(asked: Tuning, report: Mapping[str, Any]) -> str:
    """Write the model card in Markdown."""
    values, queries = report["values"], report["queries"]
    parts = [
        "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\n"
        "tags: [sentence-transformers, pretrieve, retrieval]\n---\n",
        f"# A retriever fine-tuned from `{asked.model}`\n",
        f"{queries['learnt from']:,} labelled queries over {report['documents']:,} documents; negatives: "
        f"{asked.negatives}; recipe: {values['recipe']}.\n",
    ]
    if report["judged"]:
        parts.append(_table(report["judged"]))
    parts.append(f"## Made by\n\n```console\n{asked.command()}\n```\n")
    lines = ["## Values\n", "| for | value |", "|---|---|"]
    for part in ("loss", "draw", "refresh", "training"):
        lines += [f"| {part}.{key} | `{value}` |" for key, value in sorted(values[part].items())]
    return "\n".join([*parts, *lines]) + "\n"


def _table(judged: Mapping[str, Any]) -> str:
    lines = [
        f"## Held-out queries\n\n{judged['queries']:,} queries among {judged['documents']:,} documents.\n",
        f"| system | search | {METRIC} | 95 % |",
        "|---|---|---|---|",
    ]
    for row in judged["rows"]:
        low, high = row["ci95"][METRIC]
        lines.append(f"| {row['system']} | {row['mode']} | {row['metrics'][METRIC]:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines) + "\n"
