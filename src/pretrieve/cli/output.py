"""The output of commands: JSON on standard output for machines, or text for people; progress on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from pretrieve.cli import messages
from pretrieve.core.shown import command_line, shown

if TYPE_CHECKING:
    from pretrieve.pipeline.run.progress import Listener


@contextlib.contextmanager
def working(as_json: bool, output_json: Path | None) -> Iterator[Listener]:
    """Show progress on standard error while a command works; with ``--json`` all that is printed meanwhile goes there.

    Args:
        as_json: ``--json``.
        output_json: ``--output-json``; a path that cannot be written is refused before the work.

    Of several processes, the first one shows progress; the others end with the work, and leave the result to it.

    Raises:
        UsageError: there can be no such file.
        Exit: this is not the first process.
    """
    from pretrieve.pipeline.run import processes
    from pretrieve.pipeline.run.progress import Several, Silent, on_screen

    with apart(as_json, output_json), contextlib.ExitStack() as stack:
        if not processes.current().leads:
            yield Silent()
            return
        chosen = messages.current()
        shows = [on_screen(quiet=chosen.quiet, verbose=chosen.verbose), *messages.log_lines()]
        yield Several(*map(stack.enter_context, shows))


@contextlib.contextmanager
def apart(as_json: bool, output_json: Path | None) -> Iterator[None]:
    """Keep a result as JSON apart from all else that is printed; for work that is done before progress could be seen.

    Args:
        as_json: ``--json``: what is printed meanwhile goes to standard error.
        output_json: ``--output-json``; a path that cannot be written is refused before the work.

    Of several processes, the first one goes on after the work; the others end, and leave the result to it.

    Raises:
        UsageError: there can be no such file.
        Exit: this is not the first process.
    """
    from pretrieve.pipeline.run import processes

    _check_file(output_json)
    if not processes.current().leads:
        yield
        raise typer.Exit
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        yield


def write_json(result: Mapping[str, Any], as_json: bool, output_json: Path | None) -> bool:
    """Print or write a result as JSON, if requested.

    Args:
        result: plain values.
        as_json: print it.
        output_json: file to write it to.

    Returns:
        Whether it was printed, so that nothing else may be.

    Raises:
        StorageError: writing to disk failed.
    """
    from pretrieve.core import files

    data = files.to_json(result)
    if output_json is not None:
        files.write_file(output_json, data)
    if as_json:
        typer.echo(data.decode(), nl=not data.endswith(b"\n"))
    return as_json


def say(text: str = "", *, lines: bool = False) -> None:
    """Print untrusted text, with terminal control characters escaped.

    Args:
        text: to print.
        lines: keep its line breaks.
    """
    typer.echo(shown(text, lines=lines))


def styled(text: object, **style: Any) -> str:
    """A piece of text for ``typer.echo``, escaped and in a style."""
    return typer.style(shown(text), **style)


def print_next(*commands: Sequence[str]) -> None:
    """Print the commands that come next, each on a line of its own that can be copied; not with ``--quiet``."""
    if messages.current().quiet:
        return
    if commands:
        typer.echo("\nNext:")
    for words in commands:
        typer.echo(f"  {command_line(words)}")


def free_name(name: str) -> str:
    """The name, with a number appended if it exists."""
    number = 1
    found = name
    while Path(found).exists():
        number += 1
        found = f"{name}-{number}"
    return found


def _check_file(path: Path | None) -> None:
    from pretrieve.core.errors import UsageError

    if path is not None and path.is_dir():
        raise UsageError(f"--output-json {path}: it is a folder; give the name of a file.")
    if path is not None and path.parent.exists() and not path.parent.is_dir():
        raise UsageError(f"--output-json {path}: {path.parent} is not a folder.")
