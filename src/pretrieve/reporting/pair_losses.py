"""The loss of every pair under a model, and other keys that the model takes for right answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pretrieve.core.types import FloatArray, TextEncoder

TEMPERATURE = 0.05  # of the softmax over cosines
RELATIVE_MARGIN = 0.05  # below the positive's similarity from which a negative is suspected
_SUSPECTS = 5  # of a pair


def query_and_key(rows: Sequence[Mapping[str, Any]], negatives: Sequence[str]) -> tuple[int, int] | None:
    """Numbers of the query's and the key's row of an example; None where the method compares no rows.

    Args:
        rows: of the example.
        negatives: roles of rows of other examples that it is told apart from.
    """
    keys = [number for number, row in enumerate(rows) if row["role"] in negatives]
    if not keys:
        return None
    others = [number for number, row in enumerate(rows) if number != keys[0] and row["role"] != "span"]
    return (others[0] if others else keys[0]), keys[0]


def add_losses(pairs: Sequence[dict[str, Any]], negatives: Sequence[str], encoder: TextEncoder) -> int:
    """Add ``loss``, ``positive`` (similarity) and ``suspects`` to pairs.

    Args:
        pairs: examples.
        negatives: roles of rows of other examples that one is told apart from.
        encoder: the model.

    Returns:
        Number of pairs with a suspected false negative.
    """
    chosen = [query_and_key(pair["rows"], negatives) for pair in pairs]
    if any(one is None for one in chosen) or len(pairs) < 2:
        return 0
    places = [one for one in chosen if one is not None]
    both = list(zip(pairs, places, strict=True))
    asked, sought = ([_text(pair["rows"][one[side]]) for pair, one in both] for side in (0, 1))
    queries, keys = _unit(encoder.encode_queries(asked)), _unit(encoder.encode_documents(sought))
    scores = np.einsum("qd,kvd->qkv", queries, keys).max(axis=2) if keys.ndim == 3 else queries @ keys.T
    names = np.array([pair["document"] for pair in pairs])
    same = (names[:, None] == names[None, :]) & ~np.eye(len(pairs), dtype=bool)
    _note(pairs, np.where(same, -np.inf, scores))
    return sum(bool(pair["suspects"]) for pair in pairs)


def _note(pairs: Sequence[dict[str, Any]], scores: FloatArray) -> None:
    for place, (pair, row) in enumerate(zip(pairs, scores, strict=True)):
        positive = float(row[place])
        logits = row / TEMPERATURE
        pair["loss"] = round(float(np.logaddexp.reduce(logits) - logits[place]), 4)
        pair["positive"] = round(positive, 4)
        least = max(positive - RELATIVE_MARGIN * abs(positive), 1e-9)  # texts without a known word have similarity 0
        near = [int(other) for other in np.argsort(-row, kind="stable") if other != place and row[other] >= least]
        pair["suspects"] = [[other, round(float(row[other]), 4)] for other in near[:_SUSPECTS]]


def _text(row: Mapping[str, Any]) -> str:
    return " ".join(seen for _, seen, _ in row["pieces"] if seen)


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return unit
