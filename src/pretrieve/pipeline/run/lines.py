"""Progress as lines, for a log: one at the end of a stage, and now and then while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from pretrieve.core.shown import shown
from pretrieve.pipeline.run.stage import Stage, labelled

_SOONEST, _LATEST = 10.0, 600.0  # seconds between two lines of a stage
_SHARE = 0.05  # of the time that it takes already, between these: an hour is 70 lines, a day 250


class Lines:
    """Writes what a ``Listener`` receives as lines; use it as a context manager around the work.

    Args:
        progress: takes a line of progress; default: standard error, with a time stamp.
        note: takes ``note`` or ``warning``, and its text; default: standard error.
        starts: write a line where a stage starts, and where an error ends it, too.
    """

    def __init__(
        self,
        progress: Callable[[str], None] | None = None,
        note: Callable[[str, str], None] | None = None,
        *,
        starts: bool = False,
    ) -> None:
        self._write, self._note, self._starts = progress or _stamped, note or _noted, starts
        self._stage: Stage | None = None
        self._last = 0.0  # seconds of the stage at its last line

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        elif self._stage is not None and self._starts:
            self._write(shown(self._stage.so_far()))

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Start a stage."""
        self._finish()
        self._stage, self._last = Stage(name, total, unit), 0.0
        if self._starts:
            whole = f" of {total:,} {unit}".rstrip() if total else ""
            self._write(shown(f"{name}: start{whole}"))

    def advance(self, count: int, detail: str = "") -> None:
        """Count finished units, and write a line if one is due."""
        if self._stage is None:
            return
        self._stage.advance(count, detail)
        seconds = self._stage.seconds
        if seconds - self._last >= min(max(_SOONEST, _SHARE * seconds), _LATEST):
            self._last = seconds
            self._write(shown(self._stage.so_far()))

    def note(self, text: str) -> None:
        """Write a note."""
        kind, text = labelled(text)
        self._note(kind, shown(text))

    def _finish(self) -> None:
        if self._stage is not None:
            self._write(shown(self._stage.finished()))
        self._stage = None


def _stamped(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
    sys.stderr.flush()


def _noted(kind: str, text: str) -> None:
    sys.stderr.write(f"{kind}: {text}\n")
    sys.stderr.flush()
