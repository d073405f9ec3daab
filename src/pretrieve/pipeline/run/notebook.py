"""Progress in a notebook: one place under the cell that is updated, with the stages that are done and the notes."""

from __future__ import annotations

import html
import sys
import time
from types import TracebackType
from typing import Any

from pretrieve.core.shown import shown
from pretrieve.pipeline.run.stage import Stage, labelled

_EVERY = 0.2  # seconds between two updates: each is a message to the browser, and kept by none


def is_here() -> bool:
    """Whether this is the kernel of a notebook; IPython is not imported for the answer."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and hasattr(shell, "kernel")


class Notebook:
    """Shows what a ``Listener`` receives under the cell; use it as a context manager around the work.

    It is an output of IPython that is updated: no widgets, and a notebook that is saved holds its last state, as HTML
    and as text.
    """

    def __init__(self) -> None:
        self._stage: Stage | None = None
        self._lines: list[tuple[str, str]] = []  # what is done, as (kind, text)
        self._place: Any = None
        self._shown = 0.0

    def __enter__(self) -> Notebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stage is not None:
            self._lines.append(("", self._stage.finished() if error is None else f"{self._stage.so_far()}: stopped"))
        self._stage = None
        self._update()

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Start a stage."""
        if self._stage is not None:
            self._lines.append(("", self._stage.finished()))
        self._stage = Stage(name, total, unit)
        self._update()

    def advance(self, count: int, detail: str = "") -> None:
        """Advance the current stage."""
        if self._stage is not None:
            self._stage.advance(count, detail)
            if time.monotonic() - self._shown >= _EVERY:
                self._update()

    def note(self, text: str) -> None:
        """Show a note below what is done."""
        self._lines.append(labelled(text))
        self._update()

    def _update(self) -> None:
        """Send the present state, in both forms."""
        from IPython.display import display

        self._shown = time.monotonic()
        forms = {"text/plain": self._text(), "text/html": self._html()}
        if self._place is None:
            self._place = display(forms, raw=True, display_id=True)
        else:
            self._place.update(forms, raw=True)

    def _rows(self) -> list[str]:
        return [shown(f"{kind}: {text}" if kind else text) for kind, text in self._lines]

    def _text(self) -> str:
        return "\n".join([*self._rows(), *([] if self._stage is None else [shown(self._stage.so_far())])])

    def _html(self) -> str:
        rows = [html.escape(row) for row in self._rows()]
        if self._stage is not None:
            share = min(1.0, self._stage.done / self._stage.total) if self._stage.total else None
            bar = "<progress></progress>" if share is None else f'<progress value="{share:.3f}"></progress>'
            rows.append(f"{bar} {html.escape(shown(self._stage.so_far()))}")
        return f"<div style='white-space: pre-wrap'>{'<br>'.join(rows)}</div>"
