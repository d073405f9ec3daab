"""``pretrieve train``: documents in, a better retriever out, no labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrieve.cli import completing
from pretrieve.cli.next_commands import after_training
from pretrieve.cli.options import (
    SOURCES,
    Config,
    Device,
    Json,
    KeepWorkspace,
    OutputFolder,
    OutputJson,
    Overwrite,
    Resume,
    Seed,
    Settings,
    Tracker,
)
from pretrieve.cli.output import print_next, working, write_json
from pretrieve.cli.reading import Reading

if TYPE_CHECKING:
    from pretrieve.pipeline.pretrain.report import Report
    from pretrieve.pipeline.pretrain.request import TrainRequest

NAME = "train"
EXAMPLE = "pretrieve train docs/ -o my-model --minutes 1.5"


def command(
    *,
    sources: SOURCES,
    output: OutputFolder,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            autocompletion=completing.methods,
            help="Training method; see `pretrieve methods`. (default: the encoder's usual one)",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            "--base",
            help="Encoder to start from: static, a hub name, a folder, or new:layers=4,hidden=256 (randomly "
            "initialised).",
        ),
    ] = "static",
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Training time. (default: 1.5)", show_default=False)
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Training steps, in place of --minutes.", show_default=False)
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            metavar="FILE",
            help="Repeat the run of a model's recipe.json. Options on the command line override it.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    settings: Settings = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants",
            metavar="NAME,...",
            help="Variants of the default method to train and select from, such as mix,spans. (default: all)",
            show_default=False,
        ),
    ] = None,
    select: Annotated[
        bool, typer.Option("--select/--no-select", help="Choose the saved weights by the label-free probe.")
    ] = True,
    held_out_documents: Annotated[
        int,
        typer.Option(
            "--held-out-documents", min=0, help="Maximum number of documents that are held out for the probe."
        ),
    ] = 400,
    seed: Seed = 0,
    resume: Resume = False,
    overwrite: Overwrite = False,
    tracker: Tracker = "auto",
    keep_workspace: KeepWorkspace = False,
    reading: Reading,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Train a retriever on documents, without labels; the result is a stock sentence-transformers model."""
    from pretrieve.core.config import parse_assignments
    from pretrieve.pipeline.pretrain.request import TrainRequest

    request = TrainRequest(
        sources=tuple(sources),
        output=output,
        method=method,
        base=base,
        minutes=minutes,
        steps=steps,
        settings=parse_assignments(settings or []),
        variants=tuple(name.strip() for name in variants.split(",") if name.strip()) if variants else (),
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        on_bad=reading.on_bad,
        file_filter=reading.file_filter(),
        tracker=tracker,
        keep_workspace=keep_workspace,
        device=device,
        held_out=held_out_documents,
        select=select,
        fields=reading.fields(),
    )
    request.check()  # before torch is imported: invalid options are reported fast
    with working(as_json, output_json) as display:
        from pretrieve.pipeline.pretrain.train import train

        report = train(request, display)
        if recipe is not None and (other := _other_recipe(report, recipe)):
            display.note(other)
    if write_json(report.to_json(), as_json, output_json):
        return
    from pretrieve.cli.tables import print_training

    print_training(report, output)
    print_next(*_next(request, report))


def _other_recipe(report: Report, path: Path) -> str:
    """The reason why a run did not repeat the given recipe, if it did not."""
    from pretrieve.pipeline.run import recipe as recipes

    before = recipes.load(path)
    if report.recipe["fingerprint"] == before.fingerprint:
        return ""
    what = "documents" if report.recipe["corpus"] != before.corpus else "values or variant"
    return f"this run has other {what} than {path}: its model is another one."


def _next(request: TrainRequest, report: Report) -> list[list[str]]:
    """Index and search; a pretraining-only model has no complete next command."""
    from pretrieve.methods import find
    from pretrieve.pipeline.run.sources import source_words

    if find(report.recipe["method"])[0].CARD.pretraining_only:
        typer.echo("\nThis model needs fine-tuning before it can search well: see `pretrieve finetune --help`.")
        return []
    return after_training(request.sources, str(request.output), source_words(request))
