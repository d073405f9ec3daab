"""One table, for the terminal or as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pretrieve.core.shown import shown

if TYPE_CHECKING:
    from rich.table import Table


def table(title: str, head: Sequence[str], lines: Iterable[Sequence[str]], *, styled: bool = False) -> Table:
    """A table for the terminal.

    Args:
        title: plain text above it.
        head: names of the columns.
        lines: its cells.
        styled: the cells are Rich markup, not plain text.
    """
    from rich.table import Table

    table = Table(title=shown(title, markup=True), title_justify="left")
    for name in head:
        table.add_column(shown(name, markup=True), overflow="fold")
    for line in lines:
        table.add_row(*(line if styled else (shown(cell, markup=True) for cell in line)))
    return table


def markdown(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table as Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)
