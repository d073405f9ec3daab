"""Work shared by processes of this interpreter, results in the order of the items.

Plain subprocesses, because a fork beside torch's threads may lock up, and because the start of ``multiprocessing``'s
other kinds runs the user's script once more.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from queue import Empty, Queue
from threading import Thread
from typing import Any

import orjson

_AHEAD = 8  # results that may wait for their turn, for each process


def processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def mapped(function: str, items: Sequence[Any], workers: int) -> Iterator[Any]:
    """Apply a function to items in other processes and yield what it returns, in order.

    Args:
        function: ``module:name``, importable; takes an item and gives a result, both of plain JSON values.
        items: what to apply it to.
        workers: number of processes, at least 1.

    Raises:
        RuntimeError: a process ended before its work was done.
    """
    lines = [[orjson.dumps(item) + b"\n" for item in items[start::workers]] for start in range(workers)]
    processes = [_start(function) for _ in range(workers)]
    queues: list[Queue[bytes]] = [Queue(_AHEAD) for _ in range(workers)]
    feeders = [Thread(target=_feed, args=pair, daemon=True) for pair in zip(processes, lines, strict=True)]
    drainers = [Thread(target=_drain, args=pair, daemon=True) for pair in zip(processes, queues, strict=True)]
    try:
        for thread in (*feeders, *drainers):
            thread.start()
        for place in range(len(items)):
            line = queues[place % workers].get()
            if not line:
                raise RuntimeError(f"a process that ran {function} ended early")
            yield orjson.loads(line)
    finally:
        for process, feeder, drainer, queue in zip(processes, feeders, drainers, queues, strict=True):
            _stop(process, feeder, drainer, queue)


def work(function: str) -> None:
    """Serve ``mapped`` from inside a process: items from standard input, results to standard output."""
    module, _, name = function.partition(":")
    apply = getattr(importlib.import_module(module), name)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(orjson.dumps(apply(orjson.loads(line))) + b"\n")
        sys.stdout.buffer.flush()


def _start(function: str) -> subprocess.Popen[bytes]:
    code = f"from pretrieve.text.parallel import work; work({function!r})"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603


def _stop(process: subprocess.Popen[bytes], feeder: Thread, drainer: Thread, queue: Queue[bytes]) -> None:
    """End a process and its threads, whatever they wait for."""
    process.kill()
    process.wait()
    while drainer.is_alive():
        with contextlib.suppress(Empty):
            queue.get(timeout=0.01)
    feeder.join()
    assert process.stdout is not None
    process.stdout.close()


def _feed(process: subprocess.Popen[bytes], lines: list[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it was stopped before it read everything
        process.stdin.writelines(lines)
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _drain(process: subprocess.Popen[bytes], queue: Queue[bytes]) -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            queue.put(line)
    finally:
        queue.put(b"")
