"""What ``train`` and ``inspect`` print when they are done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from pretrieve.pipeline.keep import Report

_STYLES = {
    "kept": "",
    "deleted": "red strike",
    "masked": "yellow reverse",
    "replaced": "magenta",
    "removed": "dim italic",
}
_NAMES = {"sentence": "sentence → document", "title": "title → body", "lead": "first sentence → rest"}


def print_training(report: Report, output: Path) -> None:
    """Print the probe, what was handed out and why, and what to do next."""
    console = Console()
    if report.probe is not None:
        console.print(_probe_table(report.probe))
    console.print(f"[bold]Handed out:[/] {escape(report.reason)}.")
    done = f"{report.recipe['training']['steps']:,} steps" if report.part or report.probe else "not trained"
    console.print(
        f"[bold]{escape(str(output))}[/]: {report.recipe['method']} on {report.documents['trained on']:,} documents, "
        f"{done}; a stock sentence-transformers model.",
        highlight=False,
    )
    sources = " ".join(report.recipe["sources"])
    console.print("\nNext:", highlight=False)
    console.print(f"  pretrieve index {escape(sources)} --model {escape(str(output))} -o my-index", highlight=False)
    console.print('  pretrieve search my-index "your question"', highlight=False)


def _probe_table(probe: dict[str, Any]) -> Table:
    title = f"Label-free probe: nDCG@10 among {probe['pool']:,} documents, queries from documents not trained on"
    table = Table(title=title, title_justify="left", header_style="bold")
    table.add_column("system")
    for kind, number in probe["queries"].items():
        table.add_column(f"{_NAMES.get(kind, kind)} ({number})", justify="right")
    for system, values in probe["nDCG@10"].items():
        table.add_row(system, *(f"{values[kind]:.3f}" for kind in probe["queries"]))
    return table


def print_pairs(pairs: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    """Print training pairs in colour, and what the negatives are."""
    console = Console()
    console.print(
        f"[bold cyan]{summary['method']}[/] on {summary['documents']:,} documents, {summary['tokens']:,} tokens. "
        f"A batch has {summary['batch_size']:,} pairs; negatives: {summary['negatives']}; the same document "
        f"{summary['same document']}.",
        highlight=False,
    )
    legend = "  ".join(f"[{style}]{name}[/]" if style else name for name, style in _STYLES.items())
    console.print(f"[dim]Marks:[/] {legend}\n")
    for number, pair in enumerate(pairs, start=1):
        note = f", {pair['note']}" if pair["note"] else ""
        console.print(
            f"[bold]pair {number}[/] [dim]document {escape(pair['document'])}{escape(note)}[/]", highlight=False
        )
        for row in pair["rows"]:
            console.print(f"  [cyan]{row['role']}[/] [dim]{_place(row)}[/]", highlight=False)
            console.print(f"    {_text(row)}", highlight=False)
        console.print()


def _place(row: dict[str, Any]) -> str:
    spans = " + ".join(f"{start}–{stop}" for start, stop in row["spans"])
    return f"tokens {spans} of {row['of']}" + (f", {row['deleted']} deleted" if row["deleted"] else "")


def _text(row: dict[str, Any]) -> str:
    return " ".join(
        f"[{_STYLES[state]}]{escape(text)}[/]" if _STYLES[state] else escape(text) for state, text in row["pieces"]
    )
