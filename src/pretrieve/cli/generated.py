"""The output of ``generate``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pretrieve.cli.output import say

if TYPE_CHECKING:
    from pretrieve.pipeline.generate.generate import GenerateReport
    from pretrieve.pipeline.generate.request import GenerateRequest


def print_generated(report: GenerateReport, request: GenerateRequest) -> None:
    """Print the counts of generated queries, and some examples."""
    counts, documents = report.counts, report.documents
    dropped = [f"{number:,} {reason.replace('_', ' ')}" for reason, number in counts["dropped"].items() if number]
    scored = f", scored by {request.cross_encoder}" if request.cross_encoder else ""
    say(
        f"{request.output}: {report.queries:,} queries for {documents['with_queries']:,} of {documents['prompted']:,} "
        f"documents, {report.negatives:,} hard negatives{scored}."
    )
    say(f"Generated {counts['generated']:,}, kept {counts['kept']:,}, dropped: {', '.join(dropped) or 'none'}.")
    if documents["refused"]:
        say(f"The endpoint refused {documents['refused']:,} documents.")
    say("\nExamples:", lines=True)
    for item in report.examples:
        say(f"  {item['query']}  <-  {item['title'] or item['document']}")
