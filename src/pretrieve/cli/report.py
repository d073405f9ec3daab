"""``pretrieve report``: one HTML file on a model, a reader, a comparison, an evaluation or generated queries."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli.options import Json, OutputJson
from pretrieve.cli.output import say, working, write_json

NAME = "report"
EXAMPLE = "pretrieve report my-model -o report.html"


def command(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|COMPARISON|EVALUATION",
            help="Folder of a model, a reader or a comparison, what `evaluate --output-json` wrote, or the file that "
            "`generate` wrote.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="HTML file to write.")] = Path(
        "report.html"
    ),
    evaluations: Annotated[
        list[Path] | None,
        typer.Option(
            "--evaluation",
            metavar="FILE",
            help="Show an evaluation of the model too, from `evaluate --output-json`. Repeatable.",
            show_default=False,
        ),
    ] = None,
    benchmark: Annotated[
        Path | None,
        typer.Option(
            "--benchmark",
            help="BEIR folder that was evaluated on, for texts of queries and ranked lists.",
            show_default=False,
        ),
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            metavar="FILE",
            help="Of an evaluation, from `evaluate --run`: two, shown query by query.",
            show_default=False,
        ),
    ] = None,
    examples: Annotated[
        int | None,
        typer.Option(
            "--examples",
            min=0,
            max=50,
            help="Training examples to show; reads the documents again. (default: 3, none of large sources)",
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            "--pictures",
            metavar="FOLDER",
            help="Write the charts as SVG too, and as PNG with the extra pictures.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Write one HTML file: was it trained, did it help, how sure is that; with its data as JSON beside it."""
    from pretrieve.reporting.report import ReportRequest, write_report

    request = ReportRequest(
        source=source,
        output=output,
        evaluations=tuple(evaluations or ()),
        benchmark=benchmark,
        runs=tuple(runs or ()),
        examples=examples,
        pictures=pictures,
    )
    begun = time.perf_counter()
    with working(as_json, output_json) as display:
        page, data = write_report(request, display)
    if write_json(page.to_json(), as_json, output_json):
        return
    for line in page.verdict:
        say(line)
    took = f"{output.stat().st_size / 1000:,.0f} kB, {time.perf_counter() - begun:.1f} s"
    say(f"{output} ({took}), and its data: {data}")
    if pictures is not None:
        say(_pictures(pictures, sum(len(section.charts) for section in page.sections)))


def _pictures(folder: Path, count: int) -> str:
    """What was written, and how to get the rest."""
    from pretrieve.core.extras import install_command, is_installed

    more = "SVG and PNG" if is_installed("matplotlib") else f"SVG; for PNG: {install_command('pictures')}, and again"
    return f"{folder}: {count} charts as {more}"
