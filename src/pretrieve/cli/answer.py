"""``pretrieve answer``: answer a question from documents, or evaluate a reader on questions with answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pretrieve.cli.options import Device, Json, OutputJson
from pretrieve.cli.output import say, styled, working, write_json

NAME = "answer"
EXAMPLE = 'pretrieve answer my-reader "When did the oil crisis begin?"'


def command(
    reader: Annotated[Path, typer.Argument(metavar="READER", help="Output of `pretrieve read`.", show_default=False)],
    question: Annotated[str | None, typer.Argument(help="Question to answer.", show_default=False)] = None,
    questions: Annotated[
        Path | None,
        typer.Option("--questions", help="Evaluate on a file of questions with answers.", show_default=False),
    ] = None,
    patterns: Annotated[
        bool, typer.Option("--patterns", help="Answers in the file are regular expressions (CuratedTrec).")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Answer a question, with the text that holds the answer; or evaluate exact match and answer recall."""
    from pretrieve.models.devices import using
    from pretrieve.sampling.question_files import QuestionReport, read_questions

    _check(question, questions)
    found = QuestionReport()
    labelled = read_questions(questions, report=found) if questions is not None else None
    with working(as_json, output_json) as display, using(device):
        for line in found.lines(questions or Path()):
            display.note(line)
        from pretrieve.pipeline.qa.answer import Answerer

        answerer = Answerer.open(reader)
        if labelled is not None:
            scores = answerer.evaluate(labelled, patterns=patterns)
        else:
            (answer,) = answerer.answer([question or ""])
    if labelled is not None:
        if not write_json(scores, as_json, output_json):
            print_scores(scores)
        return
    if not write_json(answer.to_json(), as_json, output_json):
        typer.echo(f"{styled(answer.text, bold=True)}   {styled(answer.title or answer.id, dim=True)}")
        say(answer.block, lines=True)


def _check(question: str | None, questions: Path | None) -> None:
    from pretrieve.core.errors import UsageError

    if (question is None) == (questions is None):
        raise UsageError("give a question, or a file by --questions.")


def print_scores(scores: dict[str, Any]) -> None:
    """Print exact match and answer recall, in percent."""
    recall = ", ".join(f"@{cut} {value:.1%}" for cut, value in scores["answer_recall"].items())
    typer.echo(f"{scores['questions']:,} questions: exact match {scores['exact_match']:.1%}; answer recall {recall}")
