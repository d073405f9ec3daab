"""``pretrieve inspect``: training examples, with the place of each span in its document and what was changed."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrieve.cli import completing
from pretrieve.cli.options import (
    SOURCES,
    Json,
    OutputJson,
    Seed,
    Settings,
)
from pretrieve.cli.output import working, write_json
from pretrieve.cli.reading import ReadingNoWikipedia

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
    number: Annotated[int, typer.Option("-n", min=1, help="Number of examples.")] = 5,
    settings: Settings = None,
    seed: Seed = 0,
    reading: ReadingNoWikipedia,
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Show training examples in colour, as the method trains on them."""
    from pretrieve.core.config import parse_assignments
    from pretrieve.pipeline.inspect import InspectRequest, look

    request = InspectRequest(
        sources=tuple(sources),
        method=method,
        base=base,
        number=number,
        settings=parse_assignments(settings or []),
        seed=seed,
        on_bad=reading.on_bad,
        file_filter=reading.file_filter(),
        fields=reading.fields(),
    )
    with working(as_json, output_json) as display:
        pairs, summary = look(request, display)
    if not write_json({"summary": summary, "pairs": pairs}, as_json, output_json):
        from pretrieve.cli.tables import print_pairs

        print_pairs(pairs, summary)
