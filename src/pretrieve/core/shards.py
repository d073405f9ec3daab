"""Names of shards: artefacts ``shard-000000``, ``shard-000001``, ... in a folder, each whole or not there."""

from __future__ import annotations

import re

_NAME = re.compile(r"shard-(\d{6,})")


def shard_name(number: int) -> str:
    """Name of a shard's folder."""
    return f"shard-{number:06}"


def shard_number(name: str) -> int | None:
    """Number of the shard with this name; None if it is no shard's."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None
