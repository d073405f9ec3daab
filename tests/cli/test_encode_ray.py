"""``encode --engine ray`` on a local Ray; without Ray there is the line that says how to get it."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_encode_command import made as made
from test_encode_command import tree, words

RAY = importlib.util.find_spec("ray") is not None
FINE = ("--shard-size", "1")  # so that there is time to kill a worker


def start(*line: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "pretrieve", *map(str, line)]
    environment = os.environ | {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def pid_of_a_writer(output: Path) -> int:
    """The process that writes part 0, by its lock."""
    found = re.match(r"pid (\d+) on ", (output / ".writer-0-of-2" / ".lock").read_text())
    return int(found[1]) if found else 0


@pytest.mark.skipif(RAY, reason="Ray is installed")
def test_without_ray_a_line_says_how_to_get_it(run, made, tmp_path) -> None:
    outcome = run(*words(made, tmp_path / "v", "--engine", "ray"))
    assert outcome.code == 1
    assert 'needs pretrieve\'s extra for Ray: pip install ".[ray]"' in outcome.err


def test_ray_divides_by_itself(run, made, tmp_path) -> None:
    outcome = run(*words(made, tmp_path / "v", "--engine", "ray", "--shard", "1/2"))
    assert outcome.code == 2
    assert "leave --shard out" in outcome.err


@pytest.mark.skipif(not RAY, reason="needs Ray")
def test_a_killed_worker_is_replaced_and_the_shards_are_those_of_one_process(run, made, tmp_path) -> None:
    assert run(*words(made, tmp_path / "one", *FINE)).code == 0
    output = tmp_path / "v"
    process = start(*words(made, output, *FINE, "--engine", "ray", "--workers", "2"))
    while process.poll() is None and not (output / "shard-000004").exists():
        time.sleep(0.005)
    killed = pid_of_a_writer(output)
    assert killed != process.pid
    os.kill(killed, signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "100 texts in 100 shards of 1" in out
    assert "2 workers of Ray on 1 machines" in err
    assert tree(output) == tree(tmp_path / "one")
    again = start(*words(made, output, *FINE, "--engine", "ray", "--workers", "2"))
    assert "0 encoded, 100 found" in again.communicate()[0]


@pytest.mark.skipif(not RAY, reason="needs Ray")
def test_an_error_of_a_worker_is_one_line(made, tmp_path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"text": "one"}\n{broken\n')
    process = start(
        "encode", tmp_path / "bad.jsonl", "--model", made / "model", "-o", tmp_path / "v", "--engine", "ray"
    )
    _, err = process.communicate()
    assert process.returncode == 1
    assert "bad.jsonl:2" in err
    assert "Traceback" not in err
