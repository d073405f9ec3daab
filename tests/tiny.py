"""Tiny stores, encoders and runs, made in memory from arrays: what the tests of methods and training stand on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np

from pretrieve import methods
from pretrieve.core.config import options_of
from pretrieve.core.types import SpecialTokens
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.encoder import Encoder
from pretrieve.sampling.batches import Batches
from pretrieve.text.store import Store

VOCABULARY = 120
SPECIALS = SpecialTokens(cls=2, sep=3, mask=4, pad=0, unknown=1, vocabulary=VOCABULARY, first_ordinary=5)
BARE = SpecialTokens(cls=None, sep=None, mask=4, pad=0, unknown=1, vocabulary=VOCABULARY, first_ordinary=5)
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


class _Tokenizer:
    specials, fingerprint = SPECIALS, "tiny"
    word_starts = np.arange(VOCABULARY) % 3 != 0
    lettered = np.arange(VOCABULARY) % 13 != 0


def store(
    documents: int = 40, seed: int = 0, *, sentences: tuple[int, int] = (1, 7), words: tuple[int, int] = (3, 9),
    titles: bool = True, groups: int = 1,
) -> Store:  # fmt: skip
    """Random documents, each with its own few favourite words."""
    rng = np.random.default_rng(seed)
    tokens: list[int] = []
    starts, bodies, first_sentences, counts = [], [], [], []
    for _ in range(documents):
        favourites = rng.integers(5, VOCABULARY, size=8)
        starts.append(len(tokens))
        tokens += [*rng.choice(favourites, size=rng.integers(0, 4) if titles else 0)]
        bodies.append(len(tokens))
        counts.append(int(rng.integers(sentences[0], sentences[1] + 1)))
        for _ in range(counts[-1]):
            first_sentences.append(len(tokens))
            size = int(rng.integers(words[0], words[1] + 1))
            own = rng.random(size) < 0.6
            tokens += [*np.where(own, rng.choice(favourites, size=size), rng.integers(5, VOCABULARY, size=size))]
    return Store(
        path=Path(),
        tokens=np.array(tokens, np.uint16),
        documents=np.array([*starts, len(tokens)]),
        bodies=np.array(bodies),
        sentences=np.array([*first_sentences, len(tokens)]),
        document_sentences=np.concatenate([[0], np.cumsum(counts)]),
        origins=np.arange(documents),
        groups=(np.arange(documents) % 4 * groups // 4).astype(np.uint16),
        group_names=tuple(f"g{number}" for number in range(groups)),
        tokenizer=cast(Any, _Tokenizer()),
        corpus="tiny",
        fingerprint=f"tiny-{seed}",
        dropped=0,
    )


def encoder(
    kind: str, documents: Store, seed: int = 0, *, pooling: Any = None, dropout: float = 0.1, layers: int = 1
) -> Encoder:
    """A static encoder or a small transformer of 16 dimensions, both new."""
    if kind == "static":
        return build_encoder("static", store=documents, options=EncoderOptions(dimensions=16, max_length=64), seed=seed)
    base = f"new:layers={layers},hidden=16,heads=2,intermediate=32,dropout={dropout}"
    return build_encoder(base, store=documents, options=EncoderOptions(pooling=pooling, max_length=64), seed=seed)


def kinds(preset: str) -> tuple[str, ...]:
    """The kinds of encoder that a preset's method trains."""
    module, _ = methods.find(preset)
    return tuple({"static": "static", "transformer": "new"}[kind] for kind in module.CARD.encoders)


def options(preset: str, **changes: Any) -> Any:
    """The options of a preset, at tiny size."""
    module, found = methods.find(preset)
    values = {name: value.value for name, value in found.options.items()}
    fields = module.Options.__dataclass_fields__
    values |= {name: value for name, value in SMALL.items() if name in fields}
    if "projection" in fields and "projection" not in changes:
        values["projection"] = None
    return options_of(module.Options, values | changes)


def run(
    preset: str, kind: str = "static", *, size: int = 8, seed: int = 0, documents: Store | None = None,
    dropout: float = 0.1, layers: int = 1, **changes: Any,
) -> tuple[Any, Batches]:  # fmt: skip
    """The objective and the batches of a preset."""
    module, found = methods.find(preset)
    documents = documents or store()
    if "dropout" in module.Options.__dataclass_fields__:
        changes["dropout"] = dropout
    chosen = options(preset, **changes)
    pooling = found.encoder["pooling"].value if "pooling" in found.encoder else None
    built = encoder(kind, documents, seed, pooling=pooling, dropout=dropout, layers=layers)
    specials = BARE if kind == "static" else SPECIALS
    batches = Batches(view=module.view(documents, specials, chosen), batch_size=size, seed=seed)
    return module.objective(built, chosen, seed, documents), batches
