"""``pretrieve index``: make documents searchable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from pretrieve.cli import completing
from pretrieve.cli.options import (
    SOURCES,
    Device,
    DocumentPrompt,
    Json,
    Like,
    MaxLength,
    OutputFolder,
    OutputJson,
    Overwrite,
    Passages,
    PassageWords,
    Pooling,
    QueryPrompt,
    Similarity,
    words_of,
)
from pretrieve.cli.reading import Reading

NAME = "index"
EXAMPLE = "pretrieve index docs/ --model my-model -o my-index"


def command(
    *,
    output: OutputFolder,
    sources: SOURCES = [],  # noqa: B006 - read only
    model: Annotated[
        str | None,
        typer.Option(
            "--model", help="Model: a folder or hub name; an index that is changed has its own.", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
    update: Annotated[
        bool, typer.Option("--update", help="Bring an index up to date: encode what is new, remove what is gone.")
    ] = False,
    add: Annotated[
        bool, typer.Option("--add", help="Add documents to an index and replace those of the same id; remove none.")
    ] = False,
    delete: Annotated[
        Path | None,
        typer.Option(
            "--delete", metavar="FILE", help="Delete documents from an index: ids, one per line.", show_default=False
        ),
    ] = None,
    compact: Annotated[bool, typer.Option("--compact", help="Merge the parts of an index that was changed.")] = False,
    watch: Annotated[
        float | None,
        typer.Option(
            "--watch",
            metavar="SECONDS",
            min=0.1,
            show_default=False,
            help="With --update: look for changed files every so many seconds, until Ctrl-C.",
        ),
    ] = None,
    link_model: Annotated[
        bool,
        typer.Option("--link-model", help="Keep the model's relative path in the index, in place of its files."),
    ] = False,
    reading: Reading,
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
            help="BM25: saturation of repeated words. (default: 0.6; 1.2 for short documents)",
            show_default=False,
        ),
    ] = None,
    b: Annotated[
        float | None,
        typer.Option(
            "--b",
            min=0.0,
            max=1.0,
            help="BM25: penalty on long documents. (default: 0.62; 0.9 for short documents)",
            show_default=False,
        ),
    ] = None,
    stop_words: Annotated[
        str,
        typer.Option(
            "--stop-words",
            metavar="auto|none|NAME|FILE",
            help="Words that BM25 ignores in queries: by the documents' language, none, a list (english, lucene), or a "
            "file with one word per line.",
        ),
    ] = "auto",
    stemmer: Annotated[
        str,
        typer.Option(
            "--stemmer",
            metavar="auto|none|NAME",
            autocompletion=completing.stemmers,
            help="Snowball stemmer of BM25: by the documents' language, none, or a name (english, porter).",
        ),
    ] = "auto",
    device: Device = "auto",
    vectors: Annotated[
        Path | None,
        typer.Option(
            "--vectors",
            metavar="VECTORS",
            help="Take the documents' vectors from the output of `pretrieve encode` in place of encoding.",
            show_default=False,
        ),
    ] = None,
    dtype: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option("--dtype", help="Precision of the vectors on disk; what it costs is measured and printed."),
    ] = "float32",
    recall: Annotated[
        float | None,
        typer.Option(
            "--recall",
            min=0.0,
            max=1.0,
            help="recall@10 of approximate search, which needs the extra `faiss`; 1: exact search. (default: 0.95)",
            show_default=False,
        ),
    ] = None,
    exact_up_to: Annotated[
        int,
        typer.Option("--exact-up-to", metavar="VECTORS", min=0, help="Number of vectors up to which search is exact."),
    ] = 200_000,
    passages: Passages = False,
    passage_words: PassageWords = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="ADDRESS",
            help="Look up the best documents in Milvus: milvus://host:19530/collection, or a file of Milvus Lite, "
            "FILE.db. Needs the extra `milvus`.",
            show_default=False,
        ),
    ] = None,
    store_index: Annotated[
        Literal["FLAT", "HNSW", "HNSW_SQ", "IVF_FLAT", "IVF_SQ8"],
        typer.Option("--store-index", help="With --store: Milvus' index of the vectors; FLAT is exact."),
    ] = "FLAT",
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """Index documents for hybrid search; the fusion weight is chosen without labels.

    An index is changed by --update, --add, --delete or --compact; it can be searched meanwhile.
    """
    from pretrieve.cli.index_commands import Change, Read, build, change, chosen_options, chosen_store
    from pretrieve.models.devices import using

    read = Read(
        sources=sources,
        passages=words_of(passages, passage_words),
        fields=reading.fields(),
        file_filter=reading.file_filter(),
        on_bad=reading.on_bad,
        model=model,
        described={
            "pooling": pooling,
            "similarity": similarity,
            "query_prompt": query_prompt,
            "document_prompt": document_prompt,
            "max_length": max_length,
            "like": like,
        },
    )
    options = chosen_options(k1, b, stop_words, stemmer, dtype, recall, exact_up_to)
    building = {
        "--overwrite": overwrite,
        "--vectors": vectors is not None,
        "--link-model": link_model,
        "--passages": passages and not (update or add),  # these compare it with the index's
        "--store": store is not None,
        "--store-index": store_index != "FLAT",
    }
    changing = Change(update=update, add=add, delete=delete, compact=compact, watch=watch)
    changing.check(sources, model, options, building)
    with using(device):
        if changing.kind:
            change(changing, output, read, as_json, output_json)
        else:
            address = chosen_store(store, store_index)
            build(read, output, options, overwrite, vectors, link_model, as_json, output_json, address)
