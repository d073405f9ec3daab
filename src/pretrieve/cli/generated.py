"""What ``generate`` prints when it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from pretrieve.pipeline.generate.generate import GenerateReport
    from pretrieve.pipeline.generate.request import GenerateRequest


def print_generated(report: GenerateReport, asked: GenerateRequest) -> None:
    """Print what became of the queries, some of them, and the command that learns from them."""
    counts, documents = report.counts, report.documents
    dropped = [f"{number:,} {reason}" for reason, number in counts["dropped"].items() if number]
    scored = f", scored by {asked.cross_encoder}" if asked.cross_encoder else ""
    typer.echo(
        f"{asked.output}: {report.queries:,} queries for {documents['with queries']:,} of {documents['asked']:,} "
        f"documents, {report.negatives:,} hard negatives{scored}."
    )
    typer.echo(f"Generated {counts['generated']:,}, kept {counts['kept']:,}, dropped: {', '.join(dropped) or 'none'}.")
    if documents["refused"]:
        typer.echo(f"The endpoint refused {documents['refused']:,} documents.")
    typer.echo("\nExamples:")
    for item in report.examples:
        typer.echo(f"  {item['query']}  <-  {item['title'] or item['document']}")
    typer.echo(f"\nNext:\n  {asked.next_command()}")
