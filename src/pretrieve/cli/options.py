"""The options that several commands share, written once."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import typer

OnBad = Literal["fail", "skip", "quarantine"]
Mode = Literal["hybrid", "dense", "lexical"]


class ModeName(StrEnum):
    """The same modes, as typer needs them for an option that is given several times."""

    hybrid = "hybrid"
    dense = "dense"
    lexical = "lexical"


SOURCES = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Documents: a file or folder of JSONL, Parquet, CSV, TSV (also .gz, .zst), text, Markdown, HTML; a BEIR "
        "folder; python: or python:numpy,torch (installed packages' documentation); hf:NAME (a hub data set).",
        show_default=False,
    ),
]
OnBadOption = Annotated[
    OnBad,
    typer.Option(
        "--on-bad",
        help="A record that cannot be read: stop, skip and count it, or put it aside in a file with its reason.",
    ),
]
TextField = Annotated[str | None, typer.Option("--text-field", help="Name of the field that holds the text.")]
TitleField = Annotated[str | None, typer.Option("--title-field", help="Name of the field that holds the title.")]
IdField = Annotated[str | None, typer.Option("--id-field", help="Name of the field that holds the id.")]
GroupField = Annotated[
    str | None, typer.Option("--group-field", help="Name of the field that holds the language or another group.")
]
Seed = Annotated[int, typer.Option("--seed", help="All randomness comes from it: the same seed gives the same model.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is at the output.")]
Wikipedia = Annotated[
    bool,
    typer.Option("--wikipedia", help="Read HTML entities, leave out lists and pages of disambiguation, as ORQA does."),
]
WithoutTitles = Annotated[bool, typer.Option("--without-titles", help="Leave the titles of the documents out.")]
Pooling = Annotated[
    Literal["mean", "cls", "lasttoken", "max"] | None,
    typer.Option("--pooling", help="For a model that does not say it.", show_default=False),
]
Similarity = Annotated[
    Literal["dot", "cosine"] | None,
    typer.Option("--similarity", help="For a model that does not say it.", show_default=False),
]
QueryPrompt = Annotated[str | None, typer.Option("--query-prompt", help="Put before each query.", show_default=False)]
DocumentPrompt = Annotated[
    str | None, typer.Option("--document-prompt", help="Put before each document.", show_default=False)
]
Like = Annotated[
    str | None,
    typer.Option("--like", help="Published checkpoint that the model is a copy of.", show_default=False),
]
MaxLength = Annotated[
    int | None, typer.Option("--max-length", min=1, help="Cut texts after so many tokens.", show_default=False)
]
