"""``pretrieve index``: make documents searchable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pretrieve.cli.options import (
    SOURCES,
    DocumentPrompt,
    GroupField,
    IdField,
    Like,
    MaxLength,
    OnBadOption,
    Overwrite,
    Pooling,
    QueryPrompt,
    Similarity,
    TextField,
    TitleField,
    Wikipedia,
    WithoutTitles,
)

NAME = "index"
EXAMPLE = "pretrieve index docs/ --model my-model -o my-index"


def command(
    sources: SOURCES,
    model: Annotated[str, typer.Option("--model", help="A model's folder or hub name.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the index.", show_default=False)],
    overwrite: Overwrite = False,
    on_bad: OnBadOption = "fail",
    text_field: TextField = None,
    title_field: TitleField = None,
    id_field: IdField = None,
    group_field: GroupField = None,
    without_titles: WithoutTitles = False,
    wikipedia: Wikipedia = False,
    pooling: Pooling = None,
    similarity: Similarity = None,
    query_prompt: QueryPrompt = None,
    document_prompt: DocumentPrompt = None,
    max_length: MaxLength = None,
    like: Like = None,
    k1: Annotated[
        float | None,
        typer.Option(
            "--k1",
            min=0.0,
            help="BM25: how slowly repeated words saturate.  [default: 0.6; 1.2 for short documents]",
            show_default=False,
        ),
    ] = None,
    b: Annotated[
        float | None,
        typer.Option(
            "--b",
            min=0.0,
            max=1.0,
            help="BM25: how much long documents are penalised.  [default: 0.62; 0.9 for short documents]",
            show_default=False,
        ),
    ] = None,
    stop_words: Annotated[
        str,
        typer.Option(
            "--stop-words",
            metavar="auto|none|NAME|FILE",
            help="Words that BM25 ignores in queries: the list of the documents' language, no list, a list by name "
            "(english, lucene), or a file with one word per line.",
        ),
    ] = "auto",
    stemmer: Annotated[
        str,
        typer.Option(
            "--stemmer",
            metavar="auto|none|NAME",
            help="Snowball stemmer of BM25: that of the documents' language, none, or one by name (english, porter).",
        ),
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Index documents for hybrid search; the weight of the fusion is chosen without labels, and shown."""
    from pretrieve.core import files
    from pretrieve.index.index import IndexOptions
    from pretrieve.index.lexical import BM25
    from pretrieve.pipeline.index import build_index
    from pretrieve.pipeline.run.display import Display
    from pretrieve.pipeline.run.sources import fields_of

    files.check_free(output, replace=overwrite)
    given = {name: value for name, value in (("k1", k1), ("b", b)) if value is not None}
    bm25 = BM25(**given) if given else None
    fields = fields_of(
        text=text_field,
        title=title_field,
        identity=id_field,
        group=group_field,
        titles=not without_titles,
        wikipedia=wikipedia,
    )
    with Display() as display:
        built = build_index(
            sources,
            model,
            output,
            display,
            replace=overwrite,
            fields=fields,
            on_bad=on_bad,
            described={
                "pooling": pooling,
                "similarity": similarity,
                "query_prompt": query_prompt,
                "document_prompt": document_prompt,
                "max_length": max_length,
                "like": like,
            },
            lexical=IndexOptions(bm25=bm25, stop_words=stop_words, stemmer=stemmer),
        )
    if as_json:
        facts = {
            "documents": len(built),
            "index": str(output),
            "model": model,
            "bm25": built.lexical.describe(),
            "fusion": built.fusion.facts(),
        }
        typer.echo(files.to_json(facts).decode(), nl=False)
        return
    typer.echo(built.describe())
    typer.echo(f'\nSearch it:  pretrieve search {output} "your question"')
