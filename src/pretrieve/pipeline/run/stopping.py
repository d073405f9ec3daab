"""Ctrl-C and SIGTERM: stop with one line that says what is saved and how to resume."""

from __future__ import annotations

import _imp
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from pretrieve.core.errors import PretrieveError, causes

_IMPORTING = "_call_with_frames_removed"  # of importlib: it calls what makes a module


class InterruptedRunError(PretrieveError):
    """A signal stopped a run; ``exit_code`` is 130 for SIGINT and 143 for SIGTERM."""

    def __init__(self, number: int, advice: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {advice}.")
        self.exit_code = 128 + number
        self._number = number

    def advising(self, advice: str) -> InterruptedRunError:
        """The same error with another way to resume."""
        return InterruptedRunError(self._number, advice)


class SignalError(BaseException):  # like KeyboardInterrupt, not caught by handlers of errors
    """A signal arrived; a block of ``stoppable`` makes an ``InterruptedRunError`` of it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def in_one_line(self, advice: str = "run the same command again") -> InterruptedRunError:
        """The error that a user sees."""
        return InterruptedRunError(self.number, advice)


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
        with _never_lost():
            yield
    except BaseException as error:
        stopped = _in_one_line(error, advice)
        if stopped is error:
            raise
        raise stopped from None
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # since a process of the run was lost
                signal.signal(number, handler)


def _in_one_line(error: BaseException, advice: str | Callable[[], str] | None) -> BaseException:
    """The error that says how to go on after a signal; any other error as it is.

    A signal may come while a library is imported, which makes another error of it: so the causes are asked too.
    """
    stop = next((one for one in causes(error) if isinstance(one, SignalError | InterruptedRunError)), None)
    if isinstance(stop, SignalError):
        return stop.in_one_line() if advice is None else stop.in_one_line(_text(advice))
    if stop is error and advice is not None:
        return stop.advising(_text(advice))
    return error


@contextlib.contextmanager
def _never_lost() -> Iterator[None]:
    """Send a signal again that came where Python drops every error: in ``__del__``, or when an import lock ends."""
    usual = sys.unraisablehook

    def again(dropped: sys.UnraisableHookArgs) -> None:
        if isinstance(dropped.exc_value, SignalError):
            _send_later(dropped.exc_value.number)
        else:
            usual(dropped)

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = usual


def _text(advice: str | Callable[[], str]) -> str:
    return advice if isinstance(advice, str) else advice()


def _raise(number: int, frame: FrameType | None) -> None:
    if _is_in_compiled_import(frame):
        _send_later(number)
    else:
        raise SignalError(number)


def _is_in_compiled_import(frame: FrameType | None) -> bool:
    """Whether a compiled module is being imported: some (onnx) crash if an error comes while they begin."""
    while frame is not None:
        if frame.f_code.co_name == _IMPORTING and frame.f_locals.get("f") in (_imp.create_dynamic, _imp.exec_dynamic):
            return True
        frame = frame.f_back
    return False


def _send_later(number: int) -> None:
    """Send a signal again: not at once, as it would come before what runs now is left."""
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
