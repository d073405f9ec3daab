"""``pretrieve search``: query an index, once, interactively, or with a file of queries."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pretrieve.cli.options import Device, Json, Mode, OutputJson
from pretrieve.cli.output import apart, say, styled, write_json
from pretrieve.core.shown import shown

if TYPE_CHECKING:
    from pretrieve.index.find import Result
    from pretrieve.index.hits import Hit
    from pretrieve.index.index import Index

NAME = "search"
EXAMPLE = "pretrieve search my-index how do I rotate the keys"
_SHOWN = 6  # fields of a hit that are printed
_LONG = 60  # characters of one


def command(
    index: Annotated[Path, typer.Argument(help="Output of `pretrieve index`.", show_default=False)],
    query: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[QUERY]...",
            help='What to search for, in one word or several; without it, queries are read a line each. "A phrase" in '
            "quotes has to occur, +word too, -word must not, field:value filters; such signs count at the start of a "
            "word only, and a field only if documents have it.",
            show_default=False,
        ),
    ] = None,
    k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Number of hits.")] = 10,
    mode: Annotated[Mode, typer.Option("--mode", help="Ranking to use.")] = "hybrid",
    filter_text: Annotated[
        str | None,
        typer.Option(
            "--filter",
            metavar="FILTER",
            help="Search only documents whose fields fit, such as 'lang=en and date>=2025-01-01' (= != < <= > >=, in "
            "(a, b), ~ for contains, exists, and, or, not).",
            show_default=False,
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="FIELD",
            help="Show the best hit for each value of a field, such as file or title; none: every hit. (default: "
            "parent, where documents were cut into passages)",
            show_default=False,
        ),
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Take the query as text: quotes, +, - and : mean nothing.")] = (
        False
    ),
    queries: Annotated[
        Path | None,
        typer.Option(
            "--queries",
            metavar="FILE",
            help="File of queries, taken as text: one a line, TSV of id and text, or JSONL; with --run.",
            show_default=False,
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FILE", help="Write the ranking of --queries as a TREC run.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Where the index's model is now, if it was moved.", show_default=False),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    output_json: OutputJson = None,
    full_text: Annotated[
        bool, typer.Option("--full-text", help="With --json: the whole text of each hit too, however long.")
    ] = False,
) -> None:
    """Search an index; hits show rank, score, title, the best sentence with the query's words marked, place and fields.

    With --json and without a query, every line that is read gives a JSON object.
    """
    import orjson

    from pretrieve.core.memory import leave_alone_what_is_loaded
    from pretrieve.index.answer_json import answer_json, default_group
    from pretrieve.index.find import search
    from pretrieve.models.devices import using
    from pretrieve.pipeline.open_index import open_index

    text = " ".join(query) if query else None
    _check(text, queries, run, output_json, as_json=as_json, full_text=full_text)
    with apart(as_json, output_json), using(device):
        opened = open_index(index, mode, model)
    group = default_group(opened, group_by)
    if queries is not None and run is not None:
        _run(opened, queries, run, k=k, mode=mode, filter_text=filter_text, group_by=group)
        return

    def answer(line: str) -> Result:
        return search(opened, line, k, mode, filter=filter_text, group_by=group, syntax=not plain)

    if text is not None:
        result = answer(text)
        if not write_json(answer_json(opened, text, mode, result, full_text=full_text), as_json, output_json):
            _print(opened, mode, result)
        return
    if sys.stdin.isatty():
        typer.echo(f"{len(opened):,} documents. Type a question; an empty line ends.", err=as_json)
    leave_alone_what_is_loaded()
    while line := _line(as_json):
        if (found := _answered(answer, line)) is None:
            continue
        if as_json:
            typer.echo(orjson.dumps(answer_json(opened, line, mode, found, full_text=full_text)))
        else:
            _print(opened, mode, found)


def _answered(answer: Callable[[str], Result], line: str) -> Result | None:
    """The answer to a line; at a terminal, a mistake in it is said and the next line is read."""
    from pretrieve.core.errors import UsageError

    try:
        return answer(line)
    except UsageError as error:
        if not sys.stdin.isatty():
            raise
        say(f"error: {error}")
        return None


def _check(
    text: str | None,
    queries: Path | None,
    run: Path | None,
    output_json: Path | None,
    *,
    as_json: bool,
    full_text: bool,
) -> None:
    from pretrieve.core.errors import UsageError

    if (queries is None) != (run is None):
        raise UsageError("--queries FILE and --run FILE go together: the queries, and where their ranking is written.")
    if queries is not None and text is not None:
        raise UsageError(f"there is a query ({text!r:.60}) and a file of queries: give one of them.")
    if queries is not None and (as_json or output_json is not None):
        raise UsageError("--queries writes a run, and no JSON: leave --json and --output-json out.")
    if full_text and output_json is None and not as_json:
        raise UsageError("--full-text is for --json or --output-json: give one of them, or leave it out.")
    if text is None and output_json is not None:
        raise UsageError("--output-json takes the result of one query: give the query.")


def _run(
    index: Index, queries: Path, run: Path, *, k: int, mode: Mode, filter_text: str | None, group_by: str | None
) -> None:
    """Rank for a file of queries, and write the run."""
    from pretrieve.index.find import rank_many
    from pretrieve.pipeline.run.query_files import queries_of, write_run

    asked = queries_of(queries)
    ranked = rank_many(index, [*asked.values()], k, mode, filter=filter_text, group_by=group_by)
    hits, escaped = write_run(run, zip(asked, ranked, strict=True))
    say(f"{len(asked):,} queries, {hits:,} hits: {run}")
    if escaped:
        say(f"{escaped:,} ids hold white space, which is written as %20; trec_eval's qrels need it too.")


def _line(as_json: bool) -> str:
    """The next query; empty at the end."""
    try:
        with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
            return input("? " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


def _print(index: Index, mode: Mode, result: Result) -> None:
    if understood := result.query.describe():
        say(f"{result.query.text}; {understood}")
    for note in result.notes:
        say(note)
    if not result.hits:
        typer.echo("Nothing found.")
    elif not result.relevant:
        typer.echo("Nothing relevant found; nearest:")
    for hit in result.hits:
        print_hit(hit)
    if mode != "dense":
        typer.echo(styled(index.lexical.describe(), dim=True))


def print_hit(hit: Hit) -> None:
    """Print one hit: rank, score, title, id, place, fields, and its best sentence with the query's words in bold."""
    head = f"{hit.rank:>3}  {hit.score:7.3f}  {styled(hit.title or hit.id, bold=True)}  {styled(hit.id, dim=True)}"
    typer.echo(head)
    sentence, last = "", 0
    for start, stop in hit.marks:
        sentence += _in_a_line(hit.sentence[last:start]) + styled(hit.sentence[start:stop], fg="green", bold=True)
        last = stop
    typer.echo(f"              {sentence}{_in_a_line(hit.sentence[last:])}")
    if about := _about(hit):
        typer.echo(f"              {styled(about, dim=True)}")
    typer.echo()


def _in_a_line(text: str) -> str:
    """A text for the terminal; line breaks and the indentation of code become one space."""
    return shown(re.sub(r"\s+", " ", text))


def _about(hit: Hit) -> str:
    """Place, relevance, fields and the number of further hits, in a line."""
    parts = [hit.place] if hit.place and hit.place != hit.id else []
    parts += [] if hit.relevance is None else [f"relevance {hit.relevance:.2f}"]
    for name, value in [*hit.fields.items()][:_SHOWN]:
        text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        parts.append(f"{name}: {text[:_LONG]}{'…' if len(text) > _LONG else ''}")
    parts += [f"and {len(hit.fields) - _SHOWN} more fields"] if len(hit.fields) > _SHOWN else []
    return "; ".join([*parts, *([f"{hit.more:,} more of it"] if hit.more else [])])
