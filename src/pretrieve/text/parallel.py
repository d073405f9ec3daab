"""Work shared by processes of this interpreter, results in the order of the items.

Plain subprocesses, because a fork beside torch's threads may lock up, and because the start of ``multiprocessing``'s
other kinds runs the user's script once more. A process ends at once when the one that started it has ended, however
that happened: its standard input is then closed.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import Empty, Queue, SimpleQueue
from threading import Thread, current_thread
from typing import Any

import orjson

from pretrieve.core import errors
from pretrieve.core.errors import LostRankError, PretrieveError, UsageError

WORKERS = "PRETRIEVE_WORKERS"  # environment variable: number of processes that read and tokenize
_AHEAD = 8  # results that may wait for their turn, for each process
_QUOTAS = ("cpu.max", "cpu/cpu.cfs_quota_us")  # of a container, in version 2 and 1 of control groups
_ONE_THREAD = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")
_DONE, _FAILED = 0, 1


def processors() -> int:
    """Number of processes that may compute at once: ``PRETRIEVE_WORKERS``, or the processors that this process may use.

    Raises:
        UsageError: the variable is no number above 0.
    """
    if given := os.environ.get(WORKERS):
        if not given.isdecimal() or int(given) < 1:
            raise UsageError(f"{WORKERS}={given} is not a number of processes: set 1 or more, or unset it.")
        return int(given)
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([found, *_quota(Path("/sys/fs/cgroup"))])


def mapped(function: str, items: Iterable[Any], workers: int) -> Iterator[Any]:
    """Apply a function to items in other processes and yield what it returns, in order.

    Items are taken a few ahead of the results, so that there may be any number of both.

    Args:
        function: ``module:name``, importable; takes an item and gives a result, both of plain JSON values.
        items: what to apply it to.
        workers: number of processes, at least 1.

    Raises:
        PretrieveError: the function raised it.
        LostRankError: a process ended before its work was done.
    """
    processes: list[subprocess.Popen[bytes]] = []
    inboxes: list[SimpleQueue[bytes]] = [SimpleQueue() for _ in range(workers)]
    queues: list[Queue[bytes]] = [Queue(_AHEAD) for _ in range(workers)]
    threads: list[Thread] = []
    try:
        for inbox, queue in zip(inboxes, queues, strict=True):
            processes.append(_start(function))
            threads += [Thread(target=_feed, args=(processes[-1], inbox), daemon=True)]
            threads += [Thread(target=_drain, args=(processes[-1], queue), daemon=True)]
        for thread in threads:
            thread.start()
        coming = iter(items)
        sent = 0
        for place in itertools.count():
            for item in itertools.islice(coming, max(0, place + workers * _AHEAD - sent)):
                inboxes[sent % workers].put(orjson.dumps(item) + b"\n")
                sent += 1
            if place == sent:
                return
            line = queues[place % workers].get()
            if not line:
                raise LostRankError(_end_of(processes[place % workers]))
            yield _result(orjson.loads(line))
    finally:
        for inbox in inboxes:
            inbox.put(b"")
        _stop(processes, threads, queues)


def work(function: str) -> None:
    """Serve ``mapped`` from inside a process: items from standard input, results to standard output."""
    lines: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_listen, args=(lines,), daemon=True).start()
    module, _, name = function.partition(":")
    apply = getattr(importlib.import_module(module), name)
    while True:
        try:
            result = [_DONE, apply(orjson.loads(lines.get()))]
        except PretrieveError as error:
            result = [_FAILED, type(error).__name__, str(error)]
        sys.stdout.buffer.write(orjson.dumps(result) + b"\n")
        sys.stdout.buffer.flush()


def _listen(lines: SimpleQueue[bytes]) -> None:
    """Take in items until the process that sends them has ended; then end this one, whatever it does."""
    with os.fdopen(os.dup(0), "rb") as file:
        for line in file:
            lines.put(line)
    os._exit(1)


def _result(found: list[Any]) -> Any:
    if found[0] == _DONE:
        return found[1]
    raise getattr(errors, found[1], PretrieveError)(found[2])


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """How a process ended, for a message."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(1)
    code = process.returncode
    if code is None or code >= 0:
        return f"a process of this command ended early, with exit code {code}"
    hint = f" (is memory short? {WORKERS} sets the number of processes)" if code == -signal.SIGKILL else ""
    return f"a process of this command was ended by {signal.Signals(-code).name}{hint}"


def _start(function: str) -> subprocess.Popen[bytes]:
    """A process that serves; signals of the terminal do not reach it, and it uses one thread."""
    code = f"import sys; sys.path[:] = {sys.path!r}\nfrom pretrieve.text.parallel import work; work({function!r})"
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | dict.fromkeys(_ONE_THREAD, "1"),
        bufsize=1 << 20,
        process_group=0,
    )


def _stop(processes: list[subprocess.Popen[bytes]], threads: list[Thread], queues: list[Queue[bytes]]) -> None:
    """End processes and threads, whatever they wait for; one of the threads may be this one, collecting garbage."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
    others = [thread for thread in threads if thread is not current_thread()]
    while any(thread.is_alive() for thread in others):
        for queue in queues:
            with contextlib.suppress(Empty):
                queue.get_nowait()
        for thread in filter(Thread.is_alive, others):
            thread.join(0.001)
    for process in processes:
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError, RuntimeError):  # the latter: this thread is reading it
                pipe.close()


def _feed(process: subprocess.Popen[bytes], inbox: SimpleQueue[bytes]) -> None:
    """Send items as they come; the pipe stays open, because its end is the end of this process."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it was stopped before it read everything
        while line := inbox.get():
            process.stdin.write(line)
            process.stdin.flush()


def _drain(process: subprocess.Popen[bytes], queue: Queue[bytes]) -> None:
    assert process.stdout is not None
    try:
        for line in process.stdout:
            queue.put(line)
    finally:
        queue.put(b"")


def _quota(groups: Path) -> list[int]:
    """Processors that a container may use, if it is limited."""
    for name in _QUOTAS:
        with contextlib.suppress(OSError, ValueError):
            quota, *period = (groups / name).read_text().split()
            period = period or (groups / name).with_name("cpu.cfs_period_us").read_text().split()
            return [max(1, int(quota) // int(period[0]))] if int(quota) > 0 else []
    return []
