"""The command line's frame: commands, exit codes (0 done, 1 failure, 2 usage), and errors as one clear line."""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Annotated, NoReturn

import typer

from pretrieve.cli import (
    answer,
    compare,
    completing,
    demo,
    distill,
    encode,
    evaluate,
    export,
    finetune,
    generate,
    index,
    inspect,
    log_file,
    methods,
    mine,
    push,
    read,
    report,
    search,
    serve,
    train,
    verify,
)
from pretrieve.cli.config import Configured
from pretrieve.cli.failure import print_error, print_usage
from pretrieve.cli.groups import expanded
from pretrieve.cli.messages import with_messages
from pretrieve.cli.usage_errors import is_usage_error, line_of
from pretrieve.core.errors import PretrieveError, PretrieveWarning
from pretrieve.core.shown import shown
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.stopping import SignalError, stoppable

app = typer.Typer(
    name="pretrieve",
    help="Point it at your documents, get a better retriever, no labels.",
    epilog="Start with:  pretrieve demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS = (
    train,
    distill,
    generate,
    mine,
    finetune,
    compare,
    encode,
    index,
    search,
    serve,
    evaluate,
    read,
    answer,
    inspect,
    report,
    methods,
    verify,
    export,
    push,
    demo,
)
_OF_MANY_PROCESSES = (train.NAME, finetune.NAME, read.NAME, compare.NAME)
for module in COMMANDS:
    app.command(name=module.NAME, cls=Configured, epilog=f"Example:  {module.EXAMPLE}")(
        expanded(with_messages(module.command))
    )


def _print_version(context: typer.Context, value: bool) -> None:
    if value and not context.resilient_parsing:
        from importlib.metadata import version as installed_version

        typer.echo(f"pretrieve {installed_version('pretrieve')}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # nothing here forks, which is what it fears
    if context.invoked_subcommand not in _OF_MANY_PROCESSES:
        processes.current().check_alone(f"pretrieve {context.invoked_subcommand}")


_usual_format = warnings.formatwarning


def _format(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning of ours as a note, without its place in the code."""
    if issubclass(category, PretrieveWarning):
        return f"note: {shown(message)}\n"
    return _usual_format(message, category, filename, lineno, line)


def main() -> NoReturn:
    """Run the command line; every error is one line on standard error, never a traceback.

    Raises:
        SystemExit: always; the code is 0, 1 (failure), 2 (usage), or 128 + n when signal n stopped a run.
    """
    try:
        _run()
    except SystemExit as stop:
        log_file.close(stop.code or 0)
        raise


def _run() -> NoReturn:
    warnings.formatwarning = _format
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a title in Greek is no error where only ASCII is printed
    try:
        with stoppable():
            code = app(standalone_mode=False, prog_name="pretrieve")
            processes.current().leave()
        if line := completing.missing_shell(sys.argv[1:], code):
            print_usage(line)
        sys.exit(code)
    except SignalError as error:  # between two instructions of the block
        _exit(error, partial(print_error, error.in_one_line()))
    except (KeyboardInterrupt, typer.Abort) as error:
        _exit(error, _stopped)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader (a pager, head) has left: that is no error
        sys.exit(0)
    except Exception as error:
        if completing.is_completing():  # the command itself will say it
            sys.exit(1)
        if is_usage_error(error):
            line = line_of(error, sys.argv[1:], [module.NAME for module in COMMANDS])
            _exit(error, lambda: print_usage(line))
        _exit(error, partial(print_error, error))


def _stopped() -> int:
    log_file.error("stopped.")
    typer.echo("stopped.", err=True)
    return 130


def _exit(error: BaseException, report: Callable[[], int]) -> NoReturn:
    """Exit with the code of an error, which one process of a run reports; the others leave with the same code."""
    try:
        together = processes.current()
    except PretrieveError:  # this is the error
        sys.exit(report())
    code = together.silent(error, shown(error))
    if code is None:
        code = report()
        together.end(code)
    sys.exit(code)
