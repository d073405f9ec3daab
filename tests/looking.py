"""Looks into folders that another process writes to."""

from __future__ import annotations

from pathlib import Path


def seen(folder: Path, pattern: str) -> list[Path]:
    """What matches a pattern; nothing where a folder below went away meanwhile, as temporary ones do."""
    try:
        return list(folder.glob(pattern))
    except FileNotFoundError:
        return []
