"""``pretrieve read``: train a reader that answers questions from documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

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
from pretrieve.cli.output import print_next, say, working, write_json
from pretrieve.cli.reading import ReadingNoGroups

NAME = "read"
EXAMPLE = "pretrieve read docs/ --questions train.jsonl --model my-model -o my-reader"


def command(
    *,
    sources: SOURCES,
    questions: Annotated[
        Path,
        typer.Option("--questions", help='JSONL lines {"question": ..., "answers": [...]}.', show_default=False),
    ],
    model: Annotated[
        str, typer.Option("--model", help="Retriever to start from: a folder or hub name.", show_default=False)
    ],
    output: OutputFolder,
    reader: Annotated[
        str | None,
        typer.Option(
            "--reader", help="Transformer to start the reader from. (default: the retriever's)", show_default=False
        ),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option("--held-out", help="Questions to evaluate on after training.", show_default=False),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, help="Training steps. (default: 20 passes over the questions)", show_default=False
        ),
    ] = None,
    config: Config = None,
    settings: Settings = None,
    seed: Seed = 0,
    resume: Resume = False,
    overwrite: Overwrite = False,
    tracker: Tracker = "auto",
    keep_workspace: KeepWorkspace = False,
    reading: ReadingNoGroups,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Fine-tune a retriever and a reader together on questions with answers (ORQA, REALM)."""
    from pretrieve.core.config import parse_assignments
    from pretrieve.pipeline.qa.request import ReadRequest
    from pretrieve.pipeline.qa.train_reader import train_reader
    from pretrieve.pipeline.run import processes
    from pretrieve.sampling.question_files import QuestionReport, read_questions

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
        tracker=tracker,
        keep_workspace=keep_workspace,
        device=device,
        on_bad=reading.on_bad,
        file_filter=reading.file_filter(),
        fields=reading.fields(),
    )
    request.check()
    found = QuestionReport()
    labelled = read_questions(held_out, report=found) if held_out is not None else None
    with working(as_json, output_json) as display:
        for line in found.lines(held_out or questions):
            display.note(line)
        report = train_reader(request, display)
        if labelled is not None and processes.current().leads:
            from pretrieve.pipeline.qa.answer import Answerer

            report["held_out"] = Answerer.open(output).evaluate(labelled)
    if not write_json(report, as_json, output_json):
        _print_report(output, report)
        print_next(["pretrieve", "answer", str(output), "your question"])


def _print_report(output: Path, report: dict[str, Any]) -> None:
    from pretrieve.cli.answer import print_scores

    say(
        f"{output}: {report['training']['steps']:,} steps on {report['questions']['read']:,} questions, of which "
        f"{report['questions']['answered_in_documents']:,} have an answer in {report['blocks']:,} blocks."
    )
    if "held_out" in report:
        print_scores(report["held_out"])
