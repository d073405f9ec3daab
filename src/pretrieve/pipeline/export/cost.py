"""Whether a graph gives the model's vectors, how fast it is, and what int8 costs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrieve.core.errors import ModelError
from pretrieve.core.rng import generator
from pretrieve.core.types import FloatArray
from pretrieve.evaluation.benchmark import evaluate
from pretrieve.evaluation.probe import Probe, ProbeOptions, Sides
from pretrieve.evaluation.result import Result
from pretrieve.evaluation.significance import bootstrap_interval, paired_permutation
from pretrieve.index.options import IndexOptions
from pretrieve.index.pseudo import Records
from pretrieve.models.onnx_encoder import GraphEncoder
from pretrieve.text.beir import Collection

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

FP32, QINT8 = "fp32", "int8"  # names of the two graphs
METRIC = "nDCG@10"
LIMIT = 1e-4  # largest difference of a value from torch's, for vectors of length one
_LENGTHS = (1, 2, 5, 12, 30, 70, 150, 400)  # tokens of texts, before what the model cuts off
_TIMED, _TIMED_LENGTH = 64, 64  # texts and tokens
_QUERIES, _DISTRACTORS = 200, 1000  # of each kind, and beside their documents


def check_texts(model: SentenceTransformer, lengths: tuple[int, ...] = _LENGTHS, seed: int = 0) -> list[str]:
    """Texts of random entries of the model's vocabulary, so that all of it is met.

    Args:
        model: whose tokenizer has the vocabulary.
        lengths: entries of each text.
        seed: of the draw.
    """
    rng, tokenizer = generator(seed, "export/texts"), model.tokenizer
    known = np.setdiff1d(np.arange(len(tokenizer)), np.array(tokenizer.all_special_ids, np.int64))
    return [tokenizer.decode(rng.choice(known, length).tolist()) for length in lengths]


def token_range(model: SentenceTransformer, texts: list[str]) -> tuple[int, int]:
    """Tokens of the shortest and the longest of some texts, as the model reads them."""
    lengths = model.preprocess(texts)["attention_mask"].sum(dim=1)
    return int(lengths.min()), int(lengths.max())


def largest_difference(encoder: GraphEncoder, reference: GraphEncoder, texts: list[str]) -> float:
    """Largest difference of a value, for vectors of length one, with all texts in one padded batch and each alone.

    Args:
        encoder: what is checked.
        reference: what is right.
        texts: of various lengths.

    Raises:
        ModelError: it is more than ``LIMIT``.
    """
    right = reference.encode_documents(texts)
    alone = np.concatenate([encoder.encode_documents([text]) for text in texts])
    lengths = np.maximum(np.linalg.norm(right, axis=1, keepdims=True), 1e-12)
    found = max(float(np.abs((one - right) / lengths).max()) for one in (encoder.encode_documents(texts), alone))
    if not found <= LIMIT:
        raise ModelError(
            f"{reference.location}: its graph gives other vectors than torch does (difference {found:.1e}, at most "
            f"{LIMIT:.0e} is accepted), so nothing is written: the exporter does not know this architecture. Use the "
            "model as it is."
        )
    return found


def cosines(a: FloatArray, b: FloatArray) -> dict[str, float]:
    """Mean and lowest cosine of the rows (R, D) of two sets of vectors."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    found = (a * b).sum(axis=1) / np.maximum(lengths, 1e-12)
    return {"mean": float(found.mean()), "lowest": float(found.min())}


def speeds(model: SentenceTransformer, encoders: Mapping[str, GraphEncoder]) -> dict[str, float]:
    """Texts a second of each encoder, in one run after a first batch."""
    texts = check_texts(model, (_TIMED_LENGTH,) * _TIMED, seed=1)
    found = {}
    for name, encoder in encoders.items():
        encoder.encode_documents(texts[:2])
        began = time.perf_counter()
        encoder.encode_documents(texts)
        found[name] = len(texts) / (time.perf_counter() - began)
    return found


def cost_on_labels(collection: Collection, encoders: Mapping[str, GraphEncoder]) -> tuple[Result, dict[str, Any]]:
    """Evaluate both graphs on labels.

    Args:
        collection: documents, queries and qrels.
        encoders: ``FP32`` and ``QINT8``.

    Returns:
        The evaluation with BM25 beside them, and the cost.
    """
    options = IndexOptions(dense=1.0)  # no fusion is evaluated, so no weight is chosen
    result = evaluate(collection, dict(encoders), modes=("dense",), metrics=(METRIC,), options=options)
    values = {row.system: row.values[METRIC] for row in result.rows}
    return result, _cost(values[FP32], values[QINT8], "labels")


def cost_on_documents(documents: Records, encoders: Mapping[str, GraphEncoder]) -> dict[str, Any] | None:
    """Evaluate both graphs on pseudo-queries of documents; None where there are too few to take queries from.

    Args:
        documents: some documents.
        encoders: ``FP32`` and ``QINT8``.
    """
    drawn = generator(0, "export/documents").permutation(len(documents))[: 2 * _QUERIES]
    probe = Probe(documents, np.sort(drawn), ProbeOptions(queries=_QUERIES, distractors=_DISTRACTORS))
    if not probe.sets:
        return None
    sides = {name: Sides(queries=one.encode_queries, documents=one.encode_documents) for name, one in encoders.items()}
    values = probe(sides).values
    fp32, int8 = (np.concatenate([*values[name].values()]) for name in (FP32, QINT8))
    return _cost(fp32, int8, "pseudo-queries")


def _cost(fp32: FloatArray, int8: FloatArray, on: str) -> dict[str, Any]:
    """Means of both, their difference with its 95 % interval, and the p-value of the paired test."""
    return {
        "on": on,
        "queries": len(fp32),
        FP32: float(fp32.mean()),
        QINT8: float(int8.mean()),
        "difference": float((int8 - fp32).mean()),
        "ci95": list(bootstrap_interval(int8 - fp32)),
        "p": paired_permutation(int8, fp32),
    }
