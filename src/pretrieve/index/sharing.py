"""A ranker made of what scores all documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.ids import Members
from pretrieve.index.rankers import Best, kept, spread


class Scorer(Protocol):
    """Scores all documents at once."""

    def scores(self, queries: Sequence[str]) -> FloatArray:
        """Score every document for every query: (Q, R)."""
        ...


@dataclass(frozen=True)
class Sharing:
    """A ranker that finds documents which share a word with a query: its score is above 0.

    Attributes:
        scorer: scores all documents.
        members: the documents.
    """

    scorer: Scorer
    members: Members

    def top(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[Best]:
        """The best n that share a word; see ``Ranker``."""
        may = self.members.may(allowed)
        return [self._top(row, n, may) for row in self._all(queries)]

    def _top(self, row: FloatArray, n: int, may: BoolArray | None) -> Best:
        numbers = np.flatnonzero(row > 0 if may is None else (row > 0) & may)
        scores = row[numbers]
        if n < len(numbers):
            near = scores >= np.partition(scores, len(scores) - n)[len(scores) - n]
            numbers, scores = numbers[near], scores[near]
        places = self.members.best(numbers, scores, n)
        return numbers[places], scores[places]

    def score_documents(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """Scores of given documents; see ``Ranker``."""
        return [row[found] for row, found in zip(self._all(queries), numbers, strict=True)]

    def moments(self, queries: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the scores of all documents; see ``Ranker``."""
        rows = (spread(self.scorer.scores([query])[:, self.members.numbers]) for query in queries)
        found = np.array([(mean[0], deviation[0]) for mean, deviation in rows]).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def _all(self, queries: Sequence[str]) -> FloatArray:
        return kept(queries, (id(self.scorer), "scores"), lambda: self.scorer.scores(queries))
