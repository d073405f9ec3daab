"""``pretrieve demo``: the whole workflow on the documentation of the installed Python packages."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pretrieve.cli.options import Json, OutputJson, Overwrite, Seed
from pretrieve.cli.output import print_next, say, styled, working, write_json

if TYPE_CHECKING:
    from pretrieve.pipeline.demo import Done

NAME = "demo"
EXAMPLE = "pretrieve demo --minutes 1"


def command(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder for model, index and pairs.")
    ] = Path("demo"),
    minutes: Annotated[float, typer.Option("--minutes", min=0.01, help="Training time.")] = 0.75,
    source: Annotated[
        str, typer.Option("--source", help="Documents to use in place of the packages' documentation.")
    ] = "python:",
    seed: Seed = 0,
    overwrite: Overwrite = True,
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Train on the documentation of your Python packages, evaluate on held-out pairs, index, and search."""
    from pretrieve.pipeline.demo import DemoRequest, run

    if not as_json:
        typer.echo("Documents: documentation of the Python packages installed here, read from source, never imported.")
        typer.echo("Labels: none.\n")
    request = DemoRequest(output=output, minutes=minutes, source=source, seed=seed, overwrite=overwrite)
    with working(as_json, output_json) as display:
        done = run(request, display)
        report = _report(done, output)
    facts = _facts(done) | ({"report": str(report)} if report else {})
    if not write_json(facts, as_json, output_json):
        _print(done)
        if report:
            say(f"Its report is {report}.")
        print_next(["pretrieve", "search", str(done.index), "your question"])


def _report(done: Done, output: Path) -> Path | None:
    """The report of the model and its evaluation, where the extra for reports is installed."""
    from pretrieve.core.extras import is_installed

    if not is_installed("jinja2"):
        return None
    from pretrieve.reporting.report import ReportRequest, write_report

    target = output / "report.html"
    write_report(ReportRequest(source=done.model, output=target, examples=0), evaluation=done.result.to_json())
    return target


def _facts(done: Done) -> dict[str, Any]:
    searches = [{"query": query, "hits": [hit.to_json() for hit in hits]} for query, hits in done.searches]
    return {**done.result.to_json(), "model": str(done.model), "index": str(done.index), "searches": searches}


def _print(done: Done) -> None:
    """Print the tables of the held-out pairs, the searches, and where everything is."""
    from pretrieve.cli.search import print_hit
    from pretrieve.cli.tables import print_result

    typer.echo("\nHeld-out pairs: does the first sentence of a docstring find the rest of it? (No training on these.)")
    print_result(done.result)
    for query, hits in done.searches:
        typer.echo(f'\n"{styled(query, bold=True)}"')
        for hit in hits:
            print_hit(hit)
    say(f"The model is in {done.model}, its index in {done.index}.")
