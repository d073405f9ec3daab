"""``pretrieve verify``: check every byte of an artefact against its MANIFEST."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli.options import Json, OutputJson
from pretrieve.cli.output import say, working, write_json

NAME = "verify"
EXAMPLE = "pretrieve verify my-model"


def command(
    path: Annotated[Path, typer.Argument(help="A model, index, store or checkpoint of pretrieve.", show_default=False)],
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Check that no file of PATH, and of the artefacts inside it, was damaged or changed since it was written."""
    from pretrieve.core import files

    with working(as_json, output_json):
        files.verify(path)  # says clearly what is wrong when PATH itself is no artefact
        inside = sorted(manifest.parent for manifest in path.rglob(files.MANIFEST))
        checked = {str(folder): files.verify(folder) for folder in inside}
    if not write_json(checked, as_json, output_json):
        for folder, counts in checked.items():
            say(f"{folder}: {counts['files']} files, {counts['bytes']:,} bytes: whole and unchanged")
