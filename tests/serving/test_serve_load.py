"""The benchmark of the server, for a few seconds: at twice the capacity nothing but 200 and 503; memory stays."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FULL = os.environ.get("PRETRIEVE_LOAD") == "1"  # 60 seconds and 10^5 requests


def test_twice_the_capacity(served_folder) -> None:
    size = ("--seconds", "60", "--requests", "100000") if FULL else ("--seconds", "3", "--requests", "1000")
    command = [sys.executable, BENCHMARKS / "serving_load.py", served_folder / "index", *size]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = orjson.loads(done.stdout)
    assert {"200"} <= found["statuses"].keys() <= {"200", "503"}
    assert found["capacity_per_s"] > 0
    resident = found["resident_mib"]
    assert resident[-1] < 1.05 * resident[0] + 5
    if FULL:
        assert found["p99_in_unloaded_medians"] <= 5


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_percentiles(share, monkeypatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    load = importlib.import_module("serving_load").Load(seconds=[0.1 * place for place in range(100)])
    assert load.percentile(share) == pytest.approx(0.1 * 100 * share)
