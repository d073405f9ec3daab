"""What a long piece of work tells whoever watches: stages, counts, training steps, and remarks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, TypeVar

T = TypeVar("T")


class Listener(Protocol):
    """Receives progress; the command line draws bars from it, a script may ignore it."""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """A new piece of work begins; ``total`` in units when it is known."""

    def advance(self, count: int, detail: str = "") -> None:
        """``count`` more units of the current stage are done; ``detail`` is a short line of figures."""

    def note(self, text: str) -> None:
        """Something that the user should know, in one line."""


class Silent:
    """A listener that says nothing."""

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Ignore."""

    def advance(self, count: int, detail: str = "") -> None:
        """Ignore."""

    def note(self, text: str) -> None:
        """Ignore."""


def counted(items: Iterable[T], listener: Listener, every: int = 256) -> Iterator[T]:
    """Pass items through, telling the listener of every ``every`` of them."""
    pending = 0
    for item in items:
        yield item
        pending += 1
        if pending == every:
            listener.advance(pending)
            pending = 0
    listener.advance(pending)


def shown(progress: bool) -> AbstractContextManager[Listener]:
    """The progress bars of the command line, or a listener that says nothing; bars need rich, which takes time."""
    if not progress:
        return nullcontext(Silent())
    from pretrieve.pipeline.run.display import Display

    return Display()
