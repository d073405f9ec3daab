"""Choosing among systems by the fused probe: one score per system, and a reason.

A system's score is what it adds to BM25: its mean gain on known items (sentences) and on topical queries of both kinds,
at the weights in ``_AT``, added up. Of three dozen rules on ten collections with three seeds this one loses least
against the best system; selected without the collection that it is evaluated on, a rule loses .003 (docs/log.md). Where
titles repeat, known items with their title count alone: topics are what passages of one contract have in common. The
start is saved only where it is significantly above every trained system: training helps on nearly all collections.

How sure it is that training helped is said apart from the choice (``Above``), without the topics of the committee,
which favour its members. Of six such differences this one is nearest to that on labels (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.evaluation.fused_probe import LEXICAL, SENTENCE, TITLED, TOPICAL, WEIGHTS, FusedScores
from pretrieve.evaluation.significance import largest_gain

WEIGHT = 0.8  # fusion weight of trained vectors: no probe predicts the best weight better than a constant (docs/log.md)
TITLED_WEIGHT = 0.25  # the same where titles repeat: near-equal passages have near-equal vectors
PASSAGES = 0.4  # of BM25's best passage beside BM25 of the document
_AT = (0.5, 1.0)  # weights at which systems are compared
_FEWEST_SYSTEMS = 2  # the start and one trained system
_ABOVE = 2.0  # standard errors that the start has to be above the best trained system


@dataclass(frozen=True, kw_only=True)
class Above:
    """A system's gain over the start: its mean over kinds of queries, standard error, and one-sided p-value."""

    gain: float
    error: float
    p: float

    @property
    def errors(self) -> float:
        """The gain in standard errors."""
        return self.gain / self.error if self.error > 0 else 0.0

    def __str__(self) -> str:
        return f"{self.gain:+.3f} ± {self.error:.3f} (p {self.p:.4f})"

    def to_json(self) -> dict[str, float]:
        """As plain values."""
        return {"gain": self.gain, "error": self.error, "p": self.p}


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The chosen system, with its scores.

    Attributes:
        system: its name.
        weight: fusion weight of its vectors.
        ranking: score of each system.
        scores: scores of the probe.
        start: name of the untrained system.
        above: each trained system's gain over the start.
        at: weights at which systems are compared.
    """

    system: str
    weight: float
    ranking: dict[str, float]
    scores: FusedScores
    start: str
    above: Mapping[str, Above]
    at: tuple[float, ...] = _AT

    @property
    def weight_reason(self) -> str:
        """The reason for the fusion weight."""
        return "the default of trained vectors" if self.system != self.start else "the default of an untrained start"

    @property
    def sentence(self) -> str:
        """The saved system and its gain, in a sentence."""
        seen = " and ".join(
            f"{_signed(gains.mean())} ± {_error(gains):.3f} on {len(gains)} {name} queries"
            for name, gains in ((_NAMES.get(kind, kind), self._gains(kind)) for kind in _used(self.scores)[:2])
        )
        if self.system == self.start:
            return f"fused search gains {seen} over BM25 on held-out documents (nDCG@10); saved: the untrained start"
        return (
            f"fused search gains {seen} over BM25, and {self.above[self.system]} over the vectors of the untrained "
            f"start, on held-out documents (nDCG@10); saved: variant {self.system}"
        )

    def _gains(self, kind: str) -> FloatArray:
        """Gain of each query over BM25 at the weight of those compared that is nearest to the saved one."""
        near = min(self.at, key=lambda weight: abs(weight - self.weight))
        return np.asarray(self.scores.fused[self.system][kind][WEIGHTS.index(near)] - self.scores.bm25[kind])

    def to_json(self) -> dict[str, Any]:
        """As plain values: queries, BM25's nDCG@10, and the gain of every system at every weight, by kind of query."""
        kinds = list(self.scores.bm25)
        return {
            "pool": self.scores.pool,
            "queries": {kind: len(self.scores.bm25[kind]) for kind in kinds},
            "BM25": {kind: float(self.scores.bm25[kind].mean()) for kind in kinds},
            "weights": list(WEIGHTS),
            "at": list(self.at),
            "gain": {
                system: {kind: [round(float(gain), 6) for gain in self.scores.gain(system, kind)] for kind in kinds}
                for system in self.scores.fused
            },
            "score": self.ranking,
            "above_start": {name: one.to_json() for name, one in self.above.items()},
            "saved": self.system,
            "weight": self.weight,
        }


