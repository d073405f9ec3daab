"""A stage of a long computation in words: how far it is, how fast, and how long it will take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta

from pretrieve.text.files.report import WARNING


@dataclass
class Stage:
    """What is known of a stage.

    The rate counts from its first report on: what a resumed run had done before, and what starting takes, is no work
    of now.

    Attributes:
        name: what is done.
        total: number of units, if known.
        unit: what is counted, such as ``documents``.
        done: units that are finished.
        detail: figures of the last report.
    """

    name: str
    total: int | None = None
    unit: str = ""
    done: int = 0
    detail: str = ""
    _started: float = field(default_factory=lambda: time.monotonic())
    _first: tuple[float, int] | None = None  # when the first report came, and of how many units

    def advance(self, count: int, detail: str = "") -> None:
        """Count finished units; figures stay until others come."""
        self.done += count
        self.detail = detail or self.detail
        if self._first is None and self.done:
            self._first = (time.monotonic(), self.done)

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float | None:
        """Units a second since the first report; None while there is no second one."""
        if self._first is None:
            return None
        passed, counted = time.monotonic() - self._first[0], self.done - self._first[1]
        return counted / passed if counted > 0 and passed > 0 else None

    @property
    def left(self) -> float | None:
        """Seconds until it is done, if that can be told."""
        rate = self.rate
        return None if rate is None or not self.total else max(0, self.total - self.done) / rate

    def so_far(self) -> str:
        """A stage that runs, in one line."""
        whole = f" of {self.total:,}" if self.total else ""
        share = f" ({min(1.0, self.done / self.total):.0%})" if self.total else ""
        parts = [f"{self.name}: {self.done:,}{whole}{self._of()}{share}", f"{self.seconds:.0f} s"]
        left = self.left
        parts += [*self._pace(), *([] if left is None else [f"{timedelta(seconds=round(left))} left"])]
        return ", ".join([*parts, *self._figures()])

    def finished(self) -> str:
        """A stage that has ended, in one line."""
        counts = [f"{self.done:,}{self._of() or ' done'}"] if self.done else []
        return f"{self.name}: {', '.join([*counts, f'{self.seconds:.1f} s', *self._pace(), *self._figures()])}"

    def _of(self) -> str:
        return f" {self.unit}" if self.unit else ""

    def _pace(self) -> list[str]:
        rate = self.rate
        if rate is None:
            return []
        return [f"{rate:,.0f}{self._of()}/s" if rate >= 100 else f"{rate:.3g}{self._of()}/s"]

    def _figures(self) -> list[str]:
        return [self.detail] if self.detail else []


def is_warning(text: str) -> bool:
    """Whether a note is more than that."""
    return text.startswith(WARNING)


def labelled(text: str) -> tuple[str, str]:
    """What a note is called, ``warning`` or ``note``, and its text."""
    return ("warning", text.removeprefix(WARNING)) if is_warning(text) else ("note", text)
