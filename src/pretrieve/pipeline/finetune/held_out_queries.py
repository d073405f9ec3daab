"""Evaluate a fine-tuned model on held-out queries."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import Document, TextEncoder
from pretrieve.evaluation.benchmark import compare, evaluate_rankings, parse_metrics, rank
from pretrieve.evaluation.result import Result, Row
from pretrieve.evaluation.weighing import EVEN, weigh
from pretrieve.index.index import Index, IndexOptions, Mode
from pretrieve.models.bag import Bag
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.finetune.request import FinetuneRequest
from pretrieve.pipeline.run.progress import Listener
from pretrieve.sampling.labels import Labels
from pretrieve.text.beir import Collection

METRIC, _DEPTH = "nDCG@10", 10
_POOL, _POOL_TRANSFORMER = 20_000, 1_000  # distractors beside the relevant documents: a transformer encodes slowly


def evaluate_finetuned(request: FinetuneRequest, model: Path, labels: Labels, listener: Listener) -> dict[str, Any]:
    """Compare BM25, the start and the fine-tuned model on held-out queries, among some documents.

    The weight of hybrid search is cross-validated on held-out queries too (``weighing``): on its training queries, a
    model scores too well to choose it.

    Args:
        request: arguments of the run; its start is evaluated too.
        model: folder of the fine-tuned model.
        labels: labels of the held-out queries.
        listener: receives progress.

    Returns:
        ``evaluation.benchmark.Result`` as JSON, with the number of documents under "documents", and the weights that
        all held-out queries choose under "weights".
    """
    models: dict[str, TextEncoder] = {
        "start": open_encoder(request.model, request.described), "model": open_encoder(str(model))
    }  # fmt: skip
    static = all(isinstance(encoder, Bag) for encoder in models.values())
    collection = _collection(labels, _POOL if static else _POOL_TRANSFORMER)
    listener.stage("evaluate", len(labels), "queries")
    measures = parse_metrics((METRIC,))
    bm25 = Index.of(collection.documents)
    rows, weights = [_row("BM25", bm25, collection, "lexical")], {}
    for name, encoder in models.items():
        index = Index.of(collection.documents, encoder, IndexOptions(dense=EVEN), lexical=bm25.lexical)
        rows.append(_row(name, index, collection, "dense"))
        values, weights[name] = weigh(index, collection, METRIC, measures, _DEPTH)
        rows.append(Row(system=name, mode="hybrid", values={METRIC: values}))
    listener.advance(len(labels))
    result = Result(
        collection=collection.name, split=collection.split, queries=list(collection.qrels), rows=rows,
        tests=compare(rows),
    )  # fmt: skip
    return {**result.to_json(), "documents": len(collection.documents), "weights": weights}


def _row(system: str, index: Index, collection: Collection, mode: Mode) -> Row:
    rankings = rank(index, collection, _DEPTH, mode, drop_same_id=False)
    return Row(system=system, mode=mode, values=evaluate_rankings(rankings, collection, parse_metrics((METRIC,))))


def _collection(labels: Labels, pool: int) -> Collection:
    """The held-out queries with their relevant documents and a number of distractors."""
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
