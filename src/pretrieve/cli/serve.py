"""``pretrieve serve``: search over HTTP, as JSON and as a page."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrieve.cli.options import Device
from pretrieve.cli.output import say, working

if TYPE_CHECKING:
    from pretrieve.serving.served import Served

NAME = "serve"
EXAMPLE = "pretrieve serve my-index --port 8000"
_ONE_PROCESSOR = ("OPENBLAS_NUM_THREADS", "1")  # for NumPy's products: more are waited for where many clients ask


def command(
    index: Annotated[Path, typer.Argument(help="Output of `pretrieve index`.", show_default=False)],
    more: Annotated[
        list[Path] | None,
        typer.Option("--index", metavar="INDEX", help="Another index to serve. Repeatable.", show_default=False),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="MODEL",
            help="Another model, to compare: the documents of INDEX are encoded with it before the server starts. "
            "Repeatable.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 chooses a free one.")] = 8000,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; 0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="PRETRIEVE_TOKEN",
            help="Answer only requests with this token (Authorization: Bearer TOKEN); better given in the environment.",
            show_default=False,
        ),
    ] = None,
    threads: Annotated[
        int,
        typer.Option("--threads", min=1, help="Searches that run at once; Python lets more of them take longer."),
    ] = 1,
    waiting: Annotated[
        int | None,
        typer.Option(
            "--waiting",
            min=0,
            help="Searches that wait for a thread; more are answered 503. (default: 1 a thread)",
            show_default=False,
        ),
    ] = None,
    judgements: Annotated[
        Path | None,
        typer.Option(
            "--judgements",
            metavar="FOLDER",
            help="Keep what is judged on the page (keys r and n) as a BEIR folder that `pretrieve evaluate` reads.",
            show_default=False,
        ),
    ] = None,
    mcp: Annotated[
        bool,
        typer.Option("--mcp", help="Serve a tool `search` over standard input and output (Model Context Protocol)."),
    ] = False,
    device: Device = "auto",
) -> None:
    """Serve search over HTTP: a page, and the answers of `search --json` at /search?q=..., described at /openapi.json.

    An index that is updated or replaced is opened again without a failed request. Ctrl-C or SIGTERM ends the server
    once running requests are answered.
    """
    os.environ.setdefault(*_ONE_PROCESSOR)  # before NumPy is imported
    from pretrieve.core import extras
    from pretrieve.models.devices import using

    if mcp:
        extras.require("mcp", "`pretrieve serve --mcp`")
        _check_mcp(token, judgements, models)
        with using(device):
            _serve_tools([index, *(more or [])])
        return
    extras.require("serve", "`pretrieve serve`")
    _check_token(token)
    from pretrieve.serving.app import ServeOptions, make_app
    from pretrieve.serving.judgements import Judgements
    from pretrieve.serving.limits import Limits
    from pretrieve.serving.served import open_all
    from pretrieve.serving.server import is_loopback, listen, serve

    limits = Limits(threads=threads, waiting=threads if waiting is None else waiting)
    local = is_loopback(host)
    if not local and token is None:
        say(f"note: {host} lets other machines in, and there is no --token: whoever reaches it reads all documents.")
    names = ("localhost", "127.0.0.1", "[::1]", host) if local else ()
    with using(device), contextlib.ExitStack() as held:
        served = open_all([index, *(more or [])])
        if models:
            _add_models(served, models, held)
        for one in served.values():
            one.answer_once()
        first = next(iter(served.values()))
        kept = None if judgements is None else held.enter_context(Judgements.opened(judgements, first))
        listening = listen(host, port)
        options = ServeOptions(token=token or "", hosts=names, limits=limits, judgements=kept, note=_note)
        app = make_app(served, options)
        serve(app, listening, lambda address: _ready(address, [(one.name, len(one.index)) for one in served.values()]))
    say("stopped.")


def _add_models(served: dict[str, Served], models: Sequence[str], held: contextlib.ExitStack) -> None:
    """Serve the documents of the first index with other models, from a folder that lasts as long as the server."""
    from pretrieve.serving.other_model import WithModel, name_of
    from pretrieve.serving.served import check_name

    first = next(iter(served.values()))
    for model in models:
        name = name_of(model)
        check_name(name, model, served)
        place = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="pretrieve-serve-"))) / name
        with working(False, None) as display:
            served[name] = WithModel(first, model, place, display)


def _serve_tools(paths: list[Path]) -> None:
    """Serve the tool until standard input ends; standard output is the protocol's."""
    from pretrieve.core.memory import leave_alone_what_is_loaded
    from pretrieve.serving.api import State
    from pretrieve.serving.limits import Gate, Limits
    from pretrieve.serving.mcp import make_tool_server
    from pretrieve.serving.metrics import Metrics
    from pretrieve.serving.served import open_all

    limits = Limits(threads=1)
    state = State(served=open_all(paths), limits=limits, gate=Gate(limits), metrics=Metrics())
    tools = make_tool_server(state)
    leave_alone_what_is_loaded()
    tools.run("stdio")


def _check_mcp(token: str | None, judgements: Path | None, models: list[str] | None) -> None:
    from pretrieve.core.errors import UsageError

    for name, value in (("--token", token), ("--judgements", judgements), ("--model", models)):
        if value is not None:
            raise UsageError(f"--mcp serves whoever started it, without a page: leave out {name}.")


def _check_token(token: str | None) -> None:
    from pretrieve.core.errors import UsageError

    if token is not None and (not token.strip() or not token.isascii() or not token.isprintable()):
        raise UsageError("--token is empty or holds signs that a header cannot: give ASCII letters and digits.")


def _ready(address: str, indexes: list[tuple[str, int]]) -> None:
    for name, documents in indexes:
        say(f"{name}: {documents:,} documents")
    say(f"Serving on {address} (Ctrl-C stops)")
    typer.get_text_stream("stdout").flush()


def _note(text: str) -> None:
    say(text)
    typer.get_text_stream("stdout").flush()
