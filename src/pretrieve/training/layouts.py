"""Layouts made ahead: what a step makes of the rows of its batch is made for the next batches in the prefetch thread.

Encoders make layouts by ``Rows.once``. After the first step, the rows of its batch hold what was made of them, and of
which columns: the same is made for each later batch, with the encoder's own code and on its device, so that neither
the trainer nor the methods know what a layout is. A step finds it, or makes it; the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pretrieve.core.types import Batch, Rows


@dataclass(slots=True)
class _Plan:
    """What is made of rows, and of the columns of a batch; what is made may be rows again, with or without facts."""

    made: dict[tuple[Any, ...], _Plan] = field(default_factory=dict)
    columns: dict[tuple[int, int], _Plan] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.made or self.columns)


class Layouts:
    """What the steps of a run make of their batches; empty until one was taken."""

    def __init__(self) -> None:
        self._plan: _Plan | None = None

    def learn(self, pieces: Iterable[Batch]) -> None:
        """Find out what a step has made of its pieces; only the first call does so.

        Args:
            pieces: the parts of its batch that were encoded at once.
        """
        if self._plan is None:
            self._plan = _plan_of(next(iter(pieces)))

    def make(self, pieces: Iterable[Batch]) -> None:
        """Make the same for the pieces of another batch; nothing before ``learn``."""
        if self._plan:
            for piece in pieces:
                _make(piece, self._plan)


def _plan_of(batch: Batch) -> _Plan:
    columns = {(first, last): _plan_of(view) for (kind, first, last), view in batch.views.items() if kind == "columns"}
    return _Plan(_made(batch.rows), {key: plan for key, plan in columns.items() if plan})


def _made(rows: Rows) -> dict[tuple[Any, ...], _Plan]:
    found = {key: _rows_in(value) for key, value in rows.made.items()}
    return {key: _Plan() if inner is None else _Plan(_made(inner)) for key, inner in found.items()}


def _rows_in(value: Any) -> Rows | None:
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, Rows) else None


def _make(batch: Batch, plan: _Plan) -> None:
    _make_of(batch.rows, plan)
    for (first, last), inner in plan.columns.items():
        _make(batch.columns(first, last), inner)


def _make_of(rows: Rows, plan: _Plan) -> None:
    for (make, *arguments), inner in plan.made.items():
        found = _rows_in(rows.once(make, *arguments))
        if found is not None:
            _make_of(found, inner)
