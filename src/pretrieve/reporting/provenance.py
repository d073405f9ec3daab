"""The end of a report: the command, the recipe, the environment and the fingerprints, as far as they are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretrieve.reporting.page import Section, Table


def made_by(
    command: str,
    *,
    recipe: Mapping[str, Any],
    environment: Mapping[str, Any],
    fingerprints: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> Section:
    """Command, recipe, environment and fingerprints.

    Args:
        command: that made what is reported; empty where it is not kept.
        recipe: effective values, by name or by part and name.
        environment: device and versions.
        fingerprints: by what they are of.
        notes: what else has to be said.
    """
    lines = list(notes)
    if not command:
        lines.append("The command is not kept.")
    if not environment:
        lines.append("Device and versions are not kept.")
    tables = [Table(title=title, head=["for", "value"], rows=rows, folded=title == "Recipe") for title, rows in (
        ("Fingerprints", _rows(fingerprints)), ("Environment", _rows(environment)), ("Recipe", _rows(recipe)),
    ) if rows]  # fmt: skip
    return Section(title="How it was made", notes=lines, texts=[command] if command else [], tables=tables)


def _rows(values: Mapping[str, Any], before: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _rows(value, f"{before}{name}.")
        else:
            rows.append([f"{before}{name}", _text(value)])
    return rows


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)
