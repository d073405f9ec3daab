"""Progress of long computations: stages, counts, training steps and notes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.stage import is_warning

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


class Warned(Silent):
    """A listener that shows warnings alone."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def note(self, text: str) -> None:
        """Show a note if it is a warning."""
        if is_warning(text):
            self._note(text)


class Several:
    """A listener that tells several others.

    Args:
        listeners: the others.
    """

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = listeners

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Start a stage."""
        for one in self._listeners:
            one.stage(name, total, unit)

    def advance(self, count: int, detail: str = "") -> None:
        """Count finished units."""
        for one in self._listeners:
            one.advance(count, detail)

    def note(self, text: str) -> None:
        """Pass a note on."""
        for one in self._listeners:
            one.note(text)


def shown(progress: bool) -> AbstractContextManager[Listener]:
    """Progress for a program: in a notebook, on a terminal or as lines; or a listener that only logs notes.

    Of several processes the first one shows progress.
    """
    if not processes.current().leads:
        return nullcontext(Silent())
    return on_screen() if progress else nullcontext(Logged())


def on_screen(*, quiet: bool = False, verbose: bool = False) -> AbstractContextManager[Listener]:
    """Progress where a person looks: in place in a notebook and on a terminal, otherwise as lines on standard error.

    Args:
        quiet: show warnings alone.
        verbose: show when stages start and how long each took.
    """
    from pretrieve.pipeline.run import lines, notebook

    if quiet:
        return nullcontext(Warned(lines.Lines().note))
    if notebook.is_here():
        return notebook.Notebook()
    from rich.console import Console

    from pretrieve.pipeline.run.display import Display

    console = Console(stderr=True)
    return Display(console, verbose=verbose) if console.is_terminal else lines.Lines(starts=verbose)
