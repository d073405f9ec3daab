"""``pretrieve read``: learn to answer questions from documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli.options import (
    SOURCES,
    IdField,
    OnBadOption,
    Overwrite,
    Seed,
    TextField,
    TitleField,
    Wikipedia,
    WithoutTitles,
)

NAME = "read"
EXAMPLE = "pretrieve read docs/ --questions train.jsonl --model my-model -o my-reader"


def command(
    sources: SOURCES,
    questions: Annotated[
        Path,
        typer.Option("--questions", help='JSONL lines {"question": ..., "answers": [...]}.', show_default=False),
    ],
    model: Annotated[
        str, typer.Option("--model", help="The retriever to start from: a folder or hub name.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the reader.", show_default=False)],
    reader: Annotated[
        str | None,
        typer.Option(
            "--reader", help="A transformer to read with.  [default: the retriever's own]", show_default=False
        ),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option("--held-out", help="Questions to judge with when training is done.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Updates.  [default: 20 times through the questions]", show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the reading or the training."),
    ] = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, bit for bit.")] = False,
    overwrite: Overwrite = False,
    on_bad: OnBadOption = "fail",
    text_field: TextField = None,
    title_field: TitleField = None,
    id_field: IdField = None,
    without_titles: WithoutTitles = False,
    wikipedia: Wikipedia = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")] = None,
) -> None:
    """Fine-tune a retriever and a reader together on questions with answers (ORQA, REALM)."""
    from pretrieve.cli.answer import print_judgement
    from pretrieve.core.config import parse_assignments
    from pretrieve.pipeline.qa.train_reader import ReadRequest, train_reader
    from pretrieve.pipeline.run.display import Display
    from pretrieve.pipeline.run.sources import fields_of
    from pretrieve.sampling.questions import read_questions

    request = ReadRequest(
        sources=tuple(sources),
        questions=questions,
        model=model,
        output=output,
        reader=reader,
        steps=steps,
        settings=parse_assignments(settings or []),
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        on_bad=on_bad,
        fields=fields_of(
            text=text_field,
            title=title_field,
            identity=id_field,
            group=None,
            titles=not without_titles,
            wikipedia=wikipedia,
        ),
    )
    judged = read_questions(held_out) if held_out is not None else None
    with Display() as display:
        report = train_reader(request, display)
    typer.echo(
        f"{output}: {report['training']['steps']:,} steps on {report['questions']['read']:,} questions, of which "
        f"{report['questions']['answered in the documents']:,} have an answer in {report['blocks']:,} blocks."
    )
    if judged is not None:
        from pretrieve.pipeline.qa.answer import Answerer

        report["held out"] = Answerer.open(output).evaluate(judged)
        print_judgement(report["held out"])
    if json_file is not None:
        from pretrieve.core.files import to_json, write_file

        write_file(json_file, to_json(report))
    typer.echo(f'\nNext:  pretrieve answer {output} "your question"')
