"""``--base static``: the mean of the vectors of a text's tokens (``models/static.py``)."""

from __future__ import annotations

from typing import Literal

from pretrieve.core.errors import UsageError
from pretrieve.models.build import EncoderOptions
from pretrieve.models.static import StaticEncoder, TokenizedDocuments

BASE = "static"
FAMILY: Literal["static"] = "static"


def build(settings: str, store: TokenizedDocuments, options: EncoderOptions, seed: int) -> StaticEncoder:
    """Draw the vectors of a static encoder.

    Raises:
        UsageError: settings were given.
    """
    if settings:
        raise UsageError(f"--base static:{settings}: it has no settings; --set dimensions=256 sets its width.")
    return StaticEncoder.from_store(store, options.dimensions, seed, max_length=options.max_length or 512)
