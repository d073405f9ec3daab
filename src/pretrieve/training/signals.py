"""Ctrl-C and SIGTERM: finish the step, save a checkpoint, and report it."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from pretrieve.core.errors import PretrieveError


class StoppedError(PretrieveError):
    """A signal stopped training; ``exit_code`` is 130 for SIGINT and 143 for SIGTERM."""

    def __init__(self, number: int, step: int, folder: Path | None, advice: str = "add --resume to continue") -> None:
        kept = f"progress is saved in {folder}; {advice}" if folder else "nothing was saved"
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step}: {kept}.")
        self.exit_code = 128 + number
        self._what = (number, step, folder)

    def advising(self, advice: str) -> StoppedError:
        """Return the same error with other advice on how to resume."""
        return StoppedError(*self._what, advice)


class Stopper:
    """Context in which the first SIGINT or SIGTERM is recorded; a second one acts as usual.

    Attributes:
        signal: number of the received signal; 0 if none.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stopper:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # since a process of the run was lost
                signal.signal(number, handler)
        self._before = {}
