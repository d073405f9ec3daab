"""``--base new:layers=4,hidden=256``: a BERT from scratch (``models/build.py``)."""

from __future__ import annotations

from typing import Literal

from pretrieve.models.build import EncoderOptions, build_transformer, new_transformer
from pretrieve.models.static import TokenizedDocuments
from pretrieve.models.transformer import TransformerEncoder

BASE = "new"
FAMILY: Literal["transformer"] = "transformer"


def build(settings: str, store: TokenizedDocuments, options: EncoderOptions, seed: int) -> TransformerEncoder:
    """Draw the weights of a transformer.

    Raises:
        UsageError: a setting is unknown or does not fit, or the tokenizer has no [CLS] and [SEP].
    """
    new = new_transformer(f"{BASE}:{settings}")
    assert new is not None
    return build_transformer(new, store.specials, options, seed)
