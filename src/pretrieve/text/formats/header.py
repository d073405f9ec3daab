"""The first line of a table: whether it names the columns, and what the names are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pretrieve.text.conventions import folded, is_known

IGNORED = "-"  # name of a column that is not read
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)*")
_SENTENCE = 5  # words of a cell that is no name
_LONG = 60  # characters of a cell that is no name


def looks_like_data(cells: Sequence[str]) -> bool:
    """Whether the first line of a table is a record and no header.

    A header has a usual name, or nothing but short words; a record has a number, or a cell with many words.
    """
    if any(is_known(cell) for cell in cells):
        return False
    return any(_NUMBER.fullmatch(cell.strip()) or _is_sentence(cell) for cell in cells)


def looks_like_id_and_text(cells: Sequence[str]) -> bool:
    """Whether a record has exactly two cells, a whole number and a text."""
    return len(cells) == 2 and cells[0].strip().isdecimal() and " " in cells[1].strip()


def suggested_columns(cells: Sequence[str]) -> list[str]:
    """Names for the columns of a record: the longest cell is the text, the first word or number the id."""
    names = [IGNORED] * len(cells)
    text = max(range(len(cells)), key=lambda place: len(cells[place]))
    names[text] = "text"
    rest = [place for place in range(len(cells)) if place != text and cells[place].strip()]
    if rest and " " not in cells[rest[0]].strip():
        names[rest.pop(0)] = "id"
    titles = [place for place in rest if not _NUMBER.fullmatch(cells[place].strip())]
    if titles:
        names[titles[0]] = "title"
    return names


def names_the_columns(cells: Sequence[str], columns: Sequence[str]) -> bool:
    """Whether the first line of a table is a header although the user names the columns."""
    return all(
        is_known(cell) or folded(cell) == folded(name) for cell, name in zip(cells, columns, strict=False)
    ) and len(cells) == len(columns)


def column_names(cells: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of all columns, each another, from a header, and those that the header repeats.

    Blanks around names and empty cells at the end are left out; a column without a name is ``column 3``, a second
    ``text`` is ``text.2``.
    """
    names = [cell.strip("\ufeff \t") for cell in cells]
    while names and not names[-1]:
        names.pop()
    times: Counter[str] = Counter()
    found: list[str] = []
    repeated: list[str] = []
    for place, name in enumerate(names, start=1):
        name = name or f"column {place}"
        times[name] += 1
        if times[name] > 1:
            repeated.append(name)
        found.append(f"{name}.{times[name]}" if times[name] > 1 else name)
    return found, repeated


def _is_sentence(cell: str) -> bool:
    return len(cell) > _LONG or len(cell.split(None, _SENTENCE)) >= _SENTENCE
