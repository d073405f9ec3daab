"""The guard of a published retriever: which interpolation of start and trained weights is saved, if any.

A published retriever loses as easily as it gains by some minutes of training on a few documents. Weights between start
and trained ones preserve most of the start (Wortsman et al., *Robust fine-tuning of zero-shot models*, CVPR
2022), so the choice is among them, and the start is saved where none of them is significantly better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import FloatArray, IntArray
from pretrieve.evaluation.fused_probe import SENTENCE, FusedProbe, FusedProbeOptions
from pretrieve.evaluation.guard import Guarded, guard
from pretrieve.evaluation.probe import Encode
from pretrieve.models.build import retrieval_folder
from pretrieve.models.encoder import Encoder
from pretrieve.models.inference import SharedTokens
from pretrieve.models.interpolation import interpolated, upper_half
from pretrieve.models.objective import Objective
from pretrieve.pipeline.pretrain.data import Prepared
from pretrieve.pipeline.pretrain.stop_words import languages
from pretrieve.pipeline.run.progress import Listener

PARTS = {"quarter": 0.25, "half": 0.5, "trained": 1.0}  # of the trained weights, in all layers
HALVES = {"lower": (1.0, 0.0), "upper": (0.0, 1.0)}  # of the trained weights in the lower and upper half of the layers
HELD_OUT, QUERIES, DISTRACTORS = 200, 200, 200  # a transformer encodes some 25 documents a second on one core
_DESCRIBED = {
    "quarter": "a quarter of the way from start to trained weights",
    "half": "half of the way from start to trained weights",
    "trained": "the trained weights",
    "lower": "the trained weights in the lower half of the layers",
    "upper": "the trained weights in the upper half of the layers",
}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Weights that may be saved.

    Attributes:
        name: name in reports.
        interpolation: description of the weights.
        encoder: function that builds the encoder, so that only one is in memory at a time.
    """

    name: str
    interpolation: str
    encoder: Callable[[], Encoder]


def guardable(base: str, objective: Objective) -> bool:
    """Whether a run is guarded: the base is a retriever, and the run trains one encoder with one vector per text."""
    encoder = objective.encoder
    untied = encoder.query_encoder is not None or getattr(objective, "query_encoder", None) is not None
    return not untied and encoder.vectors_per_document == 1 and retrieval_folder(base) is not None


def candidates(start: Encoder, trained: Encoder) -> list[Candidate]:
    """Interpolations of all layers alike, and of half of the layers where there are two or more.

    Args:
        start: before training.
        trained: after it.
    """
    ways: dict[str, tuple[float, float | None]] = {name: (part, None) for name, part in PARTS.items()}
    ways |= HALVES if upper_half(trained) else {}
    return [
        Candidate(
            name=name,
            interpolation=_DESCRIBED[name],
            encoder=partial(interpolated, start, trained, part, upper),
        )
        for name, (part, upper) in ways.items()
    ]


def guarded(
    prepared: Prepared, start: tuple[str, Encoder], found: list[Candidate], seed: int, listener: Listener
) -> Guarded:
    """Choose the start, or the candidate that adds more to BM25 than the start does on held-out documents.

    Args:
        prepared: the documents, held-out ones included.
        start: its name, and the encoder before training.
        found: interpolations to choose from.
        seed: of the probe.
        listener: receives the number of texts to encode, and progress.
    """
    name, encoder = start
    options = FusedProbeOptions(
        queries=QUERIES,
        topical=QUERIES,
        distractors=DISTRACTORS,
        seed=seed,
        languages=languages(prepared.documents),
        known=(SENTENCE,),
    )
    probe = FusedProbe(prepared.documents, _probed(prepared.held_out, seed), options)
    listener.stage("select", probe.texts * (1 + len(found)), "texts")
    listener.note(f"The start and {len(found)} interpolations are compared on {probe.texts:,} short and long texts.")
    tokens = SharedTokens(prepared.store.tokenizer)

    def encoding(make: Callable[[], Encoder]) -> Encode:
        def encode(texts: Sequence[str]) -> FloatArray:
            vectors = tokens.encoding(make())(texts)
            listener.advance(len(texts))
            return vectors

        return encode

    scores = probe({one.name: encoding(one.encoder) for one in found}, {name: encoding(lambda: encoder)})
    return guard(scores, name, {one.name: one.interpolation for one in found})


def _probed(held_out: IntArray, seed: int) -> IntArray:
    """The held-out documents that the probe takes its queries from, ascending."""
    return np.sort(generator(seed, "guard/held out").permutation(held_out)[:HELD_OUT])
