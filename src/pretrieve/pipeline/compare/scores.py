"""Evaluates many models on one collection, which is read and indexed by BM25 once."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.evaluation.benchmark import depth_of, evaluate_rankings, parse_metrics, rank
from pretrieve.index.index import Index, IndexOptions, Mode
from pretrieve.index.lexical import Lexical
from pretrieve.models.text_encoder import open_encoder
from pretrieve.text.beir import Collection, load_collection

_HYBRID = 1.0  # fusion weight of the vectors, the same for all models so that only the models differ


class CollectionEvaluator:
    """A split of a BEIR folder, and one metric.

    Args:
        folder: with ``corpus``, ``queries`` and ``qrels``.
        split: split to evaluate on.
        metric: such as ``nDCG@10``.

    Raises:
        PretrieveError: an unknown metric; no such folder or split (when the first model is evaluated).
    """

    def __init__(self, folder: Path, split: str, metric: str) -> None:
        self._folder, self._split = folder, split
        self._measures = parse_metrics([metric])
        self._metric = metric
        self._collection: Collection | None = None
        self._lexical: Lexical | None = None

    def lexical(self) -> dict[Mode, FloatArray]:
        """(Q,) values of BM25 by query, as the mode ``lexical``."""
        return self._evaluate(None, ("lexical",))

    def model(self, location: Path) -> dict[Mode, FloatArray]:
        """(Q,) values of a model by query, alone (``dense``) and fused with BM25 (``hybrid``)."""
        return self._evaluate(location, ("dense", "hybrid"))

    def _evaluate(self, location: Path | None, modes: tuple[Mode, ...]) -> dict[Mode, FloatArray]:
        if self._collection is None:
            self._collection = load_collection(self._folder, self._split)
        encoder = None if location is None else open_encoder(str(location))
        options = IndexOptions(dense=_HYBRID)
        index = Index.of(self._collection.documents, encoder, options, lexical=self._lexical)
        self._lexical = index.lexical
        found: dict[Mode, FloatArray] = {}
        for mode in modes:
            rankings = rank(index, self._collection, depth_of(self._measures), mode, drop_same_id=False)
            found[mode] = np.round(evaluate_rankings(rankings, self._collection, self._measures)[self._metric], 6)
        return found
