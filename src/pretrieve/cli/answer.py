"""``pretrieve answer``: answer a question from documents, or judge a reader on questions with answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

NAME = "answer"
EXAMPLE = 'pretrieve answer my-reader "When did the oil crisis begin?"'


def command(
    reader: Annotated[Path, typer.Argument(metavar="READER", help="What `pretrieve read` made.", show_default=False)],
    question: Annotated[str | None, typer.Argument(help="What you want to know.", show_default=False)] = None,
    questions: Annotated[
        Path | None,
        typer.Option("--questions", help="Judge on a file of questions with answers instead.", show_default=False),
    ] = None,
    patterns: Annotated[
        bool, typer.Option("--patterns", help="The answers of the file are regular expressions (CuratedTrec).")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Answer a question, and show the text that the answer was read in; or judge exact match and answer recall.

    Raises:
        UsageError: neither a question nor a file was given, or both.
    """
    from pretrieve.core.errors import UsageError
    from pretrieve.core.files import to_json
    from pretrieve.sampling.questions import read_questions

    if (question is None) == (questions is None):
        raise UsageError("give a question, or a file by --questions.")
    asked = read_questions(questions) if questions is not None else None
    from pretrieve.pipeline.qa.answer import Answerer

    answerer = Answerer.open(reader)
    if asked is not None:
        judged = answerer.evaluate(asked, patterns=patterns)
        if as_json:
            typer.echo(to_json(judged).decode(), nl=False)
        else:
            print_judgement(judged)
        return
    (answer,) = answerer.answer([question or ""])
    if as_json:
        typer.echo(to_json(answer.to_json()).decode(), nl=False)
        return
    typer.echo(f"{typer.style(answer.text, bold=True)}   {typer.style(f'{answer.title or answer.id}', dim=True)}")
    typer.echo(answer.block)


def print_judgement(judged: dict[str, Any]) -> None:
    """Print exact match and answer recall, in percent."""
    recall = ", ".join(f"@{cut} {value:.1%}" for cut, value in judged["answer_recall"].items())
    typer.echo(f"{judged['questions']:,} questions: exact match {judged['exact_match']:.1%}; answer recall {recall}")
