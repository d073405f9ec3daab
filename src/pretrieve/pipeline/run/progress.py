"""Progress of long computations: stages, counts, training steps and notes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

from pretrieve.pipeline.run import processes

T = TypeVar("T")


class Listener(Protocol):
    """Receives progress; the command line displays bars, a script may ignore it."""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Start a stage; ``total`` is its number of units, if known."""

    def advance(self, count: int, detail: str = "") -> None:
        """Count ``count`` more finished units of the current stage; ``detail`` is a short line of figures."""

    def note(self, text: str) -> None:
        """Report something that the user should know, in one line."""


class Silent:
    """A listener that ignores everything."""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Ignore."""

    def advance(self, count: int, detail: str = "") -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""


class Logged(Silent):
    """A listener that shows no progress; notes go to the logger ``pretrieve``, which prints them unless told not to."""

    def note(self, text: str) -> None:
        """Log a note as a warning."""
        logging.getLogger("pretrieve").warning(text)


def counted(items: Iterable[T], listener: Listener, every: int = 256) -> Iterator[T]:
    """Pass items through, and report every ``every`` of them to the listener."""
    pending = 0
    for item in items:
        yield item
        pending += 1
        if pending == every:
            listener.advance(pending)
            pending = 0
    listener.advance(pending)


def shown(progress: bool) -> AbstractContextManager[Listener]:
    """The progress bars of the command line, or a listener that only logs notes; rich is imported only for bars.

    Of several processes the first one shows progress.
    """
    if not processes.current().leads:
        return nullcontext(Silent())
    if not progress:
        return nullcontext(Logged())
    from pretrieve.pipeline.run.display import Display

    return Display()
