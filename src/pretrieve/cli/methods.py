"""``pretrieve methods``: what can be trained, and the card of each with the source of every value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pretrieve.cli import completing
from pretrieve.cli.options import Json, OutputJson
from pretrieve.cli.output import working, write_json
from pretrieve.core.shown import shown

if TYPE_CHECKING:
    from pretrieve.core.config import Value

NAME = "methods"
EXAMPLE = "pretrieve methods contriever"
_KINDS = {"static": "static encoders", "transformer": "transformers"}
_CARD = ("title", "paper", "idea", "released", "differs", "good_for", "encoders", "pretraining_only")
_PARTS = {
    "options": "method",
    "encoder": "encoder",
    "training": "training",
    "static": "for a static encoder instead",
}


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=completing.methods,
            help="Method whose card to print.",
            show_default=False,
        ),
    ] = None,
    as_bibtex: Annotated[
        bool, typer.Option("--bibtex", help="Print BibTeX of the papers of NAME, or of all methods.")
    ] = False,
    as_json: Json = False,
    output_json: OutputJson = None,
) -> None:
    """List the methods, or print one's card: paper, what the code does, every value with its source, results."""
    import pretrieve.methods as methods

    if as_bibtex:
        _print_bibtex(name, as_json or output_json is not None)
        return
    if as_json or output_json is not None:
        with working(as_json, output_json):
            facts = {key: _facts(key) for key in ([name] if name else methods.names())}
        if write_json(facts, as_json, output_json):
            return
    if name:
        _print_card(name)
    else:
        _print_list()


def _print_bibtex(name: str | None, as_json: bool) -> None:
    """The entries of a method's papers, or of all; methods whose card has none are named on standard error."""
    import pretrieve.methods as methods
    from pretrieve.core.errors import UsageError

    if as_json:
        raise UsageError("give --bibtex or --json, not both: --json has the BibTeX of each card under papers.")
    papers = {key: methods.facts(key).card.papers for key in ([name] if name else methods.names())}
    without = [key for key, found in papers.items() if not found]
    missing = f"no papers on the card of {', '.join(without)}: add papers=(Paper(...),) to its CARD."
    if len(without) == len(papers):
        raise UsageError(missing)
    typer.echo(methods.bibtex(paper for found in papers.values() for paper in found))
    if without:
        typer.echo(f"note: {shown(missing)}", err=True)


def _facts(name: str) -> dict[str, Any]:
    from pretrieve.evaluation.published_results import results
    from pretrieve.methods import facts

    found = facts(name)
    parts = ("options", "encoder", "training", "static")
    return {
        "summary": found.preset.summary,
        "card": {key: getattr(found.card, key) for key in _CARD}
        | {"papers": {paper.key: paper.bibtex() for paper in found.card.papers}},
        **{part: _sourced(getattr(found.preset, part)) for part in parts},
        "variants": {key: _sourced(values) for key, values in found.variants.items()},
        "defaults": dict(found.defaults),
        "results": results(name),
    }


def _sourced(values: Mapping[str, Value]) -> dict[str, dict[str, Any]]:
    return {key: {"value": value.value, "source": value.source, "note": value.note} for key, value in values.items()}


def _print_list() -> None:
    from rich.console import Console

    console = Console()
    _print_group(console, "Retrievers, ready for search", pretraining_only=False)
    _print_group(console, "Pre-training only: fine-tune before search", pretraining_only=True)
    console.print("\nThe card of one, with the source of every value and its results:  [bold]pretrieve methods NAME[/]")


def _print_group(console: Any, title: str, *, pretraining_only: bool) -> None:
    from rich.table import Table

    from pretrieve.methods import listing

    table = Table(title=f"[bold]{title}[/]", title_justify="left", title_style="", box=None, show_header=False)
    table.add_column(style="cyan", no_wrap=True, min_width=19)
    table.add_column()
    table.add_column(no_wrap=True, style="dim")
    for name, listed in listing().items():
        if listed.pretraining_only == pretraining_only:
            kinds = "any encoder" if len(listed.encoders) > 1 else listed.encoders[0]
            table.add_row(name, listed.summary, kinds)
    console.print(table)


