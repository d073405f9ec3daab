"""The log of a command: what ``--log-file`` keeps and ``--verbose`` prints, through the logger ``pretrieve.command``.

Lines are appended and written out one by one, each with a time stamp: the command line, versions and environment,
progress, notes, warnings of libraries, what is printed to standard output, errors, and tracebacks, which the terminal
never shows. Where no more can be written, that is said once and the command goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TextIO, cast

import typer

from pretrieve.cli.environment import environment, given_command, spent
from pretrieve.core.errors import UsageError
from pretrieve.core.shown import shown

_LOGGER = logging.getLogger("pretrieve.command")
_LOGGER.propagate = False  # what libraries log arrives by the root
_LOGGER.setLevel(logging.DEBUG)
_LOGGER.addHandler(logging.NullHandler())
_STYLES = re.compile(r"\x1b\[[\d;]*m")
_TEXTS = ("query", "question", "settings", "tuning")  # parameters that name no file
_opened: list[logging.Handler] = []  # those of the command that runs


def check(path: Path, options: Mapping[str, Any]) -> None:
    """Refuse a place where no log can be, before anything else is done.

    Args:
        path: ``--log-file``.
        options: the command's parameters by name.

    Raises:
        UsageError: it is no file, there is no such folder, or the command reads or writes it itself.
    """
    where = f"--log-file {path}"
    if path.is_dir():
        raise UsageError(f"{where}: it is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise UsageError(f"{where}: there is no folder {path.parent}; make it first.")
    if path.exists() and not (path.is_file() or stat.S_ISCHR(path.stat().st_mode)):
        raise UsageError(f"{where}: it is no file that lines can be appended to.")
    place = path.resolve()
    for name, value in options.items():
        for one in value if isinstance(value, list | tuple) else [value]:
            if name not in _TEXTS and isinstance(one, str | Path) and _covers(one, place):
                raise UsageError(f"{where}: the command uses {one} itself; put the log outside of it.")


def _covers(used: str | Path, place: Path) -> bool:
    """Whether a path is that of the log, or a folder around it; a run's workspace stands beside its output."""
    try:
        path = Path(used).resolve()
        return path == place or any(folder in place.parents for folder in (path, Path(f"{path}.work")))
    except (OSError, ValueError, RuntimeError):  # a text that is no path
        return False


def open_log(path: Path | None, *, verbose: bool) -> None:
    """Open the log of a command; that of an earlier one in this process is closed.

    Args:
        path: the file; None: there is none.
        verbose: print details on standard error.

    Raises:
        UsageError: the file cannot be opened.
    """
    close()
    if verbose:
        _add(_Details())
    if path is None:
        return
    try:
        handler = _File(path)
    except OSError as error:
        raise UsageError(f"--log-file {path}: {error.strerror}.") from None
    _add(handler)
    root = logging.getLogger()
    if not root.handlers and logging.lastResort is not None:  # the terminal shows what it would show without a log
        root.addHandler(logging.lastResort)
        _opened.append(logging.lastResort)
    root.addHandler(handler)


def close(code: object = None) -> None:
    """Close the log; its last line is the exit code of the command, if that is known."""
    if code is not None and path() is not None:
        _LOGGER.info("exit code %s", code)
    for handler in _opened:
        _LOGGER.removeHandler(handler)
        logging.getLogger().removeHandler(handler)
        if handler is not logging.lastResort:
            handler.close()
    _opened.clear()


def path() -> Path | None:
    """The log file of the command that runs, as it was given."""
    return next((handler.path for handler in _opened if isinstance(handler, _File)), None)


def begin() -> None:
    """Write what runs, and where."""
    _LOGGER.debug("%s", given_command(sys.argv[1:]))
    for line in environment():
        _LOGGER.debug("%s", line)


def end(started: float) -> None:
    """Write what the command took; ``started`` is when it began, by ``time.monotonic``."""
    _LOGGER.debug("%s", spent(started))


def info(line: str) -> None:
    """Write a line of progress or of a result."""
    _LOGGER.info("%s", line)


def note(kind: str, text: str) -> None:
    """Write a note or a warning."""
    _LOGGER.log(logging.WARNING if kind == "warning" else logging.INFO, "%s", text)


def error(line: str, unexpected: BaseException | None = None) -> None:
    """Write an error; of an unexpected one, its traceback too."""
    _LOGGER.error("%s", line, exc_info=unexpected)


@contextlib.contextmanager
def printed() -> Iterator[None]:
    """Write what is printed to standard output, and warnings, to the log too, while the command runs."""
    if path() is None:
        yield
        return
    show = warnings.showwarning

    def also(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        show(message, category, *place, **more)
        _LOGGER.warning("%s: %s", category.__name__, shown(message))

    copied = _Copied(sys.stdout)
    warnings.showwarning = also
    try:
        with _as_output(copied):
            yield
    finally:
        warnings.showwarning = show
        copied.end()


def _as_output(copied: _Copied) -> AbstractContextManager[object]:
    return contextlib.redirect_stdout(cast(TextIO, copied))


def _add(handler: logging.Handler) -> None:
    _LOGGER.addHandler(handler)
    _opened.append(handler)


class _File(logging.FileHandler):
    """Appends records to a file, each written out at once; several processes of a run share it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, mode="a", encoding="utf-8", errors="backslashreplace")
        self.path = path
        rank = f"[{os.environ['RANK']}] " if os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ else ""
        self.setFormatter(logging.Formatter(f"%(asctime)s {rank}%(levelname)s %(message)s", "%Y-%m-%d %H:%M:%S"))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """Say once that no more is written."""
        if self.level <= logging.CRITICAL:
            self.setLevel(logging.CRITICAL + 1)
            reason = getattr(sys.exception(), "strerror", None) or sys.exception()
            typer.echo(f"warning: --log-file {shown(self.path)}: {reason}; nothing more is written to it.", err=True)

    def close(self) -> None:
        """Close the file; what could not be written was said."""
        with contextlib.suppress(OSError):
            super().close()


class _Details(logging.Handler):
    """Prints details, and nothing else, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        if record.levelno == logging.DEBUG and record.name == _LOGGER.name:
            typer.secho(f"debug: {shown(record.getMessage())}", dim=True, err=True)


class _Copied:
    """Standard output, whose complete lines go to the log too."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._rest = stream, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text."""
        count = self._stream.write(text)
        *lines, self._rest = f"{self._rest}{text}".split("\n")
        for line in lines:
            self._log(line)
        return count

    def end(self) -> None:
        """Write what is left, which has no end of line."""
        self._log(self._rest)
        self._rest = ""

    def _log(self, line: str) -> None:
        if line := shown(_STYLES.sub("", line)).rstrip():
            _LOGGER.info("%s", line)
