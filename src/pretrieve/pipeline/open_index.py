"""Opening an index with its model; apart from building, so that a search loads no reader of documents."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrieve.core import files
from pretrieve.index.index import Index
from pretrieve.index.opening import check_place

if TYPE_CHECKING:
    from pretrieve.core.types import TextEncoder


def open_index(path: Path, mode: str = "hybrid", model: str | None = None) -> Index:
    """Open an index with its own model, used as when the index was built; a static one needs no torch.

    Args:
        path: the index's folder.
        mode: ranking that is asked for; lexical search opens no model.
        model: where its model is now; default: in the index, or where the index says.

    Raises:
        UsageError: there is no index, or its model no longer exists.
        FingerprintError: the model has changed since.
    """
    from pretrieve.models.text_encoder import ModelOptions, open_encoder

    def opened(place: str, described: Mapping[str, Any]) -> TextEncoder:
        if model is None:
            check_place(path, place, files.load_manifest(path, "index")["meta"]["model"])
        return open_encoder(place, ModelOptions(**described))

    return Index.open(path, open_model=opened, with_model=mode != "lexical" or model is not None, place=model)