def _print_card(name: str) -> None:
    from rich.console import Console

    facts = _facts(name)
    card, console = facts["card"], Console()
    console.print(
        f"[bold cyan]{name}[/]  {_escaped(card['title'])}\n[dim]{_escaped(card['paper'])}[/]\n", highlight=False
    )
    made_for = (
        "Pre-training only: fine-tune the model before search"
        if card["pretraining_only"]
        else "A retriever, ready for search"
    )
    for label, text in (
        ("Idea", card["idea"]),
        ("The released code", card["released"]),
        ("Where pretrieve differs", card["differs"]),
        ("Good for", card["good_for"]),
        ("Makes", f"{made_for}. Trains {' and '.join(_KINDS[kind] for kind in card['encoders'])}."),
        ("This preset", facts["summary"]),
    ):
        if text:
            console.print(f"[bold]{label}.[/] {_escaped(text)}", highlight=False)
    console.print("\n[bold]Values[/], with the source of each")
    for part, label in _PARTS.items():
        _print_values(console, label, facts[part])
    for variant, values in facts["variants"].items():
        if values:
            _print_values(console, f"variant {variant} for a static encoder, instead", values)
        else:
            console.print(f"[bold dim]variant {variant}[/]: the values above")
    if facts["defaults"]:
        left = ", ".join(f"{key}={value}" for key, value in facts["defaults"].items())
        console.print(f"[dim]not set by the preset:[/] {_escaped(left)}", highlight=False)
    _print_results(console, facts["results"])
    console.print(f"\nTrain with it:  [bold]pretrieve train SOURCE -o OUT --method {name}{_base(card)}[/]")
    console.print(f"See its rows:   [bold]pretrieve inspect SOURCE --method {name}[/]")
    if card["papers"]:
        console.print(f"Cite it:        [bold]pretrieve methods {name} --bibtex[/]")


def _base(card: dict[str, Any]) -> str:
    return "" if "static" in card["encoders"] else " --base MODEL"


def _print_values(console: Any, label: str, values: dict[str, Any]) -> None:
    """Values of one part: name and value, with their sources below."""
    from rich.table import Table

    if not values:
        return
    table = Table(box=None, show_header=False, padding=(0, 1))
    table.add_column(no_wrap=True, min_width=16)
    table.add_column(min_width=8, max_width=24)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in values.items():
        table.add_row(
            f"[cyan]{key}[/]", _escaped(_shown(value["value"])), value["source"], f"[dim]{_escaped(value['note'])}[/]"
        )
    console.print(f"[bold dim]{label}[/]")
    console.print(table, highlight=False)


def _shown(value: Any) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _print_results(console: Any, rows: list[dict[str, Any]]) -> None:
    """Results; ranges are over seeds."""
    from rich.table import Table

    if not rows:
        console.print("\n[bold]Results.[/] None in records/ yet.")
        return
    for record in sorted({row["record"] for row in rows}):
        mine = [row for row in rows if row["record"] == record]
        console.print(f"\n[bold]Results[/] of records/{_escaped(record)}; value: mean (least to greatest seed)")
        table = Table(box=None, header_style="dim", padding=(0, 1))
        for column, side in (("data", "left"), ("metric", "left"), ("start", "right"), ("value", "right")):
            table.add_column(column, justify=side)  # type: ignore[arg-type]
        for row in mine:
            spread = f" ({_figure(row['low'])} to {_figure(row['high'])})" if len(row["seeds"]) > 1 else ""
            where = f"{row['data']} {row['split']}"
            table.add_row(
                _escaped(where), _escaped(row["metric"]), _figure(row["start"]), f"{_figure(row['value'])}{spread}"
            )
        console.print(table, highlight=False)
        for base in sorted({row["base"] for row in mine}):
            console.print(f"[dim]base {_escaped(base)}[/]", highlight=False)
        for command in sorted({row["command"] for row in mine}):
            console.print(f"[dim]{_escaped(command)}[/]", highlight=False)


def _escaped(text: object) -> str:
    return shown(text, markup=True)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}"
