"""Progress on a terminal: one line per stage, with figures and the time left; plain lines without a terminal."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from pretrieve.core.shown import shown
from pretrieve.text.files.report import WARNING

_LOG_EVERY = 60.0  # seconds


class Display:
    """Displays what a ``Listener`` receives; use it as a context manager around the work."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task: TaskID | None = None
        self._plain = not self.console.is_terminal
        self._name, self._started, self._done, self._detail = "", 0.0, 0, ""
        self._total: int | None = None
        self._logged = 0.0  # when the current stage last printed a line

    def __enter__(self) -> Display:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        self._progress.stop()

    def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
        """Start the line of a new stage."""
        self._finish()
        self._name, self._started, self._done, self._detail = name, time.monotonic(), 0, ""
        self._total, self._logged = total, self._started
        label = f"{shown(name, markup=True)} [dim]({shown(unit, markup=True)})[/]" if unit else shown(name, markup=True)
        self._task = self._progress.add_task(label, total=total, detail="")

    def advance(self, count: int, detail: str = "") -> None:
        """Advance the current stage."""
        self._done += count
        self._detail = shown(detail, markup=True) or self._detail
        if self._task is not None:
            self._progress.update(self._task, advance=count, detail=self._detail)
            self._log()

    def note(self, text: str) -> None:
        """Print a note above the bars."""
        label = "[bold yellow]warning:[/]" if text.startswith(WARNING) else "[yellow]note:[/]"
        text = shown(text.removeprefix(WARNING), markup=True)
        self.console.print(f"{label} {text}", highlight=False, soft_wrap=True)

    def _log(self) -> None:
        """Without a terminal, print one line per minute, so that a log shows progress."""
        now = time.monotonic()
        if not self._plain or now - self._logged < _LOG_EVERY:
            return
        self._logged = now
        whole = f" of {self._total:,}" if self._total else ""
        name, seconds = shown(self._name, markup=True), now - self._started
        self.console.print(f"{name}: {self._done:,}{whole}, {seconds:.0f} s {self._detail}".rstrip(), highlight=False)

    def _finish(self) -> None:
        if self._task is None:
            return
        self._progress.update(self._task, total=self._done, completed=self._done)
        self._task = None
        if self._plain:
            seconds = time.monotonic() - self._started
            figures = f"{self._done:,} done, " if self._done else ""
            name = shown(self._name, markup=True)
            self.console.print(f"{name}: {figures}{seconds:.1f} s {self._detail}".rstrip(), highlight=False)
