"""A ranker whose best documents come from a backend, and whose scores are those of the index's folder.

What the backend returns is scored anew. Its own scores differ by rounding, and those of words by how much the mean
length of documents has changed since it was filled, which is bounded: it is asked deeper until no document that it did
not return can be among the best. Where it cannot go deeper, or no longer holds this version of the index, the folder
answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pretrieve.core.errors import StorageError
from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.backends import Backend, Field, Found, Weights
from pretrieve.index.backends.facts import narrowed
from pretrieve.index.ids import Members
from pretrieve.index.rankers import ROUGH, Best, Queries, Ranker

_MORE = 64  # rows that a backend is asked for beyond the documents wanted, at least
_DEEPER = 4  # times as many, where these were not enough
_NOTHING = np.zeros(0, np.int64), np.zeros(0, np.float32)


class Holder(Protocol):
    """The collection of one version of an index."""

    @property
    def factor(self) -> float:
        """By how much a score of words may exceed that of the collection."""
        ...

    @property
    def backend(self) -> Backend | None:
        """The collection; None where the folder is to answer."""
        ...

    def whole(self) -> bool:
        """Whether the collection holds every document of this version, now."""
        ...

    def numbers(self, found: Found) -> IntArray:
        """Numbers of the documents of this version among the rows that were found."""
        ...


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A ranker; see ``rankers.Ranker``.

    Attributes:
        field: of the backend.
        local: the same over the folder.
        members: the documents.
        holder: the collection.
        vectors: of queries, as the backend takes them.
    """

    field: Field
    local: Ranker
    members: Members
    holder: Holder
    vectors: Callable[[Sequence[str]], Sequence[Weights] | FloatArray]

    def top(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[Best]:
        """The best documents by the backend; see ``rankers.Ranker``."""
        may = self.members.may(allowed)
        all_wanted = (self.members.size if may is None else int(may.sum())) <= n
        backend = None if all_wanted else self.holder.backend
        if backend is not None:
            found = self._found(backend, queries, n, may)
            if found is not None:
                local = self.local
                return [local.top([query], n, allowed)[0] if best is None else best
                        for query, best in zip(queries, found, strict=True)]  # fmt: skip
        return self.local.top(queries, n, allowed)

    def _found(
        self, backend: Backend, queries: Sequence[str], n: int, may: BoolArray | None
    ) -> list[Best | None] | None:
        """What the backend finds, None for a query that it cannot settle; None where it is not this version's."""
        facts = narrowed(queries.where) if isinstance(queries, Queries) else []
        vectors = self.vectors(queries)
        best: list[Best | None] = [_NOTHING if not len(vector) else None for vector in vectors]
        waiting = [place for place in range(len(queries)) if len(vectors[place])]
        depth = n + max(_MORE, n // 8)
        while waiting:
            size = min(depth, backend.deepest)
            answers = self._asked(backend, [vectors[place] for place in waiting], size, facts)
            if answers is None:
                return None
            for place, found in zip(waiting, answers, strict=True):
                best[place] = self._settled(queries[place], found, n, size, may, exact=backend.exact)
            waiting = [] if size == backend.deepest else [place for place in waiting if best[place] is None]
            depth *= _DEEPER
        return best

    def _asked(self, backend: Backend, vectors: Any, size: int, facts: list[list[int]]) -> list[Found] | None:
        try:
            answers = backend.search(self.field, vectors, size, facts)
        except StorageError:
            if self.holder.whole():
                raise
            return None
        # Rows of a version are deleted only after the collection no longer says that it holds it.
        return answers if self.holder.whole() else None

    def _settled(
        self, query: str, found: Found, n: int, size: int, may: BoolArray | None, *, exact: bool
    ) -> Best | None:
        """The n best of what the backend returned; None where others may be among them."""
        numbers = self.holder.numbers(found)
        if may is not None:
            numbers = numbers[may[numbers]]
        scores = self.local.score_documents([query], [numbers])[0]
        if self.field == "lexical":
            numbers, scores = numbers[scores > 0], scores[scores > 0]
        places = self.members.best(numbers, scores, n)
        best = numbers[places], scores[places]
        if len(found.keys) < size:
            return best
        if len(places) < n:
            return None
        if self.field == "dense" and not exact:
            return best
        factor = self.holder.factor if self.field == "lexical" else 1.0
        bound = float(found.scores.min()) * factor + 2 * ROUGH * float(np.abs(found.scores).max())
        return best if float(best[1][-1]) > bound else None

    def score_documents(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """See ``rankers.Ranker``."""
        return self.local.score_documents(queries, numbers)

    def moments(self, queries: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """See ``rankers.Ranker``."""
        return self.local.moments(queries)
