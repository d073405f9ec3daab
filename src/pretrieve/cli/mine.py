"""``pretrieve mine``: hard negatives for labelled queries, in a file that can be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pretrieve.cli.finetune import LABELS, MoreDocuments, Split
from pretrieve.cli.options import Seed

NAME = "mine"
EXAMPLE = "pretrieve mine beir-folder -o negatives.jsonl --model my-model --by both"


def command(
    labels: LABELS,
    output: Annotated[Path, typer.Option("-o", "--output", help="File for the negatives.", show_default=False)],
    model: Annotated[
        str | None, typer.Option("--model", help="Folder or hub name of the model.", show_default=False)
    ] = None,
    by: Annotated[
        Literal["bm25", "model", "both"] | None,
        typer.Option(
            "--by", help="Words, the model, or half by each.  [default: bm25; both with --model]", show_default=False
        ),
    ] = None,
    split: Split = "train",
    documents: MoreDocuments = None,
    number: Annotated[int, typer.Option("--number", min=1, help="Negatives a query.")] = 30,
    depth: Annotated[int, typer.Option("--depth", min=1, help="They are drawn from the best so many documents.")] = 200,
    skip: Annotated[int, typer.Option("--skip", min=0, help="Leave the best so many out: often relevant.")] = 0,
    margin: Annotated[
        float, typer.Option("--margin", min=0, help="Leave out what scores above this part of the positive; 0: none.")
    ] = 0.0,
    seed: Seed = 0,
) -> None:
    """Find documents that words or a model take for relevant and that are not labelled so; goes on where it stopped."""
    from pretrieve.pipeline.finetune.mine import MineOptions, mine_source
    from pretrieve.pipeline.run.display import Display

    options = MineOptions(
        by=by or ("both" if model else "bm25"), number=number, depth=depth, skip=skip, margin=margin, seed=seed
    )
    with Display() as display:
        encoder = None
        if model is not None:
            from pretrieve.models.text_encoder import ModelOptions, open_encoder
            from pretrieve.pipeline.run.usage_warnings import before_search

            for line in before_search(model, ModelOptions()):
                display.note(line)
            encoder = open_encoder(model)
        count, queries = mine_source(
            labels, encoder, output, options, display, split=split, documents=tuple(documents or ())
        )
    typer.echo(f"{output}: {count:,} negatives for {queries:,} queries; one line a query, to look at.")
    typer.echo(f"\nNext:\n  pretrieve finetune MODEL {labels} -o tuned --negatives-file {output}")
