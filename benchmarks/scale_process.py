"""A command as a process of its own: its seconds, and its memory, that of files apart."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_EVERY = 0.1  # seconds between two looks at its memory, at most; less for a short process, so that its end is seen


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a process took.

    Attributes:
        wall: seconds of the clock.
        cpu: seconds of the processor, of all its processes.
        peak: bytes in memory at most, pages of mapped files included.
        own: the same without files, of which the system takes pages back as it needs room.
        output: what it wrote to standard output.
    """

    wall: float
    cpu: float
    peak: int
    own: int
    output: str

    def facts(self) -> dict[str, Any]:
        """As JSON, without what it wrote."""
        return {name: value for name, value in asdict(self).items() if name != "output"}


def memory_of(process: int | str = "self") -> dict[str, int]:
    """Bytes of a process by the kernel's names: ``VmHWM``, ``RssAnon``, ``RssFile``; empty when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    names = ("VmHWM", "RssAnon", "RssFile")
    return {name: int(line.split()[1]) << 10 for line in lines for name in names if line.startswith(f"{name}:")}


def cpu_of(process: int) -> float:
    """Seconds of the processor that a process has had."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    scheduled = Path(f"/proc/{process}/schedstat")  # in nanoseconds; the other in hundredths of a second
    if scheduled.exists():
        return int(scheduled.read_text().split()[0]) / 1e9
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def used(command: Sequence[str], log: Path | None = None) -> Used:
    """Run a command to its end.

    Args:
        command: the command; it has to succeed.
        log: where its standard error goes; default: nowhere.
    """
    peak = own = 0
    with Path(log or os.devnull).open("wb") as errors, tempfile.TemporaryFile() as output:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        ended = 0
        while not ended:
            time.sleep(min(_EVERY, 0.002 + 0.01 * (time.perf_counter() - begin)))
            found = memory_of(process.pid)
            peak, own = max(peak, found.get("VmHWM", 0)), max(own, found.get("RssAnon", 0))
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}; {log or 'its messages were not kept'}")
    return Used(wall=seconds, cpu=usage.ru_utime + usage.ru_stime, peak=peak, own=own, output=text)
