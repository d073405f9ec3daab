"""The pages of PDF files, read by a process of its own (``pdf_worker``) that is kept from file to file."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from pretrieve.text.files.streams import DamagedStreamError, seekable

PATIENCE = 60.0  # seconds that a page may take
_CHUNK = 1 << 16


def messages(path: Path) -> Iterator[dict[str, Any]]:
    """What the process says about a file: its title and contents, then each page.

    Raises:
        DamagedStreamError: the file is encrypted, damaged, or ends or blocks the process.
        OSError: the file cannot be read.
    """
    with seekable(path) as file:
        worker = _worker()
        done = False
        try:
            for message in worker.messages(file):
                if "end" in message or "fault" in message:
                    done = True
                    break
                yield message
        finally:
            if not done:
                stop()
    if "fault" in message:
        raise DamagedStreamError(message["fault"], message["detail"])


class _Worker:
    """The process and the ways to it."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._link, other = socket.socketpair()
        code = f"from pretrieve.text.formats.pdf_worker import serve; serve({other.fileno()})"
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            pass_fds=(other.fileno(),),
        )
        other.close()

    @property
    def is_usable(self) -> bool:
        """Whether it runs, and was started by this very process."""
        return self._owner == os.getpid() and self._process.poll() is None

    def messages(self, file: IO[bytes]) -> Iterator[dict[str, Any]]:
        """Hand over a file, and give the lines that come back."""
        file.seek(0)
        socket.send_fds(self._link, [b"f"], [file.fileno()])
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        pending = bytearray()
        until = time.monotonic() + PATIENCE
        while True:
            if not select.select([pipe], [], [], max(0.0, until - time.monotonic()))[0]:
                raise DamagedStreamError("damaged PDF", f"a page took longer than {PATIENCE:.0f} s")
            data = os.read(pipe, _CHUNK)
            if not data:
                raise DamagedStreamError("damaged PDF", f"PDFium stopped ({_cause(self._process.wait())})")
            pending += data
            if b"\n" in data:
                *lines, rest = bytes(pending).split(b"\n")
                pending = bytearray(rest)
                yield from map(orjson.loads, lines)
                until = time.monotonic() + PATIENCE

    def stop(self) -> None:
        """End the process, unless a fork of the one that started it asks."""
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        else:
            self._process.returncode = 0  # it is not ours to wait for
        self._link.close()
        assert self._process.stdout is not None
        self._process.stdout.close()


_kept: list[_Worker] = []


def _worker() -> _Worker:
    """The process of the last file, or a new one."""
    if not _kept or not _kept[0].is_usable:
        stop()
        _kept.append(_Worker())
    return _kept[0]


@atexit.register
def stop() -> None:
    """End the process that is kept."""
    while _kept:
        _kept.pop().stop()


def _cause(code: int) -> str:
    import signal

    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"exit code {code}: perhaps out of memory"
