"""Progress on a terminal: one line per stage, with figures and the time left."""

from __future__ import annotations

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
from pretrieve.pipeline.run.stage import Stage, labelled


class Display:
    """Displays what a ``Listener`` receives; use it as a context manager around the work.

    Args:
        console: the terminal; default: standard error.
        verbose: print the seconds and the rate of each stage that has ended.
    """

    def __init__(self, console: Console | None = None, *, verbose: bool = False) -> None:
        self.console = console or Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            console=self.console,
        )
        self._task: TaskID | None = None
        self._stage = Stage("")
        self._verbose = verbose

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
        self._stage = Stage(name, total, unit)
        label = f"{shown(name, markup=True)} [dim]({shown(unit, markup=True)})[/]" if unit else shown(name, markup=True)
        self._task = self._progress.add_task(label, total=total, detail="")

    def advance(self, count: int, detail: str = "") -> None:
        """Advance the current stage."""
        self._stage.advance(count, detail)
        if self._task is not None:
            self._progress.update(self._task, advance=count, detail=shown(self._stage.detail, markup=True))

    def note(self, text: str) -> None:
        """Print a note above the bars."""
        kind, text = labelled(text)
        style = "bold yellow" if kind == "warning" else "yellow"
        self.console.print(f"[{style}]{kind}:[/] {shown(text, markup=True)}", highlight=False, soft_wrap=True)

    def _finish(self) -> None:
        if self._task is None:
            return
        self._progress.update(self._task, total=self._stage.done, completed=self._stage.done)
        self._task = None
        if self._verbose:
            line = shown(self._stage.finished(), markup=True)
            self.console.print(f"[dim]debug: {line}[/]", highlight=False, soft_wrap=True)
