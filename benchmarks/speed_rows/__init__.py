"""Rows of the table of speeds (``benchmarks/speed.py``): sides on the same work, and lines that compare them."""

from __future__ import annotations

from speed_rows import reading, searching, static, transformer
from speed_rows.measure import Row

ROWS: dict[str, Row] = {
    row.name: row for part in (transformer, static, reading, searching) for row in part.ROWS
}  # fmt: skip
