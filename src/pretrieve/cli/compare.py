"""``pretrieve compare``: every method from one base, on the same documents, tokens and seeds; one fair table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli import completing
from pretrieve.cli.finetune import negatives_metavar
from pretrieve.cli.options import (
    SOURCES,
    Config,
    CsvTable,
    Device,
    Html,
    Json,
    Latex,
    OutputFolder,
    OutputJson,
    PerQuery,
)
from pretrieve.cli.output import say, working, write_json
from pretrieve.cli.reading import Reading

NAME = "compare"
EXAMPLE = "pretrieve compare docs/ --methods none,mlm,contriever-inbatch --benchmark beir-folder -o report"


def command(
    *,
    sources: SOURCES,
    benchmark: Annotated[
        Path,
        typer.Option("--benchmark", help="BEIR folder to evaluate on, and to take labels from.", show_default=False),
    ],
    output: OutputFolder,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            metavar="NAME,...",
            autocompletion=completing.several(completing.methods_or_none),
            help="Methods to compare; none is the base without training.",
        ),
    ] = "none,mlm,orqa-ict,contriever-inbatch,condenser,cocondenser,retromae,mvr,realm",
    base: Annotated[
        str,
        typer.Option(
            "--base", help="Encoder that all methods start from: new:layers=..., a folder, a hub name, or static."
        ),
    ] = "new:layers=2,hidden=128,dropout=0",
    tokens: Annotated[
        int | None,
        typer.Option("--tokens", min=1, help="Training tokens of every method. (default: 1000000)", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, help="Training steps of every method, in place of --tokens.", show_default=False
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Split to evaluate on.")] = "test",
    finetune: Annotated[
        str, typer.Option("--finetune", help="Split to fine-tune on; empty: no fine-tuning.")
    ] = "train",
    labels: Annotated[
        str, typer.Option("--labels", metavar="N,...", help="Numbers of labelled queries to fine-tune with.")
    ] = "100,1000,all",
    negatives: Annotated[
        str,
        typer.Option(
            "--negatives",
            metavar=negatives_metavar("given"),
            autocompletion=completing.negatives("given"),
            help="Hard negatives of fine-tuning.",
        ),
    ] = "bm25",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Number of seeds, from 0.")] = 3,
    config: Config = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[METHOD.]KEY=VALUE",
            help="Set a value of pre-training, for all methods or for one. Repeatable.",
            show_default=False,
        ),
    ] = None,
    tuning: Annotated[
        list[str] | None,
        typer.Option("--tune", metavar="KEY=VALUE", help="Set a value of fine-tuning. Repeatable.", show_default=False),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="Metric, in the notation of ir-measures.")] = "nDCG@10",
    reading: Reading,
    per_query: PerQuery = None,
    latex: Latex = None,
    csv: CsvTable = None,
    html: Html = None,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Compare pre-training methods under the same conditions; the same command resumes, and a larger one adds to it."""
    from pretrieve.cli.evaluation_files import EvaluationFiles
    from pretrieve.core.config import parse_assignments
    from pretrieve.pipeline.compare.request import CompareRequest

    request = CompareRequest(
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
        device=device,
        on_bad=reading.on_bad,
        file_filter=reading.file_filter(),
        fields=reading.fields(),
    )
    request.check()
    files = EvaluationFiles(per_query=per_query, latex=latex, csv=csv, html=html, json=output_json)
    files.check(benchmark, sources, as_json=as_json)
    with working(as_json or files.prints, output_json) as display:
        from pretrieve.pipeline.compare.compare import compare
        from pretrieve.pipeline.compare.report import report, reported

        scores = reported(request, compare(request, display))
    table = report(request, scores)
    files.write_comparison(request, table, scores)
    if not write_json(table.to_json(), as_json, output_json) and not files.prints:
        say(table.markdown(), lines=True)
        say(f"{output}: {', '.join(path.name for path in sorted(output.glob('report.*')))} and rankings")
    files.write_report(output)


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
