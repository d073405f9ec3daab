"""Sampling queries from a generator, with reproducible randomness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pretrieve.core.errors import UsageError
from pretrieve.core.rng import generator, torch_seed
from pretrieve.core.types import Document, FloatArray
from pretrieve.generation.answers import queries_of
from pretrieve.generation.prompts import Kind, Prompt

_STREAM = "generate"


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling options of a generator. The defaults are those of GPL's released code.

    Attributes:
        temperature: sampling temperature; 0: the most likely token.
        top_k: sampling among the most likely tokens; 0: all. Not sent to an endpoint.
        top_p: nucleus sampling probability.
        max_new_tokens: maximum number of tokens of a query.
        seed: seed of all randomness.
    """

    temperature: float = 1.0
    top_k: int = 25
    top_p: float = 0.95
    max_new_tokens: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.temperature >= 0 or not 0 < self.top_p <= 1:
            raise UsageError("--temperature must be 0 or above, and --top-p above 0 and at most 1.")
        if self.top_k < 0:
            raise UsageError(f"--top-k {self.top_k}: it is 0 or above.")
        if self.max_new_tokens < 1:
            raise UsageError(f"--max-new-tokens {self.max_new_tokens}: the minimum is 1.")


@dataclass(frozen=True)
class Ask:
    """One request for a text.

    Attributes:
        document: what it is about.
        address: number of the document in the collection.
        sample: which request about this document it is.
    """

    document: Document
    address: int
    sample: int = 0

    def uniform(self, seed: int, size: int) -> FloatArray:
        """Numbers (size,) in [0, 1) that decide the words of the answer: the same whatever else is in the batch."""
        return np.asarray(generator(seed, f"{_STREAM}/{self.sample}", self.address).random(size))

    def seed(self, seed: int) -> int:
        """The same as one number of 31 bits, for a server."""
        return torch_seed(seed, f"{_STREAM}/{self.sample}", self.address) & 0x7FFFFFFF


class Generator(Protocol):
    """A model that writes texts, on this machine or behind an endpoint.

    Attributes:
        kind: what it takes and how it answers.
        fingerprint: identity of the model.
    """

    kind: Kind
    fingerprint: str

    def complete(self, prompt: Prompt, asks: Sequence[Ask]) -> list[str | None]:
        """Answer each request; None for one that the generator refuses to answer."""
        ...


def write_queries(
    model: Generator, prompt: Prompt, documents: Sequence[tuple[int, Document]]
) -> list[list[str] | None]:
    """Generate the queries of some documents.

    Args:
        model: the generator.
        prompt: the prompt.
        documents: documents with their numbers in the collection.

    Returns:
        The queries of each document; None for a document that the generator refuses.
    """
    samples = 1 if prompt.at_once else prompt.number
    asks = [Ask(document, address, sample) for address, document in documents for sample in range(samples)]
    answers = model.complete(prompt, asks)
    found: list[list[str] | None] = []
    for start in range(0, len(answers), samples):
        given = [answer for answer in answers[start : start + samples] if answer is not None]
        lines = [query for answer in given for query in queries_of(answer, prompt.number, lines=prompt.at_once)]
        found.append(lines if given else None)
    return found
