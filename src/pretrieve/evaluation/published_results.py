"""Published results of each method: the rows of ``records/*/results.jsonl``, which every installation includes.

One row is one figure of one method, over its seeds::

    {"method": "structure", "preset": "structure", "base": "static", "data": "medquad", "split": "test",
     "metric": "nDCG@10, dense", "value": 0.5617, "low": 0.5560, "high": 0.5670, "start": 0.4691, "seeds": [0, 1, 2],
     "command": "pretrieve train ...", "date": "2026-11-21", "commit": "d7ae0f7"}

``value`` and ``start`` (the same of the encoder before training) are means over the seeds, ``low`` and ``high`` the
least and the greatest ``value`` of a seed. ``better`` is "lower" for losses, and "higher" by default. Further
fields are allowed. ``record`` is the folder that the row was read from.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import CorruptError

RESULTS = "results.jsonl"
NEEDED = ("method", "preset", "base", "data", "split", "metric", "value", "low", "high", "start", "seeds", "command")
_PACKAGE = Path(__file__).parent.parent


def results(preset: str) -> list[dict[str, Any]]:
    """Rows of a preset, by record, data and metric; none where nothing was measured.

    Raises:
        CorruptError: a line is no row.
    """
    return [row for row in all_results() if row["preset"] == preset]


@cache
def all_results(folder: Path | None = None) -> tuple[dict[str, Any], ...]:
    """Every row of every record.

    Args:
        folder: of the records; those of this installation if None.

    Raises:
        CorruptError: a line is no row.
    """
    paths = sorted((folder or _folder()).glob(f"*/{RESULTS}"))
    rows = [row for path in paths for row in _read(path)]
    return tuple(sorted(rows, key=lambda row: (row["record"], row["data"], row["metric"], row["base"])))


def _folder() -> Path:
    """Where the records are: inside the installed package, or beside ``src`` where it is installed in place."""
    inside = _PACKAGE / "records"
    return inside if inside.is_dir() else _PACKAGE.parent.parent / "records"


def _read(path: Path) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = orjson.loads(line)
            missing = [key for key in NEEDED if key not in row]
        except (ValueError, TypeError) as error:
            raise CorruptError(f"{path}:{number} cannot be read ({error}): install pretrieve again.") from None
        if missing:
            raise CorruptError(f"{path}:{number} lacks {', '.join(missing)}: make the record again.")
        rows.append({**row, "record": path.parent.name})
    return rows
