"""The command line's frame: commands, exit codes (0 done, 1 failure, 2 usage), and errors as one clear line."""

from __future__ import annotations

import os
import sys
from typing import Annotated, NoReturn

import typer

from pretrieve.cli import (
    answer,
    compare,
    demo,
    distill,
    evaluate,
    finetune,
    generate,
    index,
    inspect,
    methods,
    mine,
    read,
    search,
    train,
    verify,
)
from pretrieve.core import extras
from pretrieve.core.errors import PretrieveError
from pretrieve.pipeline.run.stopping import stoppable

app = typer.Typer(
    name="pretrieve",
    help="Point it at your documents, get a better retriever, no labels.",
    epilog="Start with:  pretrieve demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    train,
    distill,
    generate,
    mine,
    finetune,
    compare,
    index,
    search,
    evaluate,
    read,
    answer,
    inspect,
    methods,
    verify,
    demo,
):
    app.command(name=module.NAME, epilog=f"Example:  {module.EXAMPLE}")(module.command)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as installed_version

        typer.echo(f"pretrieve {installed_version('pretrieve')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # nothing here forks, which is what it fears


def main() -> None:
    """Run the command line; a user's error is one line on standard error, never a traceback.

    Raises:
        SystemExit: always; the code is 0, 1 (failure), 2 (usage), or 128 + n when signal n stopped a run.
    """
    try:
        with stoppable():
            app()
    except PretrieveError as error:
        _exit(error)
    except ModuleNotFoundError as error:
        missing = extras.explain(error, " ".join(["pretrieve", *sys.argv[1:2]]))
        if missing is None:
            raise
        _exit(missing)
    except KeyboardInterrupt:
        typer.echo("stopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader (a pager, head) has left: that is no error
        sys.exit(0)


def _exit(error: PretrieveError) -> NoReturn:
    """Print a user's error, and leave with its code."""
    typer.secho("error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(str(error), err=True)
    sys.exit(error.exit_code)
