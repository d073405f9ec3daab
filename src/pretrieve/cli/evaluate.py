"""``pretrieve evaluate``: judge models and BM25 on a labelled collection, with confidence intervals and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli.options import (
    DocumentPrompt,
    Like,
    MaxLength,
    ModeName,
    Pooling,
    QueryPrompt,
    Similarity,
    WithoutTitles,
)

NAME = "evaluate"
EXAMPLE = "pretrieve evaluate scifact/ --model my-model --model facebook/contriever --mode dense --mode hybrid"


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="BEIR_FOLDER",
            help="corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv (also .gz). With corpus/LANGUAGE.jsonl and "
            "queries/LANGUAGE.jsonl in their place, every pair of languages is judged.",
            show_default=False,
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option("--model", help="A model's folder or hub name; may be given several times.", show_default=False),
    ] = None,
    modes: Annotated[
        list[ModeName] | None,
        typer.Option("--mode", help="May be given several times.  [default: dense and hybrid]", show_default=False),
    ] = None,
    lexical: Annotated[
        str,
        typer.Option(
            "--lexical",
            metavar="NAME,...",
            help="Usual settings of BM25 to show beside the default: bm25s, lucene, anserini.",
            show_default=False,
        ),
    ] = "",
    split: Annotated[str, typer.Option("--split", help="Which qrels.")] = "test",
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric", help="As ir-measures writes them.  [default: nDCG@10, R@100, RR@10]", show_default=False
        ),
    ] = None,
    pooling: Pooling = None,
    similarity: Similarity = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    max_length: MaxLength = None,
    like: Like = None,
    drop_same_id: Annotated[
        bool, typer.Option("--drop-same-id", help="Drop a hit whose id is the query's own (ArguAna, Quora).")
    ] = False,
    without_titles: WithoutTitles = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON.")] = None,
    markdown_file: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the tables as Markdown.")
    ] = None,
) -> None:
    """Judge models on a labelled collection, in one language or across several; BM25 is always included."""
    from pretrieve.pipeline.evaluate import EvaluateRequest, judge
    from pretrieve.pipeline.run.display import Display

    asked = EvaluateRequest(
        folder=folder,
        models=tuple(models or ()),
        modes=tuple(mode.value for mode in modes or (ModeName.dense, ModeName.hybrid)),
        lexical=tuple(name.strip() for name in lexical.split(",") if name.strip()),
        split=split,
        metrics=tuple(metrics or ("nDCG@10", "R@100", "RR@10")),
        pooling=pooling,
        similarity=similarity,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        max_length=max_length,
        like=like,
        drop_same_id=drop_same_id,
        use_titles=not without_titles,
    )
    with Display() as display:
        result = judge(asked, display)
    from pretrieve.cli.tables import print_result

    text = print_result(result)
    from pretrieve.core.files import to_json, write_file

    if json_file is not None:
        write_file(json_file, to_json(result.to_json()))
    if markdown_file is not None:
        write_file(markdown_file, text.encode())
