"""``pretrieve methods``: what can be trained, and the card of each with the source of every value."""

from __future__ import annotations

from typing import Annotated, Any

import typer

NAME = "methods"
EXAMPLE = "pretrieve methods contriever"


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A method, to print its card.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the methods, or print one's card: paper, what the released code does, every value with its source."""
    import orjson

    from pretrieve import methods

    if as_json:
        names = [name] if name else sorted(methods.presets())
        typer.echo(orjson.dumps({key: _facts(key) for key in names}, option=orjson.OPT_INDENT_2).decode())
    elif name:
        _print_card(name)
    else:
        _print_list()


def _facts(name: str) -> dict[str, Any]:
    from pretrieve.methods import find

    module, preset = find(name)
    parts = ("options", "training", "static", "encoder")
    return {
        "summary": preset.summary,
        "card": {
            key: getattr(module.CARD, key) for key in ("title", "paper", "idea", "released", "differs", "good_for")
        },
        **{
            part: {
                key: {"value": value.value, "source": value.source, "note": value.note}
                for key, value in getattr(preset, part).items()
            }
            for part in parts
        },
    }


def _print_list() -> None:
    from rich.console import Console
    from rich.table import Table

    from pretrieve.methods import presets

    table = Table(title="Methods", title_justify="left", box=None, header_style="bold")
    table.add_column("--method", style="cyan", no_wrap=True)
    table.add_column("what it does")
    table.add_column("method", style="dim")
    for name, module in sorted(presets().items()):
        table.add_row(name, module.PRESETS[name].summary, module.CARD.title)
    console = Console()
    console.print(table)
    console.print("\nThe card of one, with the source of every value:  [bold]pretrieve methods NAME[/]")


def _print_card(name: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    facts = _facts(name)
    card, console = facts["card"], Console()
    console.print(f"[bold cyan]{name}[/]  {escape(card['title'])}\n[dim]{escape(card['paper'])}[/]\n")
    for label, key in (
        ("Idea", "idea"),
        ("The released code", "released"),
        ("Where pretrieve differs", "differs"),
        ("Good for", "good_for"),
    ):
        if card[key]:
            console.print(f"[bold]{label}.[/] {escape(card[key])}")
    console.print(f"[bold]This preset.[/] {escape(facts['summary'])}\n")
    table = Table(box=None, header_style="bold")
    for column in ("for", "option", "value", "source", "where it stands"):
        table.add_column(column)
    for part in ("options", "encoder", "training", "static"):
        for key, value in facts[part].items():
            label = "training, static encoder" if part == "static" else part
            table.add_row(label, f"[cyan]{key}[/]", escape(str(value["value"])), value["source"], escape(value["note"]))
    console.print(table)
    console.print(f"\nTrain with it:  [bold]pretrieve train SOURCE -o OUT --method {name}[/]")
