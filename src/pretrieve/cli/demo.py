"""``pretrieve demo``: the main job on text that is always there, the documentation of the installed Python packages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli.options import Overwrite, Seed

NAME = "demo"
EXAMPLE = "pretrieve demo --minutes 1"


def command(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for model, index and pairs.")] = Path("demo"),
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, help="Time to train for.")] = 0.75,
    source: Annotated[str, typer.Option("--source", help="Other documents than the installed packages'.")] = "python:",
    seed: Seed = 0,
    overwrite: Overwrite = True,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON.")] = None,
) -> None:
    """Train on the documentation of your Python packages, judge on held-out pairs, index, and search."""
    from rich.console import Console

    from pretrieve.cli.search import print_hit
    from pretrieve.evaluation.report import result_tables
    from pretrieve.pipeline.demo import DemoRequest, run
    from pretrieve.pipeline.run.display import Display

    typer.echo("Documents: the documentation of the Python packages installed here, read from source, never imported.")
    typer.echo("Labels: none.\n")
    with Display() as display:
        done = run(DemoRequest(output=output, minutes=minutes, source=source, seed=seed, overwrite=overwrite), display)
    console = Console()
    console.print(
        "\nHeld-out pairs: does the first sentence of a docstring find the rest of it? (No training on these.)"
    )
    for table in result_tables(done.result):
        console.print(table)
    for query, hits in done.searches:
        console.print(f'\n[bold]"{query}"[/]', highlight=False)
        for hit in hits:
            print_hit(hit)
    if json_file is not None:
        from pretrieve.core.files import to_json, write_file

        write_file(json_file, to_json(done.result.to_json()))
    console.print(f"The model is in [bold]{done.model}[/], its index in [bold]{done.index}[/].", highlight=False)
    console.print(f'Search it further:  [bold]pretrieve search {done.index} "your question"[/]', highlight=False)
