"""``pretrieve inspect``: see real training examples: where in the document each span lies, and what was done to it."""

from __future__ import annotations

from typing import Annotated

import typer

from pretrieve.cli.options import SOURCES, GroupField, IdField, OnBadOption, Seed, TextField, TitleField, WithoutTitles

NAME = "inspect"
EXAMPLE = "pretrieve inspect docs/ --method contriever -n 3"


def command(
    sources: SOURCES,
    method: Annotated[str | None, typer.Option("--method", help="See `pretrieve methods`.", show_default=False)] = None,
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="static, a hub name, a folder, or new:layers=4,hidden=256.  [default: static, or new]",
            show_default=False,
        ),
    ] = None,
    number: Annotated[int, typer.Option("-n", min=1, help="Number of examples.")] = 5,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set an option of the method.")
    ] = None,
    seed: Seed = 0,
    on_bad: OnBadOption = "fail",
    text_field: TextField = None,
    title_field: TitleField = None,
    id_field: IdField = None,
    group_field: GroupField = None,
    without_titles: WithoutTitles = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show real training examples in colour, as the method would train on them."""
    from pretrieve.core.config import parse_assignments
    from pretrieve.pipeline.inspect import InspectRequest, look
    from pretrieve.pipeline.run.display import Display
    from pretrieve.pipeline.run.sources import fields_of

    fields = fields_of(
        text=text_field, title=title_field, identity=id_field, group=group_field, titles=not without_titles
    )
    asked = InspectRequest(
        sources=tuple(sources),
        method=method,
        base=base,
        number=number,
        settings=parse_assignments(settings or []),
        seed=seed,
        on_bad=on_bad,
        fields=fields,
    )
    with Display() as display:
        pairs, summary = look(asked, display)
    if as_json:
        import orjson

        typer.echo(orjson.dumps({"summary": summary, "pairs": pairs}, option=orjson.OPT_INDENT_2).decode())
    else:
        from pretrieve.cli.tables import print_pairs

        print_pairs(pairs, summary)
