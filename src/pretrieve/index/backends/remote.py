"""A ranker whose best documents come from a backend, and whose scores are those of the index's folder.

What the backend returns is scored anew. Its own scores differ by rounding, and those of words by how much the mean
length of documents has changed since it was filled, which is bounded: it is asked deeper until no document that it did
not return can be among the best. Where it cannot go deeper, the folder answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.backends import Backend, Field, Weights
from pretrieve.index.bm25 import Statistics
from pretrieve.index.field_values import Literal, folded
from pretrieve.index.filters import Combination, Comparison, Filter, Node
from pretrieve.index.ids import Members
from pretrieve.index.rankers import ROUGH, Best, Queries, Ranker

MANY = 0  # stands for all facts of a document with too many
EMPTY = 0  # dimension of documents without terms: a sparse vector cannot be empty
_MORE = 64  # documents that a backend is asked for beyond those wanted, at least
_EXACT = 1 << 53


def dimension(term: str) -> int:
    """The dimension of a term in a sparse vector; where two share one, a backend's score is too high, never too low."""
    return 1 + int.from_bytes(hashlib.blake2b(term.encode("utf-8", "surrogatepass"), digest_size=4).digest()) % (
        2**32 - 3
    )


def fact(name: str, value: str) -> int:
    """Hash of a field's value, int64; never ``MANY``."""
    data = f"{folded(name)}\0{value}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), signed=True) or 1


def number_fact(value: float) -> str:
    """A number as ``fact`` takes it."""
    return f"\0{float(value)!r}"


def narrowed(where: Filter | None) -> list[list[int]]:
    """A filter as facts, of each list a document has one at least; may say less than the filter, never more.

    Equality of texts and numbers, ``in``, ``and`` and ``or`` are translated; the rest is left to the folder.
    """
    return [] if where is None else _narrowed(where.node)


def _narrowed(node: Node) -> list[list[int]]:
    if isinstance(node, Comparison):
        return _compared(node)
    if isinstance(node, Combination) and node.how == "and":
        return [one for part in node.parts for one in _narrowed(part)]
    if isinstance(node, Combination) and node.how == "or":
        parts = [_narrowed(part) for part in node.parts]
        if all(len(part) == 1 for part in parts):
            return [[one for part in parts for one in part[0]]]
    return []


def _compared(node: Comparison) -> list[list[int]]:
    if node.sign != "=":
        return []
    found = [MANY]
    for value in node.values:
        literal = Literal.of(value)
        if literal.span is not None:  # a stretch of time
            return []
        found.append(fact(node.field, literal.text))
        if literal.number is not None and abs(literal.number) < _EXACT:
            found.append(fact(node.field, number_fact(literal.number)))
    return [found]


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A ranker; see ``rankers.Ranker``.

    Attributes:
        field: of the backend.
        local: the same over the folder.
        members: the documents.
        backend: opens it, once.
        vectors: of queries, as the backend takes them.
        factor: by how much a true score may exceed the backend's.
    """

    field: Field
    local: Ranker
    members: Members
    backend: Callable[[], Backend]
    vectors: Callable[[Sequence[str]], Sequence[Weights] | FloatArray]
    factor: Callable[[], float] = lambda: 1.0

    def top(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[Best]:
        """The best documents by the backend; see ``rankers.Ranker``."""
        may = self.members.may(allowed)
        if (self.members.size if may is None else int(may.sum())) <= n:  # all of them are wanted
            return self.local.top(queries, n, allowed)
        facts = narrowed(queries.where) if isinstance(queries, Queries) else []
        vectors = self.vectors(queries)
        best: dict[int, Best] = {}
        waiting = [place for place in range(len(queries)) if len(vectors[place])]
        depth = n + max(_MORE, n // 8)
        while waiting:
            size = min(depth, self.backend().deepest)
            asked: Any = [vectors[place] for place in waiting]
            answers = self.backend().search(self.field, asked, size, facts)
            for place, (keys, rough) in zip(waiting, answers, strict=True):
                found = self._settled(queries[place], keys, rough, n, size, may)
                if found is not None:
                    best[place] = found
                elif size < depth or size == self.backend().deepest:
                    best[place] = self.local.top([queries[place]], n, allowed)[0]
            waiting = [place for place in waiting if place not in best]
            depth *= 4
        nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
        return [best.get(place, nothing) for place in range(len(queries))]

    def _settled(
        self, query: str, keys: IntArray, rough: FloatArray, n: int, size: int, may: BoolArray | None
    ) -> Best | None:
        """The n best of what the backend returned; None where others may be among them."""
        numbers = self._numbers(keys)
        if may is not None:
            numbers = numbers[may[numbers]]
        scores = self.local.score_documents([query], [numbers])[0]
        if self.field == "lexical":
            numbers, scores = numbers[scores > 0], scores[scores > 0]
        places = self.members.best(numbers, scores, n)
        best = numbers[places], scores[places]
        if len(keys) < size:
            return best
        if len(places) < n:
            return None
        if self.field == "dense" and not self.backend().exact:
            return best
        bound = float(rough.min()) * self.factor() + 2 * ROUGH * float(np.abs(rough).max())
        return best if float(best[1][-1]) > bound else None

    def _numbers(self, keys: IntArray) -> IntArray:
        """Numbers of documents by keys; those that this version of the index does not have are left out."""
        found = [np.zeros(0, np.int64)]
        for start, part in zip(self.members.starts.tolist(), self.members.parts, strict=False):
            _, within = part.find(np.ascontiguousarray(keys).view(np.uint64))
            found.append(start + within.astype(np.int64))
        numbers = np.concatenate(found)
        return numbers if self.members.alive is None else numbers[self.members.alive[numbers]]

    def score_documents(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """See ``rankers.Ranker``."""
        return self.local.score_documents(queries, numbers)

    def moments(self, queries: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """See ``rankers.Ranker``."""
        return self.local.moments(queries)


def term_weights(terms: Sequence[str], statistics: Statistics) -> dict[int, float]:
    """A query as a sparse vector: the weight of each term that documents have."""
    found: dict[int, float] = {}
    for term, idf in zip(terms, statistics.idf(terms).tolist(), strict=True):
        if idf > 0:
            found[dimension(term)] = found.get(dimension(term), 0.0) + idf
    return found
