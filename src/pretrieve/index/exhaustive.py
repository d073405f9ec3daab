"""BM25 as a ranker that scores all documents of a small collection at once, which is faster there than to prune."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.ids import Members
from pretrieve.index.lexical import Lexical
from pretrieve.index.passages import Passages
from pretrieve.index.rankers import Best, Ranker, kept

SMALL = 1 << 17  # documents up to which all of them are scored


@dataclass(frozen=True)
class Exhaustive:
    """A ranker whose documents share a word with the query: their score is above 0.

    Attributes:
        lexical: scores all documents.
        members: the documents.
    """

    lexical: Lexical | Passages
    members: Members

    def top(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[Best]:
        """The best n that share a word; see ``rankers.Ranker``."""
        best = []
        for row, numbers in zip(self._scores(queries), self.candidates(queries, n, allowed), strict=True):
            scores = row[numbers]
            places = self.members.best(numbers, scores, n)
            best.append((numbers[places], scores[places]))
        return best

    def candidates(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[IntArray]:
        """The documents of ``top``; see ``rankers.RoughRanker``."""
        may = self.members.may(allowed)
        return [self._best(row, n, may) for row in self._scores(queries)]

    def _best(self, row: FloatArray, n: int, may: BoolArray | None) -> IntArray:
        numbers = np.flatnonzero(row > 0 if may is None else (row > 0) & may)
        if n >= len(numbers):
            return numbers
        scores = row[numbers]
        last = np.partition(scores, len(scores) - n)[len(scores) - n]
        above, equal = numbers[scores > last], numbers[scores == last]
        if len(above) + len(equal) > n:
            equal = equal[self.members.best(equal, row[equal], n - len(above))]
        return np.concatenate([above, equal])

    def rough_scores(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """Scores of given documents, which are exact; see ``rankers.RoughRanker``."""
        return self.score_documents(queries, numbers)

    def score_documents(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """Scores of given documents; see ``rankers.Ranker``."""
        return [row[found] for row, found in zip(self._scores(queries), numbers, strict=True)]

    def moments(self, queries: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the scores of all documents; see ``rankers.Ranker``."""
        return self.lexical.moments(queries)

    def _scores(self, queries: Sequence[str]) -> FloatArray:
        return kept(queries, (id(self.lexical), "scores"), lambda: self.lexical.scores(queries))


def lexical_ranker(lexical: Lexical | Passages, members: Members) -> Ranker:
    """BM25 as a ranker: of all documents at once where there are few, else pruned."""
    return Exhaustive(lexical, members) if members.size <= SMALL else lexical
