"""``pretrieve verify``: check every byte of an artefact against its MANIFEST."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

NAME = "verify"
EXAMPLE = "pretrieve verify my-model"


def command(
    path: Annotated[Path, typer.Argument(help="A model, index, store or checkpoint of pretrieve.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check that nothing in PATH, and in the artefacts inside it, was damaged or changed since it was written."""
    from pretrieve.core import files

    files.verify(path)  # says clearly what is wrong when PATH itself is no artefact
    inside = sorted(manifest.parent for manifest in path.rglob(files.MANIFEST))
    checked = {str(folder): files.verify(folder) for folder in inside}
    if as_json:
        typer.echo(files.to_json(checked).decode(), nl=False)
        return
    for folder, counts in checked.items():
        typer.echo(f"{folder}: {counts['files']} files, {counts['bytes']:,} bytes: whole and unchanged")
