"""``pretrieve finetune``: labels and a model in, a fine-tuned retriever out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pretrieve.cli import completing
from pretrieve.cli.next_commands import after_finetune, unseen_splits
from pretrieve.cli.options import (
    LABELS,
    Config,
    Device,
    DocumentPrompt,
    Json,
    KeepWorkspace,
    Like,
    MaxLength,
    MoreDocuments,
    OnBadOption,
    OutputFolder,
    OutputJson,
    Overwrite,
    Pooling,
    QueryPrompt,
    Resume,
    Seed,
    Settings,
    Similarity,
    Split,
    Tracker,
)
from pretrieve.cli.output import print_next, say, working, write_json
from pretrieve.pipeline.finetune.negatives import summaries

NAME = "finetune"
EXAMPLE = "pretrieve finetune my-model pairs.jsonl -o tuned --negatives mined"


def negatives_metavar(*without: str) -> str:
    """What ``--negatives`` takes: the names of the strategies, a user's own among them."""
    return f"[{'|'.join(name for name in summaries() if name not in without)}]"


def _described() -> str:
    return ", ".join(f"{name} ({summary})" for name, summary in summaries().items())


def command(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Model to fine-tune: a folder or hub name.", show_default=False)
    ],
    labels: LABELS,
    output: OutputFolder,
    split: Split = "train",
    documents: MoreDocuments = None,
    on_bad: OnBadOption = "auto",
    negatives: Annotated[
        str | None,
        typer.Option(
            "--negatives",
            metavar=negatives_metavar(),
            autocompletion=completing.negatives(),
            help=f"Hard negatives: {_described()}. (default: given where LABELS have them, else bm25)",
            show_default=False,
        ),
    ] = None,
    negatives_file: Annotated[
        Path | None, typer.Option("--negatives-file", help="Output of `pretrieve mine`.", show_default=False)
    ] = None,
    recipe: Annotated[
        Literal["static", "transformer", "dpr", "contriever", "cocondenser"] | None,
        typer.Option("--recipe", help="Published values. (default: by the kind of model)", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=2, help="Maximum number of labelled queries.", show_default=False)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Passes over the queries.", show_default=False)
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Training steps, in place of --epochs.", show_default=False)
    ] = None,
    pooling: Pooling = None,
    similarity: Similarity = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    max_length: MaxLength = None,
    like: Like = None,
    config: Config = None,
    settings: Settings = None,
    seed: Seed = 0,
    resume: Resume = False,
    overwrite: Overwrite = False,
    tracker: Tracker = "auto",
    keep_workspace: KeepWorkspace = False,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Fine-tune a model on labelled queries with hard negatives, and evaluate it on held-out ones."""
    from pretrieve.core.config import parse_assignments
    from pretrieve.models.text_encoder import ModelOptions
    from pretrieve.pipeline.finetune.request import FinetuneRequest

    request = FinetuneRequest(
        model=model,
        labels=labels,
        output=output,
        split=split,
        documents=tuple(documents or ()),
        on_bad=on_bad,
        negatives=negatives,
        negatives_file=negatives_file,
        recipe=recipe,
        limit=limit,
        epochs=epochs,
        steps=steps,
        described=ModelOptions(
            pooling=pooling,
            similarity=similarity,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            max_length=max_length,
            like=like,
        ),
        settings=parse_assignments(settings or []),
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        tracker=tracker,
        keep_workspace=keep_workspace,
        device=device,
    )
    request.check()
    with working(as_json, output_json) as display:
        from pretrieve.pipeline.finetune.finetune import finetune

        report = finetune(request, display)
    if write_json(report.to_json(), as_json, output_json):
        return
    from pretrieve.cli.tables import print_tuning

    print_tuning(report, request)
    again = ("--on-bad", on_bad) if on_bad != "auto" else ()
    unseen = unseen_splits(labels, split, str(output))
    if labels.is_dir() and not unseen:
        say(f"{labels} has no split whose queries were not trained on: evaluate on others.")
    print_next(*after_finetune(labels, unseen, documents or [], str(output), again))
