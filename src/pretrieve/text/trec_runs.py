"""Runs in TREC's form: ``query Q0 document rank score tag``, a line a hit.

The order is that of trec_eval: by score, as a number of 32 bits, and hits of one score by id, the last one first; ranks
in the file say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from pretrieve.core.errors import DataError
from pretrieve.text.beir_files import beir_lines, decoded
from pretrieve.text.trec_writing import escaped_ids

_COLUMNS = 6


@dataclass(frozen=True, kw_only=True)
class TrecRun:
    """The ranking of a file.

    Attributes:
        hits: for each query the ids of its hits, best first.
        lines: number of lines.
        unknown_queries: queries of the file that were not asked for; their hits are left out.
        tied: hits with the score of the one before.
        other_ranks: queries whose ranks give another order than their scores.
        repeated: lines of a document that its query has already.
        escaped: ids that stand there with ``%20`` for white space.
    """

    hits: dict[str, list[str]]
    lines: int
    unknown_queries: int
    tied: int
    other_ranks: int
    repeated: int
    escaped: int = 0


@dataclass(slots=True)
class _Hit:
    document: str
    rank: int
    score: float


def is_trec_run(path: Path) -> bool:
    """Whether a path is a run by its first line: six columns, of which the fourth is a rank and the fifth a score."""
    if not path.is_file():
        return False
    try:
        line, where = next(beir_lines(path))
        _parsed(decoded(line, where), where)
    except (DataError, StopIteration):
        return False
    return True


def read_trec_run(
    path: Path, queries: Collection[str], *, documents: Iterable[str] = (), max_passage: bool = False
) -> TrecRun:
    """Read a run.

    Args:
        path: the file, perhaps packed.
        queries: ids of those to keep; others are counted.
        documents: ids of documents, for those with white space (``trec_writing``).
        max_passage: a query may have a document more than once: its best place counts.

    Raises:
        DataError: a line cannot be read, a query has a document twice, or no query of the run is known; the text names
            ``file:line``.
    """
    found: dict[str, dict[str, _Hit]] = {}
    names: dict[str, str] = {}  # an id is held once, however many queries find it
    unknown: set[str] = set()
    spaced_queries, spaced_documents = _Spaced(queries), _Spaced(documents)
    lines = repeated = 0
    for line, where in beir_lines(path):
        lines += 1
        query, hit = _parsed(decoded(line, where), where)
        query = spaced_queries.own(query)
        hit.document = spaced_documents.own(hit.document)
        if query not in queries:
            unknown.add(query)
            continue
        hits = found.setdefault(query, {})
        known = hits.get(hit.document)
        if known is not None and not max_passage:
            raise DataError(
                f"{where}: query {query!r} has document {hit.document!r} in a line before: leave one of them; if they "
                "are passages of one, --max-passage counts the best."
            )
        repeated += known is not None
        if known is None or hit.score > known.score:
            name = names.setdefault(hit.document, hit.document)
            hits[name] = _Hit(name, hit.rank, hit.score)
    if unknown and not found:
        raise DataError(f"{path}: none of its {len(unknown):,} queries has qrels: is it a run of this split?")
    return TrecRun(
        hits={query: _ordered(hits.values()) for query, hits in found.items()},
        lines=lines,
        unknown_queries=len(unknown),
        tied=sum(len(hits) - len({hit.score for hit in hits.values()}) for hits in found.values()),
        other_ranks=sum(_has_other_order(hits.values()) for hits in found.values()),
        repeated=repeated,
        escaped=len(spaced_queries.met) + len(spaced_documents.met),
    )


class _Spaced:
    """Ids with white space, which stand in a run as others."""

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = escaped_ids(ids)
        self.met: set[str] = set()

    def own(self, written: str) -> str:
        """The id that stands for itself or for another."""
        if written not in self._ids:
            return written
        self.met.add(written)
        return self._ids[written]


def _parsed(line: str, where: str) -> tuple[str, _Hit]:
    """Query and hit of a line."""
    fields = line.split()
    if len(fields) != _COLUMNS:
        raise DataError(
            f"{where}: {len(fields)} columns; a run has six (query, Q0, document, rank, score, tag), and no spaces in "
            "ids."
        )
    query, _, document, rank, score, _ = fields
    try:
        with np.errstate(over="ignore"):
            hit = _Hit(document, int(rank), float(np.float32(float(score))))
    except ValueError:
        raise DataError(f"{where}: rank {rank!r} and score {score!r}: two numbers were expected.") from None
    if math.isnan(hit.score):
        raise DataError(f"{where}: the score is not a number ({score}).")
    return query, hit


def _ordered(hits: Iterable[_Hit]) -> list[str]:
    return [hit.document for hit in sorted(hits, key=lambda hit: (hit.score, hit.document), reverse=True)]


def _has_other_order(hits: Iterable[_Hit]) -> bool:
    """Whether a better rank has a worse score somewhere."""
    ranked = sorted(hits, key=lambda hit: (hit.rank, -hit.score))
    return any(a.rank < b.rank and a.score < b.score for a, b in pairwise(ranked))
