"""Usage of a base as its authors specify it: pooling, prompts and separator, which derived models keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import orjson

from pretrieve.models.checkpoints import find_checkpoint

TrainedPooling = Literal["mean", "cls", "lasttoken"]
_SETTINGS = "config_sentence_transformers.json"


@dataclass(frozen=True, kw_only=True)
class BaseUsage:
    """Usage of a base.

    Attributes:
        pooling: pooling; None: as its folder specifies, or else mean.
        prompts: text put before a query and before a document, by ``query`` and ``document``.
        separator: text between title and body of a document.
    """

    pooling: TrainedPooling | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    separator: str = " "


def usage_of_base(base: str) -> BaseUsage:
    """Return the usage of a base: of a published checkpoint by its name, of a folder by its settings.

    Args:
        base: ``static``, ``new:...``, a folder, or a hub name.
    """
    known = find_checkpoint(base)
    if known is not None:
        trained = known.pooling in ("mean", "cls", "lasttoken")
        pooling: TrainedPooling | None = known.pooling if trained else None  # type: ignore[assignment]
        prompts = {"query": known.query_prompt, "document": known.document_prompt}
        return BaseUsage(pooling=pooling, prompts=prompts, separator=known.separator)
    path = Path(base) / _SETTINGS
    settings = orjson.loads(path.read_bytes()) if path.is_file() else {}
    return BaseUsage(prompts=dict(settings.get("prompts") or {}), separator=settings.get("separator", " "))