_NAMES = {SENTENCE: "known-item", TITLED: "known-item"}


def choose(scores: FusedScores, start: str, trained: Sequence[str], start_weight: float = 0.25) -> Choice:
    """Choose the system that adds most to BM25.

    Args:
        scores: of all systems.
        start: name of the untrained one.
        trained: names of the others; on a tie, the first one is chosen.
        start_weight: fusion weight of the start's vectors, if it is chosen.
    """
    parts = {name: _parts(scores, name, _used(scores)) for name in (*trained, start)}
    ranking = {name: float(sum(part.mean() for part in found)) for name, found in parts.items()}
    best = max(trained, key=ranking.__getitem__)
    gaps = [first - second for first, second in zip(parts[start], parts[best], strict=True)]
    error = float(np.sqrt(sum(_error(gap) ** 2 for gap in gaps)))
    rejected = ranking[start] - ranking[best] > _ABOVE * error > 0
    return Choice(
        system=start if rejected else best,
        weight=start_weight if rejected else TITLED_WEIGHT if TITLED in scores.bm25 else WEIGHT,
        ranking=ranking,
        scores=scores,
        start=start,
        above=_above_start(scores, start, trained),
    )


def _above_start(scores: FusedScores, start: str, trained: Sequence[str]) -> dict[str, Above]:
    """The gain of trained systems over the start at the same weights, on queries of no committee."""
    kinds = [kind for kind in _used(scores) if kind != TOPICAL] or _used(scores)
    first = _parts(scores, start, kinds)
    return above(
        {name: [own - other for own, other in zip(_parts(scores, name, kinds), first, strict=True)] for name in trained}
    )


def above(gains: Mapping[str, Sequence[FloatArray]]) -> dict[str, Above]:
    """The gains of systems over the start, with the chance of the largest of all.

    Args:
        gains: by system; (Q,) a kind of query, each kind counts the same.
    """
    chances = largest_gain(gains)
    found = {}
    for name, kinds in gains.items():
        gain, error = mean_gain(kinds)
        found[name] = Above(gain=gain, error=error, p=chances[name])
    return found


def mean_gain(kinds: Sequence[FloatArray]) -> tuple[float, float]:
    """Mean and standard error of gains: (Q,) a kind of query, each kind counts the same; 0 without any."""
    if not kinds:
        return 0.0, 0.0
    error = float(np.sqrt(sum(gain.var() / len(gain) for gain in kinds)) / len(kinds))
    return float(np.mean([gain.mean() for gain in kinds])), error


def _used(scores: FusedScores) -> list[str]:
    """Kinds of queries that count: known items and topics; those with a title alone where titles repeat.

    With a single trained member, the committee equals that member: its topics do not count.
    """
    if TITLED in scores.bm25:
        return [TITLED]
    usual = (SENTENCE, TOPICAL, LEXICAL) if len(scores.fused) > _FEWEST_SYSTEMS else (SENTENCE, LEXICAL)
    return [kind for kind in usual if kind in scores.bm25] or list(scores.bm25)


def _parts(scores: FusedScores, system: str, kinds: Sequence[str]) -> list[FloatArray]:
    """Gain of every query, (Q,) by kind, as the mean over the weights that systems are compared at."""
    rows = [WEIGHTS.index(weight) for weight in _AT]
    return [scores.fused[system][kind][rows].mean(axis=0) - scores.bm25[kind] for kind in kinds]


def _error(values: FloatArray) -> float:
    """Standard error of a mean."""
    return float(values.std() / np.sqrt(max(len(values), 1)))


def _signed(value: float) -> str:
    return f"{value:+.3f}"
