"""Tiny stores, encoders and runs for the contract tests, made in memory from arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from pretrieve.core.config import options_of
from pretrieve.core.types import SpecialTokens
from pretrieve.methods import Method
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.checks import check_objective
from pretrieve.models.encoder import Encoder
from pretrieve.models.objective import Objective
from pretrieve.sampling.batches import Batches
from pretrieve.text.store import Store

VOCABULARY = 120
SPECIALS = SpecialTokens(cls=2, sep=3, mask=4, pad=0, unknown=1, vocabulary=VOCABULARY, first_ordinary=5)
BARE = SpecialTokens(cls=None, sep=None, mask=4, pad=0, unknown=1, vocabulary=VOCABULARY, first_ordinary=5)
KINDS = {"static": "static", "transformer": "new"}  # kinds of encoders on cards, and the tiny base of each


class TinyTokenizer:
    """What a store asks of its tokenizer, without texts: every third id goes on with a word."""

    specials, fingerprint = SPECIALS, "tiny"
    word_starts = np.arange(VOCABULARY) % 3 != 0
    lettered = np.arange(VOCABULARY) % 13 != 0


def store(
    documents: int = 40, seed: int = 0, *, sentences: tuple[int, int] = (1, 7), words: tuple[int, int] = (3, 9),
    titles: bool = True, groups: int = 1,
) -> Store:  # fmt: skip
    """Random documents, each with its own frequent words.

    Args:
        documents: number of documents.
        seed: random seed.
        sentences: fewest and most of a document.
        words: fewest and most tokens of a sentence.
        titles: whether documents have any.
        groups: number of groups.
    """
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
        tokenizer=cast(Any, TinyTokenizer()),
        corpus="tiny",
        fingerprint=f"tiny-{seed}",
        dropped=0,
    )


def encoder(
    kind: str, documents: Store, seed: int = 0, *, pooling: Any = None, dropout: float = 0.1, layers: int = 1
) -> Encoder:
    """A static encoder or a small transformer of 16 dimensions, both new.

    Args:
        kind: "static" or "new".
        documents: what it is for.
        seed: of its weights.
        pooling: of the transformer; mean if None.
        dropout: of the transformer.
        layers: of the transformer.
    """
    if kind == "static":
        return build_encoder("static", store=documents, options=EncoderOptions(dimensions=16, max_length=64), seed=seed)
    base = f"new:layers={layers},hidden=16,heads=2,intermediate=32,dropout={dropout}"
    return build_encoder(base, store=documents, options=EncoderOptions(pooling=pooling, max_length=64), seed=seed)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A preset on a kind of encoder, to be checked.

    Attributes:
        method: the method's module.
        preset: name of one of its presets.
        kind: "static" or "new".
        settings: options to override for forty documents of about 25 tokens each.
    """

    method: Method
    preset: str
    kind: str
    settings: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"preset {self.preset!r} on a {'static encoder' if self.kind == 'static' else 'transformer'}"

    @property
    def specials(self) -> SpecialTokens:
        """Special tokens of the encoder."""
        return BARE if self.kind == "static" else SPECIALS

    def options(self, **changes: object) -> Any:
        """The options of the preset, at tiny size.

        Args:
            changes: values over those.
        """
        values = {name: value.value for name, value in self.method.PRESETS[self.preset].options.items()}
        return options_of(self.method.Options, {**values, **self.settings, **changes}, where=str(self))

    def run(
        self, *, size: int = 8, seed: int = 0, documents: Store | None = None, dropout: float = 0.1, layers: int = 1,
        **changes: object,
    ) -> tuple[Objective, Batches]:  # fmt: skip
        """The objective and the batches of the preset.

        Args:
            size: examples of a batch.
            seed: of the run.
            documents: what it learns from; ``store()`` if None.
            dropout: of the transformer, and of the method where it has any.
            layers: of the transformer.
            changes: values of options.
        """
        documents = documents or store()
        if "dropout" in self.method.Options.__dataclass_fields__:
            changes["dropout"] = dropout
        chosen = self.options(**changes)
        values = self.method.PRESETS[self.preset].encoder
        pooling = values["pooling"].value if "pooling" in values else None
        built = encoder(self.kind, documents, seed, pooling=pooling, dropout=dropout, layers=layers)
        batches = Batches(sampler=self.method.sampler(documents, self.specials, chosen), batch_size=size, seed=seed)
        return check_objective(self.method, self.method.objective(built, chosen, seed, documents)), batches
