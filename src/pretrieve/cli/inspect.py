"""``pretrieve inspect``: training examples, with the place of each span in its document and what was changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrieve.cli import completing
from pretrieve.cli.options import (
    SOURCES,
    Json,
    OutputJson,
    Seed,
    Settings,
)
from pretrieve.cli.output import say, working, write_json
from pretrieve.cli.reading import ReadingNoWikipedia

if TYPE_CHECKING:
    from pretrieve.pipeline.inspect import InspectRequest

NAME = "inspect"
EXAMPLE = "pretrieve inspect docs/ --method contriever -n 3"


def command(
    *,
    sources: SOURCES,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            autocompletion=completing.methods,
            help="Training method; see `pretrieve methods`.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="Encoder: static, a hub name, a folder, or new:layers=4,hidden=256. (default: static, or new)",
            show_default=False,
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            "-n", min=1, help="Number of examples. (default: 5, 200 with --html, of one batch)", show_default=False
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html",
            metavar="FILE",
            help="Write a page to explore the examples and the map of the corpus.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="With --html: show the losses of pairs under a model, suspected false negatives, and its map.",
            show_default=False,
        ),
    ] = None,
    points: Annotated[
        int, typer.Option("--points", min=3, max=5000, help="With --html: documents on the map, at most.")
    ] = 5000,
    settings: Settings = None,
    seed: Seed = 0,
    reading: ReadingNoWikipedia,
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Show training examples in colour, as the method trains on them; with --html as a page."""
    from pretrieve.core.config import parse_assignments
    from pretrieve.pipeline.inspect import InspectRequest, look

    _check_model(model, html)
    request = InspectRequest(
        sources=tuple(sources),
        method=method,
        base=base,
        number=number or (5 if html is None else 200),
        settings=parse_assignments(settings or []),
        seed=seed,
        on_bad=reading.on_bad,
        file_filter=reading.file_filter(),
        fields=reading.fields(),
    )
    if html is not None:
        _explore(request, html, model, points, as_json, output_json)
        return
    with working(as_json, output_json) as display:
        pairs, summary = look(request, display)
    if not write_json({"summary": summary, "pairs": pairs}, as_json, output_json):
        from pretrieve.cli.tables import print_pairs

        print_pairs(pairs, summary)


def _check_model(model: str | None, html: Path | None) -> None:
    from pretrieve.core.errors import UsageError

    if model is not None and html is None:
        raise UsageError("--model is for the page of --html: give that too.")


def _explore(
    request: InspectRequest, html: Path, model: str | None, points: int, as_json: bool, output_json: Path | None
) -> None:
    """Write the page, and say what is on it."""
    from pretrieve.reporting.explorer import ExplorerRequest, write_explorer

    with working(as_json, output_json) as display:
        facts = write_explorer(ExplorerRequest(inspect=request, output=html, model=model, points=points), display)
    if write_json({"html": str(html), **facts}, as_json, output_json):
        return
    for note in facts["notes"]:
        say(note)
    say(f"{html}: {facts['pairs']:,} pairs and {facts['points']:,} documents; open it in a browser.")
