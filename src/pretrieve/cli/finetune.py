"""``pretrieve finetune``: labels and a start in, a better retriever out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pretrieve.cli.options import (
    DocumentPrompt,
    Like,
    MaxLength,
    Overwrite,
    Pooling,
    QueryPrompt,
    Seed,
    Similarity,
)

NAME = "finetune"
EXAMPLE = "pretrieve finetune my-model pairs.jsonl -o tuned --negatives mined"
LABELS = Annotated[
    Path,
    typer.Argument(
        metavar="LABELS",
        help="A BEIR folder, or a file of queries with positives and maybe negatives: JSONL of pairs or triplets, or "
        "DPR's JSON.",
        show_default=False,
    ),
]
Split = Annotated[str, typer.Option("--split", help="Split of a BEIR folder.")]
MoreDocuments = Annotated[
    list[str] | None,
    typer.Option("--documents", metavar="SOURCE", help="More documents to find negatives in, for a file of labels."),
]


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder or hub name of the start.", show_default=False)],
    labels: LABELS,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the model.", show_default=False)],
    split: Split = "train",
    documents: MoreDocuments = None,
    negatives: Annotated[
        Literal["none", "given", "bm25", "mined", "ance"] | None,
        typer.Option(
            "--negatives",
            help="Hard negatives: the batch alone; those in LABELS; BM25's; BM25's and a first model's own; or the "
            "model's own, mined anew while it trains.  [default: given where LABELS bring them, else bm25]",
            show_default=False,
        ),
    ] = None,
    negatives_file: Annotated[
        Path | None, typer.Option("--negatives-file", help="What `pretrieve mine` wrote.", show_default=False)
    ] = None,
    recipe: Annotated[
        Literal["static", "transformer", "dpr", "contriever", "cocondenser"] | None,
        typer.Option("--recipe", help="Published values.  [default: what suits the model]", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=2, help="Labelled queries to learn from.", show_default=False)
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, show_default=False)] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Instead of epochs.", show_default=False)] = None,
    pooling: Pooling = None,
    similarity: Similarity = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    max_length: MaxLength = None,
    like: Like = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set a value of the loss, the draws or the training."),
    ] = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint, bit for bit.")] = False,
    overwrite: Overwrite = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")] = None,
) -> None:
    """Fine-tune a model on labelled queries, with hard negatives, and judge it on some that are held out."""
    from pretrieve.cli.tables import print_tuning
    from pretrieve.core.config import parse_assignments
    from pretrieve.models.text_encoder import ModelOptions
    from pretrieve.pipeline.finetune.request import FinetuneRequest
    from pretrieve.pipeline.run.display import Display

    asked = FinetuneRequest(
        model=model,
        labels=labels,
        output=output,
        split=split,
        documents=tuple(documents or ()),
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
    )
    asked.check()
    from pretrieve.pipeline.finetune.finetune import finetune

    with Display() as display:
        report = finetune(asked, display)
    print_tuning(report, asked)
    if json_file is not None:
        from pretrieve.core.files import to_json, write_file

        write_file(json_file, to_json(report.to_json()))
