"""``pretrieve generate``: labels for documents that have none, by a generator and a cross-encoder of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli.options import (
    SOURCES,
    GroupField,
    IdField,
    OnBadOption,
    Overwrite,
    Seed,
    TextField,
    TitleField,
    WithoutTitles,
)

NAME = "generate"
EXAMPLE = "pretrieve generate docs/ -o labels.jsonl --generator my-doc2query --cross-encoder my-cross-encoder"
_MODEL, _ENDPOINT, _FILTER = "Generator", "Endpoint", "Filter, negatives and scores"


def command(
    sources: SOURCES,
    output: Annotated[Path, typer.Option("-o", "--output", help="File for the labels.", show_default=False)],
    generator: Annotated[
        str,
        typer.Option(
            "--generator",
            help="Folder or hub name of a seq2seq, causal or chat model; with --endpoint the model's name there.",
            show_default=False,
        ),
    ],
    queries: Annotated[int, typer.Option("--queries", min=1, help="Queries asked for a document.")] = 3,
    max_documents: Annotated[
        int | None,
        typer.Option("--max-documents", min=1, help="Ask about so many, drawn at random.", show_default=False),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            help="Template with {document}, {title} and {number}, or @FILE. With {number} one answer holds all "
            "queries, one on each line.  [default: what suits the generator]",
            show_default=False,
            rich_help_panel=_MODEL,
        ),
    ] = None,
    document_words: Annotated[
        int,
        typer.Option("--document-words", min=1, help="Words of a document that it reads.", rich_help_panel=_MODEL),
    ] = 300,
    temperature: Annotated[float, typer.Option("--temperature", min=0, rich_help_panel=_MODEL)] = 1.0,
    top_k: Annotated[
        int, typer.Option("--top-k", min=0, help="0: all words; not sent to an endpoint.", rich_help_panel=_MODEL)
    ] = 25,
    top_p: Annotated[float, typer.Option("--top-p", min=0, max=1, rich_help_panel=_MODEL)] = 0.95,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Of a query.", rich_help_panel=_MODEL)
    ] = 64,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Documents read at once.", rich_help_panel=_MODEL)
    ] = 8,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            metavar="URL",
            help="OpenAI-compatible API, as http://127.0.0.1:8000/v1.",
            show_default=False,
            rich_help_panel=_ENDPOINT,
        ),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="Documents may be sent to another machine.", rich_help_panel=_ENDPOINT),
    ] = False,
    api_key_env: Annotated[
        str,
        typer.Option(
            "--api-key-env",
            metavar="NAME",
            help="Variable with the key.",
            show_default=False,
            rich_help_panel=_ENDPOINT,
        ),
    ] = "",
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds to wait for an answer.", rich_help_panel=_ENDPOINT)
    ] = 120.0,
    retries: Annotated[int, typer.Option("--retries", min=0, rich_help_panel=_ENDPOINT)] = 5,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Requests at once.", rich_help_panel=_ENDPOINT)
    ] = 8,
    skip_refused: Annotated[
        bool,
        typer.Option(
            "--skip-refused", help="Leave documents out that the endpoint refuses.", rich_help_panel=_ENDPOINT
        ),
    ] = False,
    keep_within: Annotated[
        int,
        typer.Option(
            "--keep-within", min=1, help="Keep a query that finds its document among so many.", rich_help_panel=_FILTER
        ),
    ] = 20,
    copied_words: Annotated[
        int,
        typer.Option(
            "--copied-words",
            min=0,
            help="Drop a query with a longer verbatim run of its document; 0: none.",
            rich_help_panel=_FILTER,
        ),
    ] = 8,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Folder or hub name of a retriever that searches beside BM25.",
            show_default=False,
            rich_help_panel=_FILTER,
        ),
    ] = None,
    negatives: Annotated[
        int, typer.Option("--negatives", min=0, help="Hard negatives of a query.", rich_help_panel=_FILTER)
    ] = 10,
    depth: Annotated[
        int, typer.Option("--depth", min=1, help="They are drawn from the best so many.", rich_help_panel=_FILTER)
    ] = 200,
    cross_encoder: Annotated[
        str | None,
        typer.Option(
            "--cross-encoder",
            help="Folder or hub name of the model that scores query and document.",
            show_default=False,
            rich_help_panel=_FILTER,
        ),
    ] = None,
    beir: Annotated[
        Path | None,
        typer.Option(
            "--beir", metavar="FOLDER", help="Write a BEIR folder as well, to evaluate on.", show_default=False
        ),
    ] = None,
    seed: Seed = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    overwrite: Overwrite = False,
    on_bad: OnBadOption = "fail",
    text_field: TextField = None,
    title_field: TitleField = None,
    id_field: IdField = None,
    group_field: GroupField = None,
    without_titles: WithoutTitles = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON.")] = None,
) -> None:
    """Write queries for documents, keep those that find their document, and add hard negatives and scores."""
    from pretrieve.cli.generated import print_generated
    from pretrieve.pipeline.generate.request import GenerateRequest
    from pretrieve.pipeline.run.display import Display
    from pretrieve.pipeline.run.sources import fields_of

    asked = GenerateRequest(
        sources=tuple(sources),
        output=output,
        generator=generator,
        endpoint=endpoint,
        model=model,
        cross_encoder=cross_encoder,
        queries=queries,
        prompt=prompt,
        max_documents=max_documents,
        document_words=document_words,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        keep_within=keep_within,
        copied_words=copied_words,
        negatives=negatives,
        depth=depth,
        beir=beir,
        api_key_env=api_key_env,
        allow_remote=allow_remote,
        timeout=timeout,
        retries=retries,
        concurrency=concurrency,
        skip_refused=skip_refused,
        seed=seed,
        resume=resume,
        overwrite=overwrite,
        on_bad=on_bad,
        fields=fields_of(
            text=text_field, title=title_field, identity=id_field, group=group_field, titles=not without_titles
        ),
    )
    asked.check()  # before torch is imported: a wrong option answers at once
    from pretrieve.pipeline.generate.generate import generate

    with Display() as display:
        report = generate(asked, display)
    print_generated(report, asked)
    if json_file is not None:
        from pretrieve.core.files import to_json, write_file

        write_file(json_file, to_json(report.to_json()))
