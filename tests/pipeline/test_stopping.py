"""A signal reaches its block wherever Python is when it comes."""

from __future__ import annotations

import importlib.machinery
import os
import signal
import time

import pytest

from pretrieve.cli.app import main
from pretrieve.core.errors import DataError
from pretrieve.pipeline.run.stopping import InterruptedRunError, SignalError, stoppable

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(5)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_a_class_is_made(number) -> None:
    """As libraries make them at import: before Python 3.12 an error of __set_name__ becomes a RuntimeError."""

    class Field:
        def __set_name__(self, owner: type, name: str) -> None:
            send(number)

    with pytest.raises(InterruptedRunError) as found, stoppable("go on"):
        type("Made", (), {"field": Field()})
    assert found.value.exit_code == 128 + number
    assert str(found.value) == f"stopped by {number.name}: go on."


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_a_library_makes_an_error_of(number) -> None:

    def library() -> None:
        try:
            send(number)
        except BaseException as error:
            raise DataError("cannot be read") from error

    with pytest.raises(InterruptedRunError), stoppable():
        library()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_where_python_drops_errors(number, capfd) -> None:
    """It is not lost, and prints nothing."""

    class Dying:
        def __del__(self) -> None:
            send(number)

    def library(dying: list[Dying]) -> None:
        dying.clear()
        time.sleep(5)

    began = time.monotonic()
    with pytest.raises(InterruptedRunError), stoppable("outer"), stoppable():
        library([Dying()])
    assert time.monotonic() - began < 4
    assert capfd.readouterr() == ("", "")


def test_other_dropped_errors_are_printed_as_ever(monkeypatch) -> None:
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda dropped: told.append(dropped.exc_type))

    class Dying:
        def __del__(self) -> None:
            raise KeyError

    with stoppable():
        dying = Dying()
        del dying
    assert told == [KeyError]


def test_the_causes_of_an_error_without_a_signal_stay() -> None:
    def failing() -> None:
        with stoppable("go on"):
            try:
                raise MemoryError
            except MemoryError as error:
                raise DataError("cannot be read") from error

    with pytest.raises(DataError) as found:
        failing()
    assert isinstance(found.value.__cause__, MemoryError)


def test_handlers_are_as_before() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(InterruptedRunError), stoppable(), stoppable():
        send(signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_as_the_block_begins_or_ends_is_one_line(number, monkeypatch, capsys) -> None:
    """Between two instructions of ``stoppable`` itself nothing is caught."""

    def beginning() -> None:
        raise SignalError(number)

    monkeypatch.setattr("pretrieve.cli.app.stoppable", beginning)
    monkeypatch.setattr("sys.argv", ["pretrieve", "methods"])
    with pytest.raises(SystemExit) as found:
        main()
    assert found.value.code == 128 + number
    assert capsys.readouterr().err == f"error: stopped by {number.name}: run the same command again.\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_waits_for_a_compiled_module(number, monkeypatch) -> None:
    """Some crash if an error comes while they begin; a signal comes once they are there."""
    done = []

    def begin(spec: object) -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.05)
        done.append("begun")

    monkeypatch.setattr("_imp.create_dynamic", begin)
    with pytest.raises(InterruptedRunError) as found, stoppable("go on"):
        load_compiled()
    assert done == ["begun"]
    assert str(found.value) == f"stopped by {number.name}: go on."


def load_compiled() -> None:
    """As Python imports one."""
    loader = importlib.machinery.ExtensionFileLoader("made", "made.so")
    loader.create_module(importlib.machinery.ModuleSpec("made", loader))
    time.sleep(5)
