"""The options that several commands share, declared once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from pretrieve.cli import completing

OnBad = Literal["auto", "fail", "skip", "quarantine"]
Mode = Literal["hybrid", "dense", "lexical"]


class ModeName(StrEnum):
    """The same modes, as typer needs them for an option that is given several times."""

    hybrid = "hybrid"
    dense = "dense"
    lexical = "lexical"


# What a run reads and writes.
SOURCES = Annotated[
    list[str],
    typer.Argument(
        metavar="SOURCE...",
        help="Documents: a file or folder of JSONL, Parquet, CSV, TSV (also .gz, .zst), text, Markdown, HTML, PDF, "
        "Office files, EPUB, XML; a BEIR folder; an address (https://, s3://); python: or python:numpy,torch "
        "(documentation of installed packages); hf:NAME (a data set of the hub); beir:NAME or "
        "ir_datasets:NAME (documents of a collection).",
        show_default=False,
    ),
]
LABELS = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS",
        help="A BEIR folder, beir:NAME, ir_datasets:NAME, or a file of queries with positives and optional negatives "
        "or labels: JSONL, JSON, CSV, TSV or Parquet (also .gz, .zst); docs/labels.md shows the formats.",
        show_default=False,
    ),
]
OutputFolder = Annotated[
    Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder for the result.", show_default=False)
]
OutputFile = Annotated[
    Path, typer.Option("-o", "--output", metavar="FILE", help="File for the result.", show_default=False)
]
PerQuery = Annotated[
    Path | None,
    typer.Option(
        "--per-query",
        metavar="FILE",
        help="Write the values of each query as CSV, or as Parquet where the name ends in .parquet.",
        show_default=False,
    ),
]
Latex = Annotated[
    Path | None,
    typer.Option(
        "--latex",
        metavar="FILE",
        help="Write the table for LaTeX, with intervals and marks of significance; - prints it.",
        show_default=False,
    ),
]
CsvTable = Annotated[
    Path | None,
    typer.Option("--csv", metavar="FILE", help="Write the same table as CSV; - prints it.", show_default=False),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        help="Write its report too, one HTML file as of `pretrieve report`; needs the extra `report`.",
        show_default=False,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume an interrupted run; the result is the same.")]
Split = Annotated[str, typer.Option("--split", help="Split of a BEIR folder.")]
MoreDocuments = Annotated[
    list[str] | None,
    typer.Option(
        "--documents",
        metavar="SOURCE",
        help="Further documents to draw negatives from, and those that a file of labels names by id. Repeatable.",
        show_default=False,
    ),
]

# How a run is set.
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML or JSON file with options by name and settings by dotted name (training.learning_rate). Options on "
        "the command line override it.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a value by name or dotted name, such as training.learning_rate=0.001. Repeatable.",
        show_default=False,
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="NAME",
        autocompletion=completing.devices,
        help="Where to compute: auto (an accelerator if there is one), cpu, cuda, cuda:1, mps, xpu.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all randomness.")]
KeepWorkspace = Annotated[
    bool,
    typer.Option(
        "--keep-workspace",
        help="Keep documents, tokens and checkpoints of a finished run in OUTPUT.work. They hold the text.",
    ),
]
Tracker = Annotated[
    str,
    typer.Option(
        "--tracker",
        autocompletion=completing.trackers,
        help="Experiment tracker: auto (TensorBoard if installed), none, tensorboard, wandb, mlflow, ...",
    ),
]

# How documents are read.
OnBadOption = Annotated[
    OnBad,
    typer.Option(
        "--on-bad",
        help="Unreadable record: stop, skip it, or write it to a file with the reason; auto stops for a file that is "
        "named, and skips in folders and archives.",
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Read only the files of folders that match, such as '*.md' or 'docs/**'. Repeatable.",
        show_default=False,
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", metavar="PATTERN", help="Leave out files and folders that match. Repeatable.", show_default=False
    ),
]
NoIgnore = Annotated[
    bool,
    typer.Option(
        "--no-ignore",
        help="Read hidden files, installed packages, and what .gitignore names, too.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAME,...",
        help="Names of the columns of CSV and TSV without a header, in order, such as id,text.",
        show_default=False,
    ),
]
TextField = Annotated[str | None, typer.Option("--text-field", help="Name of the text field.", show_default=False)]
TitleField = Annotated[str | None, typer.Option("--title-field", help="Name of the title field.", show_default=False)]
IdField = Annotated[str | None, typer.Option("--id-field", help="Name of the id field.", show_default=False)]
GroupField = Annotated[
    str | None,
    typer.Option("--group-field", help="Name of the field with the language or another group.", show_default=False),
]
Wikipedia = Annotated[
    bool, typer.Option("--wikipedia", help="Decode HTML entities; skip list and disambiguation pages, as ORQA does.")
]
WithoutTitles = Annotated[bool, typer.Option("--without-titles", help="Ignore document titles.")]

# What a model's files may leave open.
Pooling = Annotated[
    Literal["mean", "cls", "lasttoken", "max"] | None,
    typer.Option("--pooling", help="Pooling, where the model's files do not specify it.", show_default=False),
]
Similarity = Annotated[
    Literal["dot", "cosine"] | None,
    typer.Option("--similarity", help="Similarity, where the model's files do not specify it.", show_default=False),
]
QueryPrompt = Annotated[str | None, typer.Option("--query-prompt", help="Prefix of queries.", show_default=False)]
DocumentPrompt = Annotated[
    str | None, typer.Option("--document-prompt", help="Prefix of documents.", show_default=False)
]
Like = Annotated[
    str | None,
    typer.Option("--like", help="Published checkpoint that the model is a copy of.", show_default=False),
]
MaxLength = Annotated[
    int | None, typer.Option("--max-length", min=1, help="Maximum number of tokens of a text.", show_default=False)
]

# Passages, as units that are found.
Passages = Annotated[
    bool,
    typer.Option(
        "--passages", help="Cut long documents into passages, at headings and between paragraphs; hits are passages."
    ),
]
PassageWords = Annotated[
    int | None,
    typer.Option(
        "--passage-words",
        min=20,
        help="With --passages: about how many words one has. (default: 200)",
        show_default=False,
    ),
]


def words_of(passages: bool, passage_words: int | None) -> int:
    """Words of a passage; 0: documents are not cut.

    Raises:
        UsageError: a number of words is given without ``--passages``.
    """
    from pretrieve.core.errors import UsageError
    from pretrieve.text.passages import WORDS

    if passage_words is not None and not passages:
        raise UsageError("--passage-words is for --passages: give it too, or leave it out.")
    return (passage_words or WORDS) if passages else 0


# What a command prints.
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object to standard output.")]
OutputJson = Annotated[
    Path | None,
    typer.Option("--output-json", metavar="FILE", help="Write the result as JSON to a file.", show_default=False),
]
