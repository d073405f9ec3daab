"""Evaluates many models on one collection, which is read and indexed by BM25 once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.evaluation.benchmark import Ranking, depth_of, evaluate_rankings, parse_metrics, rank_scored
from pretrieve.evaluation.trec_runs import ScoredRanking
from pretrieve.index.index import Index, IndexOptions, Mode
from pretrieve.index.lexical import Lexical
from pretrieve.models.text_encoder import open_encoder
from pretrieve.text.beir import Collection, load_collection
from pretrieve.text.trec_writing import RunWriter, create_run, run_stem

KEPT = 100  # hits of a query in a ranking that is kept
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

    def evaluate(self, location: Path | None, rankings: Mapping[Mode, Path | None]) -> dict[Mode, FloatArray]:
        """Evaluate BM25 or a model, and write its rankings as TREC runs where they are to be kept.

        Args:
            location: of a model; None: BM25 alone.
            rankings: the file of each mode's ranking; None: it is not kept.

        Returns:
            (Q,) values by query, for each mode.
        """
        if self._collection is None:
            self._collection = load_collection(self._folder, self._split)
        encoder = None if location is None else open_encoder(str(location))
        options = IndexOptions(dense=_HYBRID)
        index = Index.of(self._collection.documents, encoder, options, lexical=self._lexical)
        self._lexical = index.lexical
        depth = max(depth_of(self._measures), KEPT)
        found: dict[Mode, FloatArray] = {}
        for mode, path in rankings.items():
            ranked = rank_scored(index, self._collection, depth, mode, drop_same_id=False)
            with contextlib.nullcontext() if path is None else create_run(path, run_stem(path)[0]) as run:
                values = evaluate_rankings(_kept(ranked, run), self._collection, self._measures)
            found[mode] = np.round(values[self._metric], 6)
        return found


def _kept(rankings: Iterator[ScoredRanking], run: RunWriter | None) -> Iterator[Ranking]:
    """Pass rankings on, and write the best hits of each if there is a run."""
    for query, hits, scores in rankings:
        if run is not None:
            run.add(query, hits[:KEPT], scores[:KEPT])
        yield query, hits
