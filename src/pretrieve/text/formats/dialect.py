"""How the cells of a table are divided: by which character, and whether quotes hold them together.

Decided once a file, from its first lines.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from pretrieve.text.conventions import is_known

_DELIMITERS = (",", ";", "\t", "|")
_EXCEL = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are divided.

    Attributes:
        delimiter: one character.
        spaced: a blank follows each delimiter, and is no part of the cell.
        declared: the first line says so (``sep=;``, as Excel reads it), and is no row.
    """

    delimiter: str
    spaced: bool = False
    declared: bool = False


def dialect_of(lines: Sequence[str], usual: str) -> Dialect:
    """The dialect of a table.

    The delimiter is the one that finds most usual names (``id``, ``title``, ``text``) in the first line; without any,
    the one that finds the same number of cells, at least two, in most lines.

    Args:
        lines: the first lines of the file, without their ends.
        usual: delimiter that is taken where the lines say nothing.
    """
    full = [line for line in lines if line.strip()]
    if not full:
        return Dialect(usual)
    if declared := _EXCEL.fullmatch(full[0].strip()):
        return Dialect(declared[1], declared=True)
    order = [usual, *(delimiter for delimiter in _DELIMITERS if delimiter != usual)]
    known = {delimiter: sum(map(is_known, cells_of(full[0], delimiter))) for delimiter in order}
    if any(known.values()):
        best = max(order, key=lambda delimiter: known[delimiter])
    else:
        best = max(order, key=lambda delimiter: _agreement(full, delimiter))
    spaced = all(cell.startswith(" ") for cell in full[0].split(best)[1:]) and best in full[0] and best != "\t"
    return Dialect(best, spaced=spaced)


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one line; quotes hold cells together where they fit."""
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True, skipinitialspace=True), [])
    except csv.Error:
        return line.split(delimiter)


def is_quoted(lines: Sequence[str], delimiter: str) -> bool:
    """Whether quotes hold cells together, where they may also be characters of the text.

    They do if there are cells that begin with a quote, each of them ends with one, and those inside are doubled; or if
    the rows have the same number of cells only so, because some go over several lines.
    """
    cells = [cell for line in lines for cell in line.split(delimiter) if cell.startswith('"')]
    if not cells or all(_QUOTED.fullmatch(cell) for cell in cells):
        return bool(cells)
    if len({line.count(delimiter) for line in lines if line.strip()}) == 1:
        return False
    try:
        rows = [row for row in csv.reader([f"{line}\n" for line in lines], delimiter=delimiter) if row]
    except csv.Error:
        return False
    return len(rows) > 2 and len({len(row) for row in rows[:-1]}) == 1  # the last one may be cut


def _agreement(lines: Sequence[str], delimiter: str) -> int:
    """Number of lines with as many cells as the first; 0 if that is one cell."""
    counts = [len(cells_of(line, delimiter)) for line in lines]
    return sum(count == counts[0] for count in counts) if counts[0] > 1 else 0
