"""Work in other processes: in order, equal to work in this one, and over when the reader leaves."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pretrieve.core.errors import LostRankError, UsageError
from pretrieve.text import corpus, parallel
from pretrieve.text.readers import python


def workers() -> list[psutil.Process]:
    """Processes that work for this one."""
    return [child for child in psutil.Process().children() if "parallel import work" in " ".join(child.cmdline())]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(count: int) -> None:
    items = [[number, 7] for number in range(40)]
    assert list(parallel.mapped("operator:itemgetter", [], count)) == []
    assert list(parallel.mapped("builtins:sum", items, count)) == [number + 7 for number in range(40)]


def test_a_process_that_ends_early_is_an_error() -> None:
    with pytest.raises(LostRankError, match="ended early, with exit code 0; run the same command again"):
        list(parallel.mapped("builtins:exit", [0, 0, 0], 2))


def test_a_process_that_is_killed_is_an_error_that_names_the_signal() -> None:
    results = parallel.mapped("time:sleep", [0, 0, 60, 60], 2)
    assert list(itertools.islice(results, 2)) == [None, None]
    for child in workers():
        child.kill()
    with pytest.raises(LostRankError, match=r"was ended by SIGKILL .is memory short. PRETRIEVE_WORKERS sets"):
        next(results)
    assert not workers()


def test_an_error_for_the_user_comes_as_it_is(tmp_path: Path) -> None:
    job = [str(tmp_path / "shards"), str(tmp_path / "documents"), 0]
    with pytest.raises(UsageError, match="plan: no such folder; a store plan of pretrieve was expected"):
        list(parallel.mapped("pretrieve.text.store_shards:write_shard", [job, job], 2))
    assert not workers()


PARENT = """
import os, sys, signal
from pretrieve.text.parallel import mapped
results = mapped("time:sleep", [0, 0, 60, 60], 2)
next(results), next(results)
print("working", flush=True)
next(results)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nobody_is_left_when_the_parent_ends(number: int) -> None:
    """However it ends: its processes are busy for another minute, and end long before, without a word."""
    heard = [signal.SIGINT, signal.SIGHUP]  # which nohup and shells in the background keep from their children
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: [signal.signal(one, signal.SIG_DFL) for one in heard],
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"working\n"
        mine = psutil.Process(parent.pid).children()
        assert len(mine) == 2
        parent.send_signal(number)
        _, errors = parent.communicate(timeout=30)
    _, alive = psutil.wait_procs(mine, timeout=10)
    assert not alive
    assert errors.count(b"Traceback") == (number == signal.SIGINT), errors


def test_the_terminals_signals_go_to_the_parent_alone() -> None:
    """Ctrl-C reaches the whole group of a terminal: a process of ours is in another group."""
    results = parallel.mapped("time:sleep", [0, 0, 60, 60], 2)
    next(results)
    assert {os.getpgid(child.pid) for child in workers()} == {child.pid for child in workers()}
    results.close()


@pytest.mark.parametrize(("given", "expected"), [("3", 3), ("1", 1)])
def test_the_number_of_processes_is_given(monkeypatch: pytest.MonkeyPatch, given: str, expected: int) -> None:
    monkeypatch.setenv("PRETRIEVE_WORKERS", given)
    assert parallel.processors() == expected


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5"])
def test_a_number_of_processes_that_is_none(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("PRETRIEVE_WORKERS", given)
    with pytest.raises(UsageError, match=f"PRETRIEVE_WORKERS={given} is not a number of processes"):
        parallel.processors()


def test_the_processors_of_a_container_count(tmp_path: Path) -> None:
    assert parallel._quota(tmp_path) == []
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert parallel._quota(tmp_path) == []
    (tmp_path / "cpu.max").write_text("250000 100000\n")
    assert parallel._quota(tmp_path) == [2]
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert parallel._quota(tmp_path) == [1]


def test_modules_of_the_working_folder_do_not_come_before_the_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "signal.py").write_text("raise SystemExit('mine')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    assert list(parallel.mapped("builtins:sum", [[1, 2]], 1)) == [3]


def test_nobody_is_left_when_the_reader_leaves() -> None:
    results = parallel.mapped("builtins:sum", [[1, 2]] * 1000, 2)
    assert list(itertools.islice(results, 3)) == [3, 3, 3]
    results.close()
    assert not workers()


def test_python_sources_read_by_many_processes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "processors", lambda: 1)
    alone = list(corpus.read(["python:json,email,asyncio,numpy"], on_bad="skip"))
    monkeypatch.setattr(python, "processors", lambda: 2)
    monkeypatch.setattr(python, "_FILES", 4)
    assert list(corpus.read(["python:json,email,asyncio,numpy"], on_bad="skip")) == alone
    assert len(alone) > 1000
