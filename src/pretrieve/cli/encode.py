"""``pretrieve encode``: vectors of documents as shards on disk, by any number of processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pretrieve.cli.options import (
    SOURCES,
    Device,
    DocumentPrompt,
    Json,
    Like,
    MaxLength,
    OutputJson,
    Passages,
    PassageWords,
    Pooling,
    QueryPrompt,
    Similarity,
    words_of,
)
from pretrieve.cli.output import free_name, print_next, say, working, write_json
from pretrieve.cli.reading import Reading

NAME = "encode"
EXAMPLE = "pretrieve encode docs/ --model my-model -o my-vectors"


def command(
    *,
    sources: SOURCES,
    model: Annotated[str, typer.Option("--model", help="Model: a folder or hub name.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="VECTORS",
            help="Folder for the shards. Those that are there are kept: the same command continues.",
            show_default=False,
        ),
    ],
    shard: Annotated[
        str, typer.Option("--shard", metavar="i/n", help="Encode every n-th shard from shard i, 0 to n - 1.")
    ] = "0/1",
    file_format: Annotated[
        Literal["npy", "parquet", "safetensors"], typer.Option("--format", help="Format of a shard's vectors.")
    ] = "npy",
    dtype: Annotated[
        Literal["float32", "float16"], typer.Option("--dtype", help="Precision of the vectors.")
    ] = "float32",
    shard_size: Annotated[
        int, typer.Option("--shard-size", min=1, help="Documents of a shard: what is lost at most by a kill.")
    ] = 32_768,
    queries: Annotated[
        bool, typer.Option("--queries", help="The sources are queries; of a BEIR folder, its queries are read.")
    ] = False,
    passages: Passages = False,
    passage_words: PassageWords = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Encode nothing: check every byte that is there, and name the missing shards."),
    ] = False,
    engine: Annotated[
        Literal["local", "ray"], typer.Option("--engine", help="This process, or workers of Ray Data.")
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers", min=1, help="Workers of Ray. (default: one for each processor or GPU)", show_default=False
        ),
    ] = None,
    reading: Reading,
    pooling: Pooling = None,
    similarity: Similarity = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    max_length: MaxLength = None,
    like: Like = None,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Encode documents into shards of vectors on disk; killed and restarted, it continues at its last whole shard."""
    from pretrieve.models.devices import using
    from pretrieve.pipeline.encode.encode import encode
    from pretrieve.pipeline.encode.request import EncodeRequest, part_of

    request = EncodeRequest(
        sources=tuple(sources),
        model=model,
        output=output,
        part=part_of(shard),
        format=file_format,
        dtype=dtype,
        shard_size=shard_size,
        queries=queries,
        passages=words_of(passages, passage_words),
        engine=engine,
        workers=workers,
        fields=reading.fields(),
        file_filter=reading.file_filter(),
        on_bad=reading.on_bad,
        described={
            "pooling": pooling,
            "similarity": similarity,
            "query_prompt": query_prompt,
            "document_prompt": document_prompt,
            "max_length": max_length,
            "like": like,
        },
    )
    with working(as_json, output_json) as display, using(device):
        report = encode(request, display, check=check)
    if not write_json(report.to_json(), as_json, output_json):
        say(report.describe(), lines=True)
        if not queries and not report.missing:
            print_next(request.index_words(free_name("my-index")))
