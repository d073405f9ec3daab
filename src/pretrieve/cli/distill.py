"""``pretrieve distill``: a static model of a transformer's, on documents without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pretrieve.cli.options import (
    SOURCES,
    DocumentPrompt,
    GroupField,
    IdField,
    Like,
    MaxLength,
    OnBadOption,
    Overwrite,
    Pooling,
    QueryPrompt,
    Seed,
    Similarity,
    TextField,
    TitleField,
    WithoutTitles,
)

NAME = "distill"
EXAMPLE = "pretrieve distill docs/ --teacher sentence-transformers/all-MiniLM-L6-v2 -o my-static"
_TEACHER, _STUDENT, _TRAINING = "Teacher", "Student", "Training"


def command(
    sources: SOURCES,
    teacher: Annotated[
        str,
        typer.Option("--teacher", help="Folder or hub name of a transformer that encodes texts.", show_default=False),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the model.", show_default=False)],
    teacher_tokens: Annotated[
        int | None,
        typer.Option(
            "--teacher-tokens",
            min=1000,
            help="Tokens of the documents that the teacher reads; its vocabulary comes on top.  [default: 500000]",
            show_default=False,
            rich_help_panel=_TEACHER,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", help="Time that it reads for, instead.", show_default=False, rich_help_panel=_TEACHER
        ),
    ] = None,
    window: Annotated[
        int, typer.Option("--window", min=8, help="Tokens that it reads of a document.", rich_help_panel=_TEACHER)
    ] = 128,
    queries: Annotated[
        int,
        typer.Option(
            "--queries",
            min=1,
            help="Titles, first words, sentences and spans that it reads of a document.",
            rich_help_panel=_TEACHER,
        ),
    ] = 4,
    bfloat16: Annotated[
        bool,
        typer.Option(
            "--bfloat16", help="In half precision: faster where the processor can do it.", rich_help_panel=_TEACHER
        ),
    ] = False,
    dimensions: Annotated[
        int | None,
        typer.Option(
            "--dimensions",
            min=1,
            help="Of its vectors.  [default: the teacher's, 256 at most]",
            show_default=False,
            rich_help_panel=_STUDENT,
        ),
    ] = None,
    words: Annotated[
        int,
        typer.Option(
            "--words",
            min=0,
            help="Frequent words of the documents that the tokenizer splits and that get a vector of their own.",
            rich_help_panel=_STUDENT,
        ),
    ] = 0,
    weighting: Annotated[
        Literal["idf", "sif", "none"],
        typer.Option(
            "--weighting", help="Of token vectors before training, by the documents.", rich_help_panel=_STUDENT
        ),
    ] = "idf",
    stages: Annotated[
        str, typer.Option("--stages", help="What is done, separated by commas.", rich_help_panel=_TRAINING)
    ] = "tokens,distil,contrast",
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of the distillation.", rich_help_panel=_TRAINING)] = 300,
    contrast_steps: Annotated[
        int, typer.Option("--contrast-steps", min=1, help="Of the contrast.", rich_help_panel=_TRAINING)
    ] = 100,
    anchor: Annotated[
        float,
        typer.Option(
            "--anchor", min=0, help="Weight of the distillation loss in the contrast.", rich_help_panel=_TRAINING
        ),
    ] = 1.0,
    judge: Annotated[
        bool,
        typer.Option(
            "--judge/--no-judge",
            help="Hold documents out and save the stage that helps BM25 most; else the last.",
            rich_help_panel=_TRAINING,
        ),
    ] = False,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Set a value of the distillation loss or of its training.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    pooling: Pooling = None,
    similarity: Similarity = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    max_length: MaxLength = None,
    like: Like = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped, bit for bit.")] = False,
    overwrite: Overwrite = False,
    on_bad: OnBadOption = "fail",
    text_field: TextField = None,
    title_field: TitleField = None,
    id_field: IdField = None,
    group_field: GroupField = None,
    without_titles: WithoutTitles = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")] = None,
) -> None:
    """Make a static model of a transformer's on your documents, without labels: it encodes far faster."""
    from pretrieve.cli.tables import print_training
    from pretrieve.core.config import parse_assignments
    from pretrieve.models.text_encoder import ModelOptions
    from pretrieve.pipeline.distill.request import DistillRequest
    from pretrieve.pipeline.run.display import Display
    from pretrieve.pipeline.run.sources import fields_of

    asked = DistillRequest(
        sources=tuple(sources),
        output=output,
        teacher=teacher,
        described=ModelOptions(
            pooling=pooling,
            similarity=similarity,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            max_length=max_length,
            like=like,
        ),
        stages=tuple(name.strip() for name in stages.split(",") if name.strip()),
        teacher_tokens=teacher_tokens,
        minutes=minutes,
        words=words,
        dimensions=dimensions,
        weighting=weighting,
        window=window,
        queries=queries,
        steps=steps,
        contrast_steps=contrast_steps,
        anchor=anchor,
        bfloat16=bfloat16,
        select=judge,
        settings=parse_assignments(settings or []),
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        on_bad=on_bad,
        fields=fields_of(
            text=text_field, title=title_field, identity=id_field, group=group_field, titles=not without_titles
        ),
    )
    asked.check()  # before torch is imported: a wrong option answers at once
    from pretrieve.pipeline.distill.distill import distill

    with Display() as display:
        report = distill(asked, display)
    print_training(report, output)
    if json_file is not None:
        from pretrieve.core.files import to_json, write_file

        write_file(json_file, to_json(report.to_json()))
