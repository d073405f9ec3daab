"""``pretrieve train``: documents in, a better retriever out, no labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli.options import (
    SOURCES,
    GroupField,
    IdField,
    OnBadOption,
    Overwrite,
    Seed,
    TextField,
    TitleField,
    Wikipedia,
    WithoutTitles,
)

NAME = "train"
EXAMPLE = "pretrieve train docs/ -o my-model --minutes 1.5"


def command(
    sources: SOURCES,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the model.", show_default=False)],
    method: Annotated[
        str | None,
        typer.Option(
            "--method", help="See `pretrieve methods`.  [default: what suits the encoder]", show_default=False
        ),
    ] = None,
    base: Annotated[
        str,
        typer.Option(
            "--base", help="static, a hub name, a folder, or new:layers=4,hidden=256 (a transformer from nothing)."
        ),
    ] = "static",
    minutes: Annotated[
        float | None, typer.Option("--minutes", min=0.01, help="Time to train for.  [default: 1.5]", show_default=False)
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps to train for, instead of minutes.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the method, the encoder or the training."),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            "--variants",
            metavar="NAMES",
            help="Variants of the default to train and choose from, such as mix,hard.  [default: all]",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, bit for bit.")] = False,
    overwrite: Overwrite = False,
    judge: Annotated[
        bool, typer.Option("--judge/--no-judge", help="Choose what is saved by the label-free probe.")
    ] = True,
    tracker: Annotated[
        str,
        typer.Option("--tracker", help="Where curves go: auto (TensorBoard where installed), none, wandb, mlflow ..."),
    ] = "auto",
    on_bad: OnBadOption = "fail",
    text_field: TextField = None,
    title_field: TitleField = None,
    id_field: IdField = None,
    group_field: GroupField = None,
    without_titles: WithoutTitles = False,
    wikipedia: Wikipedia = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")] = None,
) -> None:
    """Train a retriever on documents, without labels, and keep it as a stock sentence-transformers model."""
    from pretrieve.cli.tables import print_training
    from pretrieve.core.config import parse_assignments
    from pretrieve.pipeline.pretrain.request import TrainRequest, train_command
    from pretrieve.pipeline.run.display import Display
    from pretrieve.pipeline.run.sources import fields_of

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
        on_bad=on_bad,
        tracker=tracker,
        select=judge,
        fields=fields_of(
            text=text_field,
            title=title_field,
            identity=id_field,
            group=group_field,
            titles=not without_titles,
            wikipedia=wikipedia,
        ),
    )
    request.check()  # before torch is imported: a wrong option answers at once
    from pretrieve.pipeline.pretrain.train import train

    with Display() as display:
        report = train(request, display, command=train_command(request))
    print_training(report, output)
    if json_file is not None:
        from pretrieve.core.files import to_json, write_file

        write_file(json_file, to_json(report.to_json()))
