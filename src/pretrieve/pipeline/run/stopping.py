"""Ctrl-C and SIGTERM: stop with one line that says what is saved and how to resume."""

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


class _Signal(BaseException):  # like KeyboardInterrupt, not caught by handlers of errors
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def stoppable(advice: str | Callable[[], str] | None = None) -> Iterator[None]:
    """Turn SIGINT and SIGTERM into a one-line error; outside the main thread they act as usual.

    Args:
        advice: what is saved and how to resume, or a function that returns it after the cleanup; it replaces the
            advice of an inner block. None: keep the inner advice.

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
        raise InterruptedRunError(stop.number, _text(advice)) from None
    except InterruptedRunError as stop:
        if advice is None:
            raise
        raise stop.advising(_text(advice)) from None
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # since a process of the run was lost
                signal.signal(number, handler)


def _text(advice: str | Callable[[], str] | None) -> str:
    if advice is None:
        return "run the same command again"
    return advice if isinstance(advice, str) else advice()


def _raise(number: int, frame: FrameType | None) -> None:
    raise _Signal(number)
