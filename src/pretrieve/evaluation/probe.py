"""The label-free probe: is a model any better than its start, and than BM25, on documents it was not trained on?

Held-out documents give queries (titles, sentences), which have to find the document they were taken from, without its
query, among held-out documents and distractors. It costs seconds and is the same at every call.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import FloatArray, IntArray
from pretrieve.evaluation.significance import paired_permutation
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.fuse import Fusion, Ranker, choose, gain_of_first, pseudo_scores
from pretrieve.index.hits import sentence_spans
from pretrieve.index.lexical import Lexical
from pretrieve.index.pseudo import PseudoQueries, Records, full_text, pseudo_queries
from pretrieve.index.scoring import best_scores, pair_scores

Encode = Callable[[Sequence[str]], FloatArray]
BM25 = "BM25"


@dataclass(frozen=True, kw_only=True)
class Sides:
    """A system that encodes queries and documents in two ways, and is compared by dot product.

    Attributes:
        queries: from Q texts to vectors (Q, D).
        documents: from R texts to vectors (R, D), or (R, V, D) of their vectors, of which the best one counts.
    """

    queries: Encode
    documents: Encode


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """Size of the probe.

    Attributes:
        queries: maximum number of queries of each kind.
        distractors: maximum number of documents beside the held-out ones.
        seed: seed of the drawn documents, titles and sentences.
        languages: languages of the documents, for the stemmer of BM25.
    """

    queries: int = 300
    distractors: int = 4000
    seed: int = 0
    languages: tuple[str, ...] = ("en",)


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What the probe saw.

    Attributes:
        values: nDCG@10 of every query, (Q,) by system and then by kind of query.
        pool: number of documents searched.
    """

    values: Mapping[str, Mapping[str, FloatArray]]
    pool: int

    def mean(self, system: str, kind: str | None = None) -> float:
        """Mean nDCG@10 of a system, of one kind of query or over kinds (each counts the same); NaN without queries."""
        kinds = self.values[system]
        means = [float(kinds[name].mean()) for name in kinds if kind in (None, name)]
        return float(np.mean(means)) if means else float("nan")

    def worse(self, a: str, b: str, level: float = 0.05) -> bool:
        """Whether ``a`` is below ``b`` significantly (paired permutation test over all queries)."""
        first, second = (np.concatenate([*self.values[system].values(), np.zeros(0)]) for system in (a, b))
        return bool(first.sum() < second.sum() and paired_permutation(first, second) < level)

    def to_json(self) -> dict[str, Any]:
        """As JSON: pool, number of queries by kind, nDCG@10 by system and kind."""
        kinds = next(iter(self.values.values()), {})
        return {
            "pool": self.pool,
            "queries": {kind: len(values) for kind, values in kinds.items()},
            "nDCG@10": {
                system: {kind: float(values.mean()) for kind, values in found.items()}
                for system, found in self.values.items()
            },
        }


@dataclass(frozen=True)
class _Vectors:
    """A ranker over a system: its own dot product where it has sides, or else cosine with the documents' vectors."""

    system: Encode | Sides
    dense: FloatArray

    @staticmethod
    def of(system: Encode | Sides, texts: Sequence[str]) -> _Vectors:
        return _Vectors(system, _document_vectors(system, texts))

    def scores(self, queries: Sequence[str]) -> FloatArray:
        return best_scores(_query_vectors(self.system, queries), self.dense)

    def score_pairs(self, queries: Sequence[str], texts: Sequence[str]) -> FloatArray:
        return pair_scores(_query_vectors(self.system, queries), _document_vectors(self.system, texts))


class Probe:
    """Queries and documents of a probe, drawn once and used before, during and after training.

    Args:
        documents: all documents.
        held_out: (H,) indices of the held-out documents.
        options: options of the probe.
    """

    def __init__(self, documents: Records, held_out: IntArray, options: ProbeOptions | None = None) -> None:
        options = options or ProbeOptions()
        rest = np.setdiff1d(np.arange(len(documents)), held_out)
        chosen = generator(options.seed, "probe/distractors").permutation(rest)[: options.distractors]
        probed = [documents[index] for index in held_out.tolist()]
        self.sets: list[PseudoQueries] = pseudo_queries(probed, options.queries, options.seed, sentence_spans)
        pool = [*probed, *(documents[index] for index in np.sort(chosen).tolist())]
        self._texts = [full_text(document) for document in pool]
        self._analyzer = Analyzer(Analysis(languages=options.languages[:1]))
        self._lexical = Lexical.build(self._analyzer, self._texts)
        self._lexical_values: dict[str, FloatArray] | None = None

    def __call__(self, systems: Mapping[str, Encode | Sides]) -> ProbeResult:
        """Evaluate BM25 and the given encoders on the same queries.

        Args:
            systems: functions from R texts to vectors (R, D), by name, compared by cosine; or the two ``Sides``.
        """
        if self._lexical_values is None:
            self._lexical_values = self._ask(self._lexical)
        values: dict[str, Mapping[str, FloatArray]] = {BM25: self._lexical_values}
        for name, system in systems.items():
            values[name] = self._ask(_Vectors.of(system, self._texts))
        return ProbeResult(values=values, pool=len(self._texts))

    def weigh(self, encode: Encode) -> Fusion:
        """Choose the weight of an encoder's vectors beside BM25, on documents that it was not trained on."""
        return choose(self._lexical, _Vectors.of(encode, self._texts), self.sets, own=True)

    def _ask(self, ranker: Ranker) -> dict[str, FloatArray]:
        found: dict[str, FloatArray] = {}
        for queries in self.sets:
            scores = pseudo_scores(ranker, queries, slice(None))
            found[queries.kind] = gain_of_first(scores, queries.documents)
        return found


def _query_vectors(system: Encode | Sides, texts: Sequence[str]) -> FloatArray:
    return system.queries(texts) if isinstance(system, Sides) else _unit(system(texts))


def _document_vectors(system: Encode | Sides, texts: Sequence[str]) -> FloatArray:
    return system.documents(texts) if isinstance(system, Sides) else _unit(system(texts))


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), np.float32)
