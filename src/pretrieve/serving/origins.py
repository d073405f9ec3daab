"""Where a hit came from: its place and score by each ranker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrieve.index.find import Result
from pretrieve.index.index import Index

_NAMES = ("BM25", "vectors", "best passage", "static model")


@dataclass(frozen=True, kw_only=True)
class Voice:
    """What one ranker says of a hit.

    Attributes:
        name: of the ranker.
        score: its own.
        standard: deviations above the mean of all documents, which is what is fused.
        weight: of the ranker.
    """

    name: str
    score: float
    standard: float
    weight: float


def origins(index: Index, result: Result, depth: int) -> list[tuple[str, list[Voice]]]:
    """For each hit, who found it, and the scores.

    Args:
        index: the index.
        result: what was found in it.
        depth: a ranker has found what is among its best so many of the documents that query and filter allow.

    Returns:
        ``lexical``, ``dense``, ``both`` or ``fusion`` (none of them alone), and the rankers.
    """
    if not result.numbers:
        return []
    found, queries = np.array(result.numbers, np.int64), result.text
    voices: list[list[Voice]] = [[] for _ in result.numbers]
    best: list[set[int]] = []
    for name, (ranker, weight) in zip(_names(index), index.rankers(), strict=True):
        mean, deviation = (float(values[0]) for values in ranker.moments(queries))
        scores = ranker.score_documents(queries, [found])[0]
        for place, score in enumerate(scores.tolist()):
            standard = (score - mean) / deviation if deviation > 1e-9 else 0.0
            voices[place].append(Voice(name=name, score=score, standard=standard, weight=weight))
        best.append(set(ranker.top(queries, depth, result.allowed)[0][0].tolist()))
    return [(_who(number, best), said) for number, said in zip(result.numbers, voices, strict=True)]


def _names(index: Index) -> list[str]:
    """Names of ``Index.rankers``."""
    there = [True, index.dense is not None and bool(index.fusion.dense)]
    there += [there[1] and bool(index.fusion.passages) and index.lexical.passages is not None]
    there += [there[1] and bool(index.fusion.third) and index.third is not None]
    return [name for name, is_there in zip(_NAMES, there, strict=True) if is_there]


def _who(number: int, best: Sequence[set[int]]) -> str:
    lexical = number in best[0] or (len(best) > 2 and any(number in some for some in best[2:]))
    dense = len(best) > 1 and number in best[1]
    return "both" if lexical and dense else "lexical" if lexical else "dense" if dense else "fusion"
