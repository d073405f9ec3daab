"""What scores documents for queries: the interface of a ranker, and batches of queries that remember what was computed.

A ranker may hold its documents in memory, on disk or on another machine: fusion asks for the best of each ranker and
for the scores of given documents, never for the scores of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Protocol, TypeGuard, TypeVar, cast, overload, runtime_checkable

import numpy as np

from pretrieve.core.types import BoolArray, FloatArray, IntArray
from pretrieve.index.filters import Filter

ROUGH = 1e-5  # of the highest score: how far a rough score may be from the exact one
T = TypeVar("T")
Best = tuple[IntArray, FloatArray]  # numbers of documents, best first, and their scores


class Ranker(Protocol):
    """Scores documents, which have numbers from 0, for batches of queries."""

    def top(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[Best]:
        """Find the n best documents for each query.

        Args:
            queries: Q texts.
            n: how many; fewer come back where fewer are allowed, or share a word with a query.
            allowed: (R,) documents that may be returned; all that are not deleted without it.

        Returns:
            For each query numbers and scores, by (score descending, id ascending).
        """
        ...

    def score_documents(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """Score given documents for each query; the same document has the same score to the last bit, whatever beside.

        Args:
            queries: Q texts.
            numbers: Q arrays of documents' numbers.
        """
        ...

    def moments(self, queries: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Mean and deviation of the scores of all documents, (Q,) each."""
        ...


@runtime_checkable
class RoughRanker(Protocol):
    """A ranker that scores much faster to rounding than to the last bit."""

    def candidates(self, queries: Sequence[str], n: int, allowed: BoolArray | None = None) -> list[IntArray]:
        """The documents of ``Ranker.top``, in any order."""
        ...

    def rough_scores(self, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
        """As ``Ranker.score_documents``, to one part in 100,000 of the highest score."""
        ...


class Order(Protocol):
    """The order of hits: by score, and by id where scores are equal."""

    def best(self, numbers: IntArray, scores: FloatArray, n: int) -> IntArray:
        """Places in ``numbers`` of the n best documents, best first.

        Args:
            numbers: of documents, each once.
            scores: of each.
            n: how many; fewer come back where there are fewer.
        """
        ...


class Queries(Sequence[str]):
    """A batch of queries; rankers keep with it what they computed for it, as long as it lives.

    Args:
        texts: Q texts.
        where: a filter that says no more than the documents allowed, for rankers that filter themselves.
    """

    def __init__(self, texts: Sequence[str], where: Filter | None = None) -> None:
        self._texts, self.where = list(texts), where
        self._kept: dict[object, Any] = {}

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._texts[index]

    def blocks(self, size: int) -> Iterator[Queries]:
        """Consecutive queries in batches of at most ``size``, with their part of what is kept; all of them are one."""
        if len(self) <= size:
            yield self
            return
        for start in range(0, len(self), size):
            part = Queries(self._texts[start : start + size], self.where)
            part._kept = {key: values[start : start + size] for key, values in self._kept.items()}
            yield part


def batch(queries: Sequence[str], where: Filter | None = None) -> Queries:
    """Queries as a batch that keeps what is computed; one that is a batch for the same filter already is taken."""
    return queries if isinstance(queries, Queries) and queries.where is where else Queries(queries, where)


def kept(queries: Sequence[str], key: object, compute: Callable[[], T]) -> T:
    """What a ranker computed for a batch: an array (Q, ...), computed once for ``Queries``.

    Args:
        queries: the batch; what is computed for any other sequence is not kept.
        key: names it; of the ranker alone.
        compute: computes it.
    """
    if not isinstance(queries, Queries):
        return compute()
    if key not in queries._kept:
        queries._kept[key] = compute()
    return cast(T, queries._kept[key])


def remember(queries: Sequence[str], key: object, found: Sequence[Best]) -> None:
    """Keep the scores of documents with a batch, for ``completed``; of any other sequence nothing is kept.

    Args:
        queries: Q texts.
        key: names them; of the ranker alone.
        found: for each query numbers of documents, each once, and their scores, in any order.
    """
    if isinstance(queries, Queries):
        orders = [np.argsort(numbers) for numbers, _ in found]
        queries._kept[key] = [
            (numbers[order], scores[order]) for (numbers, scores), order in zip(found, orders, strict=True)
        ]


def completed(
    queries: Sequence[str],
    key: object,
    numbers: Sequence[IntArray],
    score: Callable[[Sequence[IntArray]], Sequence[FloatArray]],
) -> list[FloatArray]:
    """Scores of given documents, of which those that were kept with the batch are not computed again.

    Args:
        queries: Q texts.
        key: as ``remember`` was given.
        numbers: Q arrays of documents' numbers.
        score: computes the scores of others.
    """
    kept_scores = queries._kept.get(key) if isinstance(queries, Queries) else None
    if kept_scores is None:
        return list(score(numbers))
    found, missing = [], []
    for wanted, (known, scores) in zip(numbers, kept_scores, strict=True):
        if not len(known):
            known, scores = np.full(1, -1), np.zeros(1, np.float32)
        at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
        missing.append(np.flatnonzero(known[at] != wanted))
        found.append(scores[at])
    others = score([wanted[places] for wanted, places in zip(numbers, missing, strict=True)])
    for scores, places, values in zip(found, missing, others, strict=True):
        scores[places] = values
    return found


@cache
def _is_rough(kind: type) -> bool:
    """Whether rankers of a class are rough; to look at a protocol's methods takes longer than some rankers do."""
    return issubclass(kind, RoughRanker)


def is_rough(ranker: Ranker) -> TypeGuard[RoughRanker]:
    """Whether a ranker scores faster to rounding."""
    return _is_rough(type(ranker))


def candidates(ranker: Ranker, queries: Sequence[str], n: int, allowed: BoolArray | None) -> list[IntArray]:
    """The n best documents for each query, in any order."""
    if is_rough(ranker):
        return ranker.candidates(queries, n, allowed)
    return [numbers for numbers, _ in ranker.top(queries, n, allowed)]


def rough_scores(ranker: Ranker, queries: Sequence[str], numbers: Sequence[IntArray]) -> list[FloatArray]:
    """Scores of given documents, to rounding where that is faster."""
    scored = ranker.rough_scores if is_rough(ranker) else ranker.score_documents
    return scored(queries, numbers)


def spread(scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean and deviation of each row of scores (Q, S), in float64."""
    values = scores.astype(np.float64)
    return values.mean(axis=1), values.std(axis=1)
