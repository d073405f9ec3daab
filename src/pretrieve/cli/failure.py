"""Errors in one line: ours as they are, unreadable files by name, all others with a file of details."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

import typer

from pretrieve.cli import log_file
from pretrieve.cli.environment import given_command, versions
from pretrieve.core import extensions, extras
from pretrieve.core.disk import OUT_OF_FILES, TOO_MANY_FILES
from pretrieve.core.errors import PretrieveError, causes
from pretrieve.core.shown import shown


def print_error(error: Exception) -> int:
    """Print an error in one line on standard error.

    Args:
        error: what ended the command.

    Returns:
        The exit code.
    """
    error = _better(error)
    expected = _expected(error)
    _print(expected or _unexpected(error), None if expected else error)
    return error.exit_code if isinstance(error, PretrieveError) else 1


def print_usage(line: str) -> int:
    """Print a mistake in the command line; nothing for an empty line. Return the exit code."""
    if line:
        _print(line)
    return 2


def _print(text: str, unexpected: Exception | None = None) -> None:
    log_file.error(shown(text), unexpected)
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(shown(text), err=True)


def _better(error: Exception) -> Exception:
    """The error of ours in place of another: a missing extra, a mistake in a user's method or reader."""
    if isinstance(error, PretrieveError):
        return error
    missing = None
    if isinstance(error, ModuleNotFoundError):
        missing = extras.explain(error, " ".join(["pretrieve", *sys.argv[1:2]]))
    return missing or extensions.blame(error) or error


def _expected(error: Exception) -> str:
    """Cause and remedy; empty if unknown."""
    if isinstance(error, PretrieveError):
        return str(error)
    for one in causes(error):
        if isinstance(one, MemoryError):
            return "out of memory: take a smaller batch, fewer documents, or a machine with more memory."
        if _errno(one) in OUT_OF_FILES:
            return TOO_MANY_FILES
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}. Check that it is there and that you may open it."
    return ""


def _errno(error: BaseException) -> int | None:
    """The number of a system error; libraries in Rust give it only in their text."""
    if isinstance(error, OSError):
        return error.errno
    return errno.EMFILE if f"(os error {errno.EMFILE})" in str(error) else None


def _unexpected(error: Exception) -> str:
    """An unexpected error, with the file of its details."""
    what = shown(error)
    shortened = f"{what[:300]}..." if len(what) > 300 else what
    path = log_file.path() or _write_details(error)
    where = "details could not be written" if path is None else f"details: {path}; please report it"
    return f"unexpected {type(error).__name__}: {shortened} ({where})"


def _write_details(error: Exception) -> Path | None:
    """Write versions, command line and traceback to the current folder, or else to that of temporary files."""
    from pretrieve.core import files

    name = f"pretrieve-error-{time.strftime('%Y%m%d-%H%M%S')}.txt"
    for folder in (Path(), Path(tempfile.gettempdir())):
        path = folder / name
        if path.exists():
            path = folder / name.replace(".txt", f"-{os.getpid()}.txt")
        try:
            files.write_file(path, _details(error).encode("utf-8", "backslashreplace"))
        except (OSError, PretrieveError):
            continue
        return path
    return None


def _details(error: Exception) -> str:
    lines = [*versions(), "", given_command(sys.argv[1:]), ""]
    return "\n".join(lines) + "\n" + "".join(traceback.format_exception(error))
