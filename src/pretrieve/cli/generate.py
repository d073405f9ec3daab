"""``pretrieve generate``: labels for documents that have none, with the user's own generator and cross-encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli.next_commands import after_generate
from pretrieve.cli.options import (
    SOURCES,
    Config,
    Device,
    Json,
    OutputFile,
    OutputJson,
    Overwrite,
    Resume,
    Seed,
)
from pretrieve.cli.output import print_next, working, write_json
from pretrieve.cli.reading import ReadingNoWikipedia

NAME = "generate"
EXAMPLE = "pretrieve generate docs/ -o labels.jsonl --generator my-doc2query --cross-encoder my-cross-encoder"
_MODEL, _ENDPOINT, _FILTER = "Generator", "Endpoint", "Filter, negatives and scores"


def command(
    *,
    sources: SOURCES,
    output: OutputFile,
    generator: Annotated[
        str,
        typer.Option(
            "--generator",
            help="Query generator: folder or hub name of a seq2seq, causal or chat model, or its name at --endpoint.",
            show_default=False,
        ),
    ],
    queries: Annotated[int, typer.Option("--queries", min=1, help="Queries to generate for each document.")] = 3,
    max_documents: Annotated[
        int | None,
        typer.Option(
            "--max-documents",
            min=1,
            help="Maximum number of documents to generate for, drawn at random.",
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt",
            help="Template with {document}, {title} and {number}, or @FILE. With {number}, one answer holds all "
            "queries, one a line. (default: by the kind of generator)",
            show_default=False,
            rich_help_panel=_MODEL,
        ),
    ] = None,
    document_words: Annotated[
        int,
        typer.Option(
            "--document-words",
            min=1,
            help="Maximum number of words of a document in the prompt.",
            rich_help_panel=_MODEL,
        ),
    ] = 300,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, help="Sampling temperature.", rich_help_panel=_MODEL)
    ] = 1.0,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k",
            min=0,
            help="Sample among the most likely tokens; 0: all. Not sent to an endpoint.",
            rich_help_panel=_MODEL,
        ),
    ] = 25,
    top_p: Annotated[
        float, typer.Option("--top-p", min=0, max=1, help="Nucleus sampling.", rich_help_panel=_MODEL)
    ] = 0.95,
    max_new_tokens: Annotated[
        int,
        typer.Option("--max-new-tokens", min=1, help="Maximum number of tokens of a query.", rich_help_panel=_MODEL),
    ] = 64,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Documents of a batch.", rich_help_panel=_MODEL)
    ] = 8,
    endpoint: Annotated[
        str | None,
        typer.Option(
            "--endpoint",
            metavar="URL",
            help="OpenAI-compatible API, such as http://127.0.0.1:8000/v1.",
            show_default=False,
            rich_help_panel=_ENDPOINT,
        ),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="Allow sending documents to another machine.", rich_help_panel=_ENDPOINT),
    ] = False,
    api_key_env: Annotated[
        str,
        typer.Option(
            "--api-key-env",
            metavar="NAME",
            help="Environment variable with the API key.",
            show_default=False,
            rich_help_panel=_ENDPOINT,
        ),
    ] = "",
    timeout: Annotated[
        float, typer.Option("--timeout", help="Timeout of a request, in seconds.", rich_help_panel=_ENDPOINT)
    ] = 120.0,
    retries: Annotated[
        int, typer.Option("--retries", min=0, help="Retries of a request.", rich_help_panel=_ENDPOINT)
    ] = 5,
    concurrency: Annotated[
        int, typer.Option("--concurrency", min=1, help="Concurrent requests.", rich_help_panel=_ENDPOINT)
    ] = 8,
    skip_refused: Annotated[
        bool,
        typer.Option("--skip-refused", help="Skip documents that the endpoint refuses.", rich_help_panel=_ENDPOINT),
    ] = False,
    keep_within: Annotated[
        int,
        typer.Option(
            "--keep-within",
            min=1,
            help="Keep a query if its document is among its first hits, this many.",
            rich_help_panel=_FILTER,
        ),
    ] = 20,
    copied_words: Annotated[
        int,
        typer.Option(
            "--copied-words",
            min=0,
            help="Drop a query that copies more consecutive words of its document; 0: never.",
            rich_help_panel=_FILTER,
        ),
    ] = 8,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="Retriever to search with beside BM25: a folder or hub name.",
            show_default=False,
            rich_help_panel=_FILTER,
        ),
    ] = None,
    negatives: Annotated[
        int, typer.Option("--negatives", min=0, help="Hard negatives for each query.", rich_help_panel=_FILTER)
    ] = 10,
    depth: Annotated[
        int, typer.Option("--depth", min=1, help="Hits to draw the negatives from.", rich_help_panel=_FILTER)
    ] = 200,
    cross_encoder: Annotated[
        str | None,
        typer.Option(
            "--cross-encoder",
            help="Cross-encoder that scores query and document: a folder or hub name.",
            show_default=False,
            rich_help_panel=_FILTER,
        ),
    ] = None,
    beir: Annotated[
        Path | None,
        typer.Option("--beir", metavar="FOLDER", help="Also write a BEIR folder, to evaluate on.", show_default=False),
    ] = None,
    config: Config = None,
    seed: Seed = 0,
    resume: Resume = False,
    overwrite: Overwrite = False,
    reading: ReadingNoWikipedia,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Generate queries for documents, keep those that find their document, and add hard negatives and scores."""
    from pretrieve.cli.generated import print_generated
    from pretrieve.pipeline.generate.request import GenerateRequest

    request = GenerateRequest(
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
        on_bad=reading.on_bad,
        device=device,
        file_filter=reading.file_filter(),
        fields=reading.fields(),
    )
    request.check()  # before torch is imported: invalid options are reported fast
    with working(as_json, output_json) as display:
        from pretrieve.pipeline.generate.generate import generate

        report = generate(request, display)
    if not write_json(report.to_json(), as_json, output_json):
        print_generated(report, request)
        print_next(*after_generate(request))
