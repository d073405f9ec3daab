"""Every method computes on a device that is not the CPU, with the CPU's own numbers (tests/pretend_device.py)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pretrieve.methods import names

TESTS = Path(__file__).parent.parent
SEARCHES = ("realm",)  # retrieves for every batch, on the host


@pytest.fixture(scope="module")
def steps() -> dict[tuple[str, str], dict]:
    """One step of every preset; in a process of its own, because the device stays once it is there."""
    done = subprocess.run([sys.executable, TESTS / "pretend_steps.py"], cwd=TESTS, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stdout.splitlines()]
    return {(one["preset"], one["kind"]): one for one in found}


@pytest.mark.parametrize("preset", names())
def test_a_step_on_another_device_is_that_of_the_cpu(steps: dict[tuple[str, str], dict], preset: str) -> None:
    mine = [one for (name, _), one in steps.items() if name == preset]
    assert mine
    for one in mine:
        assert one["placed"] == ["pretend"]
        assert one["losses"][1] == pytest.approx(one["losses"][0], rel=1e-5)
        assert one["gradients"]
        assert preset in SEARCHES or not one["waits"], "the host waits for the device"
