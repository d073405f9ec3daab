"""``pretrieve search``: ask an index, once or interactively."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrieve.cli.options import Mode

if TYPE_CHECKING:
    from pretrieve.index.hits import Hit
    from pretrieve.index.index import Index

NAME = "search"
_ON_ONE_LINE = str.maketrans("\n\r\t", "   ")  # as long as before, so that marks stay where they are
EXAMPLE = 'pretrieve search my-index "how do I rotate the keys?"'


def command(
    index: Annotated[Path, typer.Argument(help="An index made by `pretrieve index`.", show_default=False)],
    query: Annotated[
        str | None, typer.Argument(help="What to look for; without it, you are asked.", show_default=False)
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    mode: Annotated[Mode, typer.Option("--mode", help="How to search.")] = "hybrid",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Search an index; hits show rank, score, title and the best sentence with the query's words marked."""
    from pretrieve.pipeline.index import open_index

    opened = open_index(index, mode)
    if query is not None:
        _answer(opened, query, k, mode, as_json)
        return
    if sys.stdin.isatty():
        typer.echo(f"{len(opened):,} documents. Type a question; an empty line ends.")
    while True:
        try:
            line = input("? " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if not line:
            return
        _answer(opened, line, k, mode, as_json)


def _answer(index: Index, query: str, k: int, mode: Mode, as_json: bool) -> None:
    hits = index.search(query, k=k, mode=mode)
    if as_json:
        import orjson

        facts = {"query": query, "mode": mode, "bm25": index.lexical.describe()}
        typer.echo(orjson.dumps(facts | {"hits": [hit.to_json() for hit in hits]}).decode())
        return
    if not hits:
        typer.echo("Nothing found.")
    for hit in hits:
        print_hit(hit)
    if mode != "dense":
        typer.secho(index.lexical.describe(), dim=True)


def print_hit(hit: Hit) -> None:
    """Print one hit: rank, score, title, id, and its best sentence with the query's words in bold."""
    title = hit.title or hit.id
    typer.echo(f"{hit.rank:>3}  {hit.score:7.3f}  {typer.style(title, bold=True)}  {typer.style(hit.id, dim=True)}")
    sentence = hit.sentence.translate(_ON_ONE_LINE)
    shown, last = "", 0
    for start, stop in hit.marks:
        shown += sentence[last:start] + typer.style(sentence[start:stop], fg="green", bold=True)
        last = stop
    typer.echo(f"              {shown}{sentence[last:]}\n")
