"""``--quiet``, ``--verbose`` and ``--log-file`` of every command, and what they let through.

``app.py`` gives them to each command by ``with_messages``; what they decide is asked of ``current``.
"""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from pretrieve.cli import log_file as logs
from pretrieve.core.errors import UsageError

if TYPE_CHECKING:
    from pretrieve.pipeline.run.lines import Lines

_PANEL = "Messages"


@dataclass(frozen=True, kw_only=True)
class Messages:
    """What a command says beside its result.

    Attributes:
        quiet: warnings and errors alone.
        verbose: debug details, too.
        log_file: file that everything is appended to.
    """

    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet", help="Print results, warnings and errors alone: no progress, no notes.", rich_help_panel=_PANEL
        ),
    ] = False
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            help="Print details too: versions, environment, seconds of each stage, memory.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    log_file: Annotated[
        Path | None,
        typer.Option(
            "--log-file",
            metavar="FILE",
            help="Append all that is said to a file, with time stamps, details and tracebacks.",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ] = None


_current: ContextVar[Messages | None] = ContextVar("messages", default=None)


def current() -> Messages:
    """What was chosen for the command that runs."""
    return _current.get() or Messages()


def with_messages(command: Callable[..., None]) -> Callable[..., None]:
    """A command with one more parameter, ``messages``, which is in force while it runs."""

    @functools.wraps(command)
    def run(messages: Messages, **options: Any) -> None:
        with _in_force(messages, options):
            command(**options)

    signature = inspect.signature(command)
    last = inspect.Parameter("messages", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), last]
    )
    run.__annotations__ = {**get_type_hints(command, include_extras=True), "messages": Messages}
    return run


def log_lines() -> list[Lines]:
    """The listener that writes progress and notes to the log file, if there is one."""
    from pretrieve.pipeline.run.lines import Lines

    return [Lines(logs.info, logs.note, starts=True)] if logs.path() is not None else []


@contextmanager
def _in_force(messages: Messages, options: Mapping[str, Any]) -> Iterator[None]:
    if messages.quiet and messages.verbose:
        raise UsageError("give --quiet or --verbose, not both.")
    started = time.monotonic()
    if messages.log_file is not None:
        logs.check(messages.log_file, options)
    logs.open_log(messages.log_file, verbose=messages.verbose)
    before = _current.set(messages)
    try:
        with logs.printed():
            if messages.verbose or messages.log_file is not None:
                logs.begin()
            yield
    finally:
        _current.reset(before)
        if messages.verbose or messages.log_file is not None:
            logs.end(started)
