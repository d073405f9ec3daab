"""The table of speeds as Markdown, out of ``results.json``: all of it, and the ratios for README."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

from speed_rows.measure import Line, Row

BEGIN, END = "<!-- speed -->", "<!-- /speed -->"
HEAD = """# Speed, side by side

`make bench` makes this page and `results.json`; `make bench ROWS="training cache"` measures some rows again. In every
row pretrieve and what stands beside it do the same work in one run: same texts, model, dropout and batches, in turns,
on one core with one thread. CPU seconds count (wall seconds are in `results.json`); of the ratios of all rounds, the
median stands before the lowest and the highest. Ratios hold from machine to machine better than rates do. Where
nothing else is said, a figure is how many times as fast pretrieve is.
"""


def lines_of(rows: Mapping[str, Row], found: Mapping[str, Any]) -> Iterator[tuple[Row, Line, dict[str, Any]]]:
    """Lines in the order of the rows, with what was measured; nothing for rows that were not."""
    for name, row in rows.items():
        measured = {line["name"]: line for line in found["rows"].get(name, {}).get("lines", ())}
        for line in row.lines:
            if line.name in measured:
                yield row, line, measured[line.name]


def figure(value: float) -> str:
    """A number with two digits that count, or more."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def goal(line: Line) -> str:
    """The goal in words."""
    return "" if line.goal is None else f"{'≤' if line.at_most else '≥'} {line.goal:g}"


def page(rows: Mapping[str, Row], found: Mapping[str, Any]) -> str:
    """``records/speed/README.md``."""
    text = [HEAD, f"Measured on: {found['machine']}.\n"]
    text.append("| what: beside what | measured | goal | met | in a CPU second |\n|---|---|---|---|---|")
    reasons = []
    for row, line, values in lines_of(rows, found):
        spread = f"{figure(values['value'])} ({figure(values['low'])} to {figure(values['high'])})"
        met = {None: "", True: "yes", False: "**no**"}[values["met"]]
        text.append(f"| {line.what} | {spread} | {goal(line)} | {met} | {rates(line, found['rows'][row.name])} |")
        if values["met"] is False and line.why:
            reasons.append(f"* {line.what}: {line.why}")
    left_out = {name: found["rows"][name]["missing"] for name in rows if found["rows"].get(name, {}).get("missing")}
    for name, reason in left_out.items():
        text.append(f"| {rows[name].lines[0].what} | {reason} | {goal(rows[name].lines[0])} | | |")
    text += ["\n## Goals that are missed\n", *reasons] if reasons else []
    text.append("\n## The work of each row\n")
    for name, row in rows.items():
        at = found["rows"].get(name)
        text.append(f"* `{name}`: {row.what}{when(at)}.")
    return "\n".join(text) + "\n"


def when(at: Mapping[str, Any] | None) -> str:
    """When a row was measured, and how busy the machine was."""
    if at is None or at.get("missing"):
        return " (not measured)" if at is None else ""
    toy = "toy size, " if at["toy"] else ""
    return f" ({toy}{at['rounds']} rounds, {at['date']}, load {at['load']:.1f})"


def rates(line: Line, measured: Mapping[str, Any]) -> str:
    """What either side does in a CPU second."""
    if line.kind not in ("speed", "rate") or line.unit in ("rounds", "flops"):
        return ""
    shown = []
    for side in filter(None, (line.side, line.other)):
        amount = measured["amounts"][side].get(line.unit)
        seconds = statistics.median(sample["cpu"] for sample in measured["runs"][side])
        shown.append(figure(amount / seconds))
    return f"{' beside '.join(shown)} {line.unit}"


def readme(rows: Mapping[str, Row], found: Mapping[str, Any]) -> str:
    """The ratios, for README."""
    text = [BEGIN, "| what: beside what | times as fast |", "|---|---|"]
    for _, line, values in lines_of(rows, found):
        if line.in_readme:
            text.append(f"| {line.what} | {figure(values['value'])} |")
    return "\n".join([*text, END])


def put(text: str, block: str) -> str:
    """A page with the block between the marks replaced."""
    before, rest = text.split(BEGIN)
    return before + block + rest.split(END)[1]


def shown_in(text: str) -> str:
    """The block of a page."""
    return BEGIN + text.split(BEGIN)[1].split(END)[0] + END
