"""Tiny runs of every preset: ``pretrieve.testing.tiny``, with options that fit its documents."""

from __future__ import annotations

from typing import Any

from pretrieve import methods
from pretrieve.sampling.batches import Batches
from pretrieve.testing.tiny import BARE as BARE
from pretrieve.testing.tiny import KINDS, Case, TinyTokenizer
from pretrieve.testing.tiny import SPECIALS as SPECIALS
from pretrieve.testing.tiny import VOCABULARY as VOCABULARY
from pretrieve.testing.tiny import encoder as encoder
from pretrieve.testing.tiny import store as store
from pretrieve.text.store import Store

_Tokenizer = TinyTokenizer
# Small values for every option of any method that would not fit a tiny store.
SMALL = {
    "window": 32,
    "queue": 32,
    "languages": (),
    "block": 40,
    "query": 16,
    "length": 24,
    "min_tokens": 0,
    "max_tokens": 0,
    "projection": 8,
    "passage": 6,
    "query_min": 4,
    "query_max": 8,
    "stop_words": 0,
    "words_min": 1,
    "words_max": 3,
    "views": 3,
    "queries_per_document": 2,
    "candidates": 4,
    "refresh": 3,
    "lag": 2,
    "force_new_head": True,
}


def kinds(preset: str) -> tuple[str, ...]:
    """The kinds of encoder that a preset's method trains."""
    module, _ = methods.find(preset)
    return tuple(KINDS[kind] for kind in module.CARD.encoders)


def case(preset: str, kind: str = "static", **changes: Any) -> Case:
    """A preset on a kind of encoder, at tiny size."""
    module, _ = methods.find(preset)
    fields = module.Options.__dataclass_fields__
    settings: dict[str, Any] = {name: value for name, value in SMALL.items() if name in fields}
    if "projection" in fields and "projection" not in changes:
        settings["projection"] = None
    return Case(method=module, preset=preset, kind=kind, settings=settings)


def options(preset: str, **changes: Any) -> Any:
    """The options of a preset, at tiny size."""
    return case(preset, **changes).options(**changes)


def run(
    preset: str, kind: str = "static", *, size: int = 8, seed: int = 0, documents: Store | None = None,
    dropout: float = 0.1, layers: int = 1, **changes: Any,
) -> tuple[Any, Batches]:  # fmt: skip
    """The objective and the batches of a preset."""
    made = case(preset, kind, **changes)
    return made.run(size=size, seed=seed, documents=documents, dropout=dropout, layers=layers, **changes)
