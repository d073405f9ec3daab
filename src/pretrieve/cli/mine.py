"""``pretrieve mine``: hard negatives for labelled queries, in a readable file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from pretrieve.cli.next_commands import after_mine
from pretrieve.cli.options import LABELS, Device, Json, MoreDocuments, OnBadOption, OutputFile, OutputJson, Seed, Split
from pretrieve.cli.output import print_next, say, working, write_json

NAME = "mine"
EXAMPLE = "pretrieve mine beir-folder -o negatives.jsonl --model my-model --by both"


def command(
    labels: LABELS,
    output: OutputFile,
    model: Annotated[
        str | None, typer.Option("--model", help="Model to mine with: a folder or hub name.", show_default=False)
    ] = None,
    by: Annotated[
        Literal["bm25", "model", "both"] | None,
        typer.Option(
            "--by",
            help="Ranker: BM25, the model, or half each. (default: bm25; both with --model)",
            show_default=False,
        ),
    ] = None,
    split: Split = "train",
    documents: MoreDocuments = None,
    on_bad: OnBadOption = "auto",
    number: Annotated[int, typer.Option("--number", min=1, help="Negatives for each query.")] = 30,
    depth: Annotated[int, typer.Option("--depth", min=1, help="Hits to draw the negatives from.")] = 200,
    skip: Annotated[int, typer.Option("--skip", min=0, help="First hits to skip: they are often relevant.")] = 0,
    relative_margin: Annotated[
        float | None,
        typer.Option(
            "--relative-margin",
            min=0,
            max=1,
            help="Skip hits that score less than this fraction below the positive: 0.05 skips hits above 95 % of its "
            "score. (default: no limit)",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Mine hard negatives: documents that BM25 or a model ranks high but that are not labelled relevant."""
    from pretrieve.models.devices import inference_lines, using
    from pretrieve.pipeline.finetune.mine import MineOptions, mine_source

    options = MineOptions(
        by=by or ("both" if model else "bm25"),
        number=number,
        depth=depth,
        skip=skip,
        relative_margin=relative_margin,
        seed=seed,
    )
    with working(as_json, output_json) as display, using(device):
        encoder = None
        if model is not None:
            from pretrieve.models.text_encoder import ModelOptions, open_encoder
            from pretrieve.pipeline.run.usage_warnings import before_search

            for line in before_search(model, ModelOptions()):
                display.note(line)
            encoder = open_encoder(model)
            for line in inference_lines(encoder):
                display.note(line)
        count, queries = mine_source(
            labels, encoder, output, options, display, split=split, documents=tuple(documents or ()), on_bad=on_bad
        )
    facts = {"output": str(output), "negatives": count, "queries": queries, "options": asdict(options)}
    if not write_json(facts, as_json, output_json):
        say(f"{output}: {count:,} negatives for {queries:,} queries, one line a query.")
        again = ("--on-bad", on_bad) if on_bad != "auto" else ()
        print_next(*after_mine(labels, split, documents or [], model, output, again))
