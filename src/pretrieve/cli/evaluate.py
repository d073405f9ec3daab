"""``pretrieve evaluate``: evaluate models and BM25 on a labelled collection, with confidence intervals and tests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli import completing
from pretrieve.cli.options import (
    CsvTable,
    Device,
    DocumentPrompt,
    Html,
    Json,
    Latex,
    Like,
    MaxLength,
    ModeName,
    OutputJson,
    PerQuery,
    Pooling,
    QueryPrompt,
    Similarity,
    Split,
    WithoutTitles,
)
from pretrieve.cli.output import working, write_json

NAME = "evaluate"
EXAMPLE = "pretrieve evaluate scifact/ --model my-model --model facebook/contriever --mode dense --mode hybrid"


def command(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="BEIR_FOLDER",
            help="corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv (also .gz, .zst), or a .zip of them. With "
            "corpus/LANGUAGE.jsonl and queries/LANGUAGE.jsonl in their place, every pair of languages is evaluated. "
            "beir:NAME or ir_datasets:NAME fetches a collection.",
            show_default=False,
        ),
    ],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="Model: a folder or hub name; or a TREC run file, which is evaluated beside them. Repeatable.",
            show_default=False,
        ),
    ] = None,
    modes: Annotated[
        list[ModeName] | None,
        typer.Option("--mode", help="Ranking to evaluate. Repeatable. (default: dense and hybrid)", show_default=False),
    ] = None,
    lexical: Annotated[
        str,
        typer.Option(
            "--lexical",
            metavar="NAME,...",
            autocompletion=completing.several(completing.settings_of_bm25),
            help="Common settings of BM25 to add to the default: bm25s, lucene, anserini.",
            show_default=False,
        ),
    ] = "",
    split: Split = "test",
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="Metric, in the notation of ir-measures. Repeatable. (default: nDCG@10, R@100, RR@10)",
            show_default=False,
        ),
    ] = None,
    relevant_from: Annotated[
        int | None,
        typer.Option(
            "--relevant-from",
            metavar="GRADE",
            min=1,
            help="Make the grades of the qrels binary: this one and above count 1, others 0. (default: as they are)",
            show_default=False,
        ),
    ] = None,
    pooling: Pooling = None,
    similarity: Similarity = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    max_length: MaxLength = None,
    like: Like = None,
    drop_same_id: Annotated[
        bool, typer.Option("--drop-same-id", help="Drop hits with the id of the query (ArguAna, Quora).")
    ] = False,
    max_passage: Annotated[
        bool,
        typer.Option(
            "--max-passage", help="Documents may share an id, as passages of one: its best place counts (MaxP)."
        ),
    ] = False,
    without_titles: WithoutTitles = False,
    markdown_file: Annotated[
        Path | None,
        typer.Option("--markdown", metavar="FILE", help="Write the tables as Markdown.", show_default=False),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="FILE",
            help="Write the ranking as a TREC run; of several models or modes, their names are put into the file's. A "
            "name without a suffix is a folder, which gets BM25's too.",
            show_default=False,
        ),
    ] = None,
    per_query: PerQuery = None,
    latex: Latex = None,
    csv: CsvTable = None,
    html: Html = None,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Evaluate models on a labelled collection, in one language or across several; BM25 is always included."""
    from pretrieve.cli.evaluation_files import EvaluationFiles
    from pretrieve.models.devices import using
    from pretrieve.pipeline.evaluate import EvaluateRequest, run_evaluation

    files = EvaluationFiles(
        run=run, per_query=per_query, latex=latex, csv=csv, html=html, markdown=markdown_file, json=output_json
    )
    files.check(folder, models or (), as_json=as_json)
    files.check_one_language(folder)
    request = EvaluateRequest(
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
        max_passage=max_passage,
        use_titles=not without_titles,
        run=run,
        relevant_from=relevant_from,
    )
    with working(as_json or files.prints, output_json) as display, using(device):
        result = run_evaluation(request, display)
    files.write(result)
    if not write_json(result.to_json(), as_json, output_json) and not files.prints:
        from pretrieve.cli.tables import print_result

        print_result(result)
    files.write_report(folder, result)
