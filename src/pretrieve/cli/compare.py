"""``pretrieve compare``: every method from one base, on the same documents, tokens and seeds; one fair table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pretrieve.cli.options import SOURCES

NAME = "compare"
EXAMPLE = "pretrieve compare docs/ --methods none,mlm,contriever-inbatch --benchmark beir-folder -o report"


def command(
    sources: SOURCES,
    benchmark: Annotated[
        Path, typer.Option("--benchmark", help="BEIR folder to judge on, and to take labels from.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the report.", show_default=False)],
    methods: Annotated[
        str, typer.Option("--methods", help="Presets by comma; none is the base as it is.")
    ] = "none,mlm,orqa-ict,contriever-inbatch,condenser,cocondenser,retromae,mvr,realm",
    base: Annotated[
        str, typer.Option("--base", help="What all start from: new:layers=..., a folder, a hub name, static.")
    ] = "new:layers=2,hidden=128,dropout=0",
    tokens: Annotated[
        int | None, typer.Option("--tokens", min=1, help="That every method sees; 1,000,000 if not said.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="That every method takes, instead of --tokens.")
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Split to judge on.")] = "test",
    finetune: Annotated[str, typer.Option("--finetune", help="Split to take labels from; empty: none.")] = "train",
    labels: Annotated[str, typer.Option("--labels", help="Numbers of labelled queries by comma.")] = "100,1000,all",
    negatives: Annotated[
        Literal["none", "bm25", "mined", "ance"], typer.Option("--negatives", help="Of fine-tuning.")
    ] = "bm25",
    seeds: Annotated[int, typer.Option("--seeds", min=1)] = 1,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="[METHOD.]KEY=VALUE", help="Of pre-training: for all methods, or for one."),
    ] = None,
    tuning: Annotated[
        list[str] | None, typer.Option("--tune", metavar="KEY=VALUE", help="Of fine-tuning; see `pretrieve finetune`.")
    ] = None,
    metric: Annotated[str, typer.Option("--metric")] = "nDCG@10",
) -> None:
    """Compare pre-training methods fairly; stopped, it goes on; asked for more, it adds only what is missing."""
    from pretrieve.core.config import parse_assignments
    from pretrieve.core.extras import install_command
    from pretrieve.pipeline.compare.request import CompareRequest
    from pretrieve.pipeline.run.display import Display

    asked = CompareRequest(
        sources=tuple(sources),
        methods=tuple(part.strip() for part in methods.split(",") if part.strip()),
        base=base,
        tokens=_tokens(tokens, steps) or CompareRequest.tokens,
        steps=steps,
        benchmark=benchmark,
        output=output,
        split=split,
        finetune=finetune,
        labels=_numbers(labels),
        negatives=negatives,
        seeds=seeds,
        settings=parse_assignments(settings or []),
        tuning=parse_assignments(tuning or []),
        metric=metric,
    )
    asked.check()
    from pretrieve.pipeline.compare.compare import compare, report

    with Display() as display:
        table = report(asked, compare(asked, display))
    typer.echo(table.markdown())
    if (output / "report.svg").is_file():
        typer.echo(f"{output}: report.md, report.json and report.svg")
    else:
        typer.echo(f"{output}: report.md and report.json; for a picture: {install_command('pictures')}, and again")


def _tokens(tokens: int | None, steps: int | None) -> int | None:
    from pretrieve.core.errors import UsageError

    if tokens is not None and steps is not None:
        raise UsageError("give --tokens or --steps, not both.")
    return tokens


def _numbers(labels: str) -> tuple[int, ...]:
    from pretrieve.core.errors import UsageError

    parts = [part.strip() for part in labels.split(",") if part.strip()]
    if not all(part == "all" or (part.isdecimal() and int(part) > 1) for part in parts):
        raise UsageError(f"--labels {labels}: numbers from 2, and all, by comma.")
    return tuple(0 if part == "all" else int(part) for part in parts)
