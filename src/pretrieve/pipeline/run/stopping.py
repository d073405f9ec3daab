"""Ctrl-C and SIGTERM: work ends at once, in one line that says what is kept and how to resume."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from pretrieve.core.errors import PretrieveError


class InterruptedRunError(PretrieveError):
    """A signal stopped a run; ``exit_code`` is 130 for SIGINT and 143 for SIGTERM."""

    def __init__(self, number: int, advice: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {advice}.")
        self.exit_code = 128 + number
        self._number = number

    def advising(self, advice: str) -> InterruptedRunError:
        """The same error with another way to resume."""
        return InterruptedRunError(self._number, advice)


class _Signal(BaseException):  # as KeyboardInterrupt: nothing that handles errors may catch it
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def stoppable(advice: str | Callable[[], str] | None = None) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into one clear line; outside the main thread they act as usual.

    Args:
        advice: what is kept and how to resume, or a function that says it when all is tidied up; it stands for that of
            the work within. None: where the work within says nothing.

    Raises:
        InterruptedRunError: a signal arrived.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _raise) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except _Signal as stop:
        raise InterruptedRunError(stop.number, _said(advice)) from None
    except InterruptedRunError as stop:
        if advice is None:
            raise
        raise stop.advising(_said(advice)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _said(advice: str | Callable[[], str] | None) -> str:
    if advice is None:
        return "give the same command again"
    return advice if isinstance(advice, str) else advice()


def _raise(number: int, frame: FrameType | None) -> None:
    raise _Signal(number)
