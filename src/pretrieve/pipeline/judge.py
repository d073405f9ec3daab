"""The road of ``pretrieve evaluate``: a labelled folder, models, and one table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pretrieve.core.errors import UsageError
from pretrieve.evaluation.benchmark import Result, evaluate, parse_metrics
from pretrieve.evaluation.collection import load_collection
from pretrieve.evaluation.encode import ModelOptions, open_encoder
from pretrieve.pipeline.listener import Listener, Silent


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What is asked of ``evaluate``; see the options of the command."""

    folder: Path
    models: tuple[str, ...] = ()
    modes: tuple[Literal["hybrid", "dense", "lexical"], ...] = ("dense", "hybrid")
    split: str = "test"
    metrics: tuple[str, ...] = ("nDCG@10", "R@100", "RR@10")
    pooling: Literal["mean", "cls", "lasttoken", "max"] | None = None
    similarity: Literal["dot", "cosine"] | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_length: int | None = None
    drop_same_id: bool = False
    use_titles: bool = True


def judge(asked: Judgement, listener: Listener | None = None) -> Result:
    """Evaluate models on a labelled collection.

    Raises:
        UsageError: the folder, a split, a metric or a model is not there.
        DataError: a line of the collection cannot be read.
    """
    listener = listener or Silent()
    parse_metrics(asked.metrics)
    if len(set(asked.models)) != len(asked.models):
        raise UsageError("--model: the same model was given twice.")
    described = ModelOptions(
        pooling=asked.pooling,
        similarity=asked.similarity,
        query_prompt=asked.query_prompt,
        document_prompt=asked.document_prompt,
        max_length=asked.max_length,
    )
    listener.stage("read", unit="documents and queries")
    collection = load_collection(asked.folder, asked.split, titles=asked.use_titles)
    listener.advance(len(collection.documents) + len(collection.queries))
    encoders = {name: open_encoder(name, described) for name in asked.models}
    listener.stage("judge", unit="systems")
    result = evaluate(collection, encoders, modes=asked.modes, metrics=asked.metrics, drop_same_id=asked.drop_same_id)
    listener.advance(len(result.rows))
    return result
