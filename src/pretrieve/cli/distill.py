"""``pretrieve distill``: a static model of a transformer's, on documents without labels."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pretrieve.cli import completing
from pretrieve.cli.next_commands import after_training
from pretrieve.cli.options import (
    SOURCES,
    Config,
    Device,
    DocumentPrompt,
    Json,
    KeepWorkspace,
    Like,
    MaxLength,
    OutputFolder,
    OutputJson,
    Overwrite,
    Pooling,
    QueryPrompt,
    Resume,
    Seed,
    Settings,
    Similarity,
    Tracker,
)
from pretrieve.cli.output import print_next, working, write_json
from pretrieve.cli.reading import ReadingNoWikipedia

NAME = "distill"
EXAMPLE = "pretrieve distill docs/ --teacher sentence-transformers/all-MiniLM-L6-v2 -o my-static"
_TEACHER, _STUDENT, _TRAINING = "Teacher", "Student", "Training"


def command(
    *,
    sources: SOURCES,
    teacher: Annotated[
        str,
        typer.Option("--teacher", help="Transformer to distil: a folder or hub name.", show_default=False),
    ],
    output: OutputFolder,
    teacher_tokens: Annotated[
        int | None,
        typer.Option(
            "--teacher-tokens",
            min=1000,
            help="Document tokens that the teacher encodes, beside its vocabulary. (default: 500000)",
            show_default=False,
            rich_help_panel=_TEACHER,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="Time for encoding, in place of --teacher-tokens.",
            show_default=False,
            rich_help_panel=_TEACHER,
        ),
    ] = None,
    window: Annotated[
        int,
        typer.Option("--window", min=8, help="Maximum number of tokens of a passage.", rich_help_panel=_TEACHER),
    ] = 128,
    queries: Annotated[
        int,
        typer.Option(
            "--queries",
            min=1,
            help="Titles, first words, sentences and spans to encode for each document.",
            rich_help_panel=_TEACHER,
        ),
    ] = 4,
    bfloat16: Annotated[
        bool,
        typer.Option("--bfloat16", help="Run the teacher in bfloat16.", rich_help_panel=_TEACHER),
    ] = False,
    dimensions: Annotated[
        int | None,
        typer.Option(
            "--dimensions",
            min=1,
            help="Dimensions of the vectors. (default: the teacher's, at most 256)",
            show_default=False,
            rich_help_panel=_STUDENT,
        ),
    ] = None,
    words: Annotated[
        int,
        typer.Option(
            "--words",
            min=0,
            help="Number of frequent words to add to the vocabulary that the tokenizer splits.",
            rich_help_panel=_STUDENT,
        ),
    ] = 0,
    weighting: Annotated[
        Literal["idf", "sif", "none"],
        typer.Option("--weighting", help="Weights of the token vectors before training.", rich_help_panel=_STUDENT),
    ] = "idf",
    stages: Annotated[
        str,
        typer.Option(
            "--stages",
            metavar="NAME,...",
            autocompletion=completing.several(completing.stages),
            help="Stages to run.",
            rich_help_panel=_TRAINING,
        ),
    ] = "tokens,distil,contrast",
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Steps of the distillation.", rich_help_panel=_TRAINING)
    ] = 300,
    contrast_steps: Annotated[
        int,
        typer.Option("--contrast-steps", min=1, help="Steps of the contrastive stage.", rich_help_panel=_TRAINING),
    ] = 100,
    anchor: Annotated[
        float,
        typer.Option(
            "--anchor",
            min=0,
            help="Weight of the distillation loss in the contrastive stage.",
            rich_help_panel=_TRAINING,
        ),
    ] = 1.0,
    select: Annotated[
        bool,
        typer.Option(
            "--select/--no-select",
            help="Choose the saved stage by the label-free probe; otherwise save the last.",
            rich_help_panel=_TRAINING,
        ),
    ] = False,
    config: Config = None,
    settings: Settings = None,
    pooling: Pooling = None,
    similarity: Similarity = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    max_length: MaxLength = None,
    like: Like = None,
    seed: Seed = 0,
    resume: Resume = False,
    overwrite: Overwrite = False,
    tracker: Tracker = "auto",
    keep_workspace: KeepWorkspace = False,
    reading: ReadingNoWikipedia,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Distil a transformer into a static model on your documents, without labels: it encodes far faster."""
    from pretrieve.core.config import parse_assignments
    from pretrieve.models.text_encoder import ModelOptions
    from pretrieve.pipeline.distill.request import DistillRequest
    from pretrieve.pipeline.run.sources import source_words

    request = DistillRequest(
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
        select=select,
        settings=parse_assignments(settings or []),
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        tracker=tracker,
        keep_workspace=keep_workspace,
        device=device,
        on_bad=reading.on_bad,
        file_filter=reading.file_filter(),
        fields=reading.fields(),
    )
    request.check()  # before torch is imported: invalid options are reported fast
    with working(as_json, output_json) as display:
        from pretrieve.pipeline.distill.distill import distill

        report = distill(request, display)
    if write_json(report.to_json(), as_json, output_json):
        return
    from pretrieve.cli.tables import print_training

    print_training(report, output)
    print_next(*after_training(sources, str(output), source_words(request)))
