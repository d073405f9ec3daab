"""``pretrieve search``: query an index, once or interactively."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pretrieve.cli.options import Json, Mode, OutputJson
from pretrieve.cli.output import styled, working, write_json
from pretrieve.core.shown import shown

if TYPE_CHECKING:
    from pretrieve.index.hits import Hit
    from pretrieve.index.index import Index

NAME = "search"
EXAMPLE = 'pretrieve search my-index "how do I rotate the keys?"'


def command(
    index: Annotated[Path, typer.Argument(help="Output of `pretrieve index`.", show_default=False)],
    query: Annotated[
        str | None,
        typer.Argument(help="What to search for; without it, queries are read a line each.", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    mode: Annotated[Mode, typer.Option("--mode", help="Ranking to use.")] = "hybrid",
    model: Annotated[
        str | None,
        typer.Option("--model", help="Where the index's model is now, if it was moved.", show_default=False),
    ] = None,
    as_json: Json = False,
    output_json: OutputJson = None,
    full_text: Annotated[
        bool, typer.Option("--full-text", help="With --json: the whole text of each hit too, however long.")
    ] = False,
) -> None:
    """Search an index; hits show rank, score, title and the best sentence with the query's words marked.

    With --json and without a query, every line that is read gives a JSON object.
    """
    import orjson

    from pretrieve.pipeline.index import open_index

    _check(query, output_json, full_text=full_text and not as_json)
    with working(as_json, output_json):
        opened = open_index(index, mode, model)
    if query is not None:
        hits = opened.search(query, k=k, mode=mode)
        if not write_json(_facts(opened, query, mode, hits, full_text), as_json, output_json):
            _print_hits(opened, mode, hits)
        return
    if sys.stdin.isatty():
        typer.echo(f"{len(opened):,} documents. Type a question; an empty line ends.", err=as_json)
    while line := _line(as_json):
        hits = opened.search(line, k=k, mode=mode)
        if as_json:
            typer.echo(orjson.dumps(_facts(opened, line, mode, hits, full_text)))
        else:
            _print_hits(opened, mode, hits)


def _check(query: str | None, output_json: Path | None, *, full_text: bool) -> None:
    from pretrieve.core.errors import UsageError

    if full_text and output_json is None:
        raise UsageError("--full-text is for --json or --output-json: give one of them, or leave it out.")
    if query is None and output_json is not None:
        raise UsageError("--output-json takes the result of one query: give the query.")


def _line(as_json: bool) -> str:
    """The next query; empty at the end."""
    try:
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            return input("? " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _facts(index: Index, query: str, mode: Mode, hits: list[Hit], full_text: bool) -> dict[str, Any]:
    return {
        "query": query,
        "mode": mode,
        "bm25": index.lexical.describe(),
        "hits": [hit.to_json(full_text=full_text) for hit in hits],
    }


def _print_hits(index: Index, mode: Mode, hits: list[Hit]) -> None:
    if not hits:
        typer.echo("Nothing found.")
    for hit in hits:
        print_hit(hit)
    if mode != "dense":
        typer.echo(styled(index.lexical.describe(), dim=True))


def print_hit(hit: Hit) -> None:
    """Print one hit: rank, score, title, id, and its best sentence with the query's words in bold."""
    head = f"{hit.rank:>3}  {hit.score:7.3f}  {styled(hit.title or hit.id, bold=True)}  {styled(hit.id, dim=True)}"
    typer.echo(head)
    sentence, last = "", 0
    for start, stop in hit.marks:
        sentence += shown(hit.sentence[last:start]) + styled(hit.sentence[start:stop], fg="green", bold=True)
        last = stop
    typer.echo(f"              {sentence}{shown(hit.sentence[last:])}\n")
