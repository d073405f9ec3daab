"""Ctrl-C at any moment of a command, as a real process: no traceback, whatever Python does just then."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import labelling

CODE = """
import signal
import pretrieve.__main__ as program

usual = signal.signal

def first(*given):
    before = usual(*given)
    signal.signal = usual
    print("begins", flush=True)  # a signal before that is Python's own
    return before

signal.signal = first
program.main()
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("made")
    labelling.beir(folder / "beir", 60, 5)
    labelling.static_model(folder / "model")
    return ["evaluate", str(folder / "beir"), "--model", str(folder / "model")]


def seconds(command: list[str], folder: Path) -> float:
    began = time.monotonic()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_ends_without_a_traceback(words, tmp_path, number) -> None:
    """From the first import to the end; a second signal may come meanwhile."""
    command = [sys.executable, "-c", CODE, *words]
    whole, chance = min(seconds(command, tmp_path) for _ in range(2)), random.Random(number)
    for turn in range(12):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout.readline() == "begins\n"
        time.sleep(chance.random() * whole if turn else 0)
        process.send_signal(number)
        if turn % 3 == 2:
            time.sleep(0.05)
            process.send_signal(number)
        text = process.communicate(timeout=60)[0]
        assert "Traceback" not in text, text
        assert "unexpected" not in text, text
        assert process.returncode in (0, -number, 128 + number), text
        assert (process.returncode == 128 + number) <= (f"stopped by {number.name}" in text)
