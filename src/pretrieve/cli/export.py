"""``pretrieve export``: a model for onnxruntime, in the layout that sentence-transformers loads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pretrieve.cli.options import Json, OutputFolder, OutputJson, Overwrite, Split
from pretrieve.cli.output import say, working, write_json

if TYPE_CHECKING:
    from pretrieve.evaluation.result import Result
    from pretrieve.pipeline.export.request import ExportReport

NAME = "export"
EXAMPLE = "pretrieve export sentence-transformers/all-MiniLM-L6-v2 -o my-onnx --int8 --benchmark beir-folder"


def command(
    model: Annotated[
        str,
        typer.Argument(help="Transformer to export: a folder or hub name.", show_default=False),
    ],
    output: OutputFolder,
    to: Annotated[Literal["onnx"], typer.Option("--to", help="Format of the graph.")] = "onnx",
    int8: Annotated[
        bool, typer.Option("--int8", help="Write a graph with int8 weights too, and measure what it costs.")
    ] = False,
    benchmark: Annotated[
        Path | None,
        typer.Option(
            "--benchmark",
            metavar="BEIR_FOLDER",
            help="With --int8: print nDCG@10 of both graphs on this labelled collection, and a paired test.",
            show_default=False,
        ),
    ] = None,
    split: Split = "test",
    documents: Annotated[
        list[str] | None,
        typer.Option(
            "--documents",
            metavar="SOURCE",
            help="With --int8 and without labels: print nDCG@10 on queries taken out of these documents. Repeatable.",
            show_default=False,
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Export a transformer to ONNX, as a folder that sentence-transformers loads, and check it against torch."""
    from pretrieve.pipeline.export.request import ExportRequest

    request = ExportRequest(
        model=model,
        output=output,
        to=to,
        int8=int8,
        benchmark=benchmark,
        split=split,
        documents=tuple(documents or ()),
        overwrite=overwrite,
    )
    request.check()  # before torch is imported: invalid options are reported fast
    with working(as_json, output_json) as display:
        from pretrieve.pipeline.export.export import export

        report, result = export(request, display)
    if not write_json({"output": str(output), **report.to_json()}, as_json, output_json):
        _print(request.output, report, result)


def _print(output: Path, report: ExportReport, result: Result | None) -> None:
    """The files, how they agree with torch and with each other, and how they are loaded."""
    from pretrieve.pipeline.export.cost import LIMIT

    for name, size in report.files.items():
        say(f"{output / name}: {size / 1e6:.1f} MB")
    shortest, longest = report.tokens
    say(
        f"fp32 against torch: largest difference {report.difference:.1e} (at most {LIMIT:.0e} is accepted), on "
        f"{report.texts} texts of {shortest} to {longest} tokens, padded and alone"
    )
    if report.cosine is not None:
        say(f"int8 against fp32: cosine {report.cosine['mean']:.4f} on average, {report.cosine['lowest']:.4f} at least")
    speed = ", ".join(f"{name} {rate:.1f}" for name, rate in report.speed.items())
    ratio = f" (int8: {report.speed['int8'] / report.speed['fp32']:.2f} times fp32)" if report.cosine else ""
    say(f"texts a second, in one run: {speed}{ratio}")
    _print_cost(report, result)
    file_name = ', model_kwargs={"file_name": "model_qint8.onnx"}' if report.cosine else ""
    load = f'SentenceTransformer("{output}", backend="onnx"{file_name})'
    say(f"\nLoad it with {load}; docs/howto/onnx.md says which versions.", lines=True)


def _print_cost(report: ExportReport, result: Result | None) -> None:
    """The table of the evaluation, and what int8 costs."""
    if report.cosine is None:
        return
    if result is not None:
        from pretrieve.cli.tables import print_result

        print_result(result)
    if report.cost is None:
        say("cost of int8 in nDCG@10: not measured; give --benchmark BEIR_FOLDER, or --documents of 20 or more texts")
        return
    found = report.cost
    low, high = found["ci95"]
    say(
        f"cost of int8 in nDCG@10, on {found['queries']:,} queries ({found['on']}): {found['fp32']:.4f} to "
        f"{found['int8']:.4f}, {found['difference']:+.4f} ({low:+.4f} to {high:+.4f}), p = {found['p']:.4f}"
    )
