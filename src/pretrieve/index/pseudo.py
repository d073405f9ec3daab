"""Pseudo-queries from the structure of documents, for choosing fusion weights and comparing models without labels.

A title is a query for its body, or, without a title, the first sentence for the rest; a sentence is a query for the
rest of its document. The query text is removed from the document (Lee et al., *Latent retrieval*, ACL 2019).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import Document, IntArray

Kind = Literal["title", "lead", "sentence"]
SplitSentences = Callable[[str], Sequence[tuple[int, int]]]
_WORDS = re.compile(r"\S+")
_LONGEST = 1_000_000  # characters of a document that queries are taken out of; longer ones take seconds each


@dataclass(frozen=True, kw_only=True)
class PseudoQueries:
    """Q queries of one kind.

    Attributes:
        kind: what the queries are.
        queries: Q texts.
        documents: (Q,) index of the relevant document, from which the query was taken.
        remainders: Q texts of these documents without their query.
    """

    kind: Kind
    queries: list[str]
    documents: IntArray
    remainders: list[str]

    def __len__(self) -> int:
        return len(self.queries)


class Records(Protocol):
    """Documents by number, in memory or on disk."""

    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Document: ...
    def __iter__(self) -> Iterator[Document]: ...


def full_text(document: Document, separator: str = " ") -> str:
    """What is indexed of a document: title, space, text (the convention of BEIR)."""
    return f"{document.title}{separator}{document.text}" if document.title else document.text


def pseudo_queries(documents: Records, size: int, seed: int, split: SplitSentences) -> list[PseudoQueries]:
    """Take queries out of documents.

    Args:
        documents: R documents.
        size: queries of each kind at most.
        seed: which documents, sentences and spans are drawn; the same seed, the same queries.
        split: text to the (first, last + 1) characters of its sentences.

    Returns:
        Sets of one kind each; a kind of which there are fewer than 20 is left out. None of a document of more than a
        million characters.
    """
    order = generator(seed, "pseudo-queries/documents").permutation(len(documents))[: 4 * size].tolist()
    cuts: dict[Kind, list[tuple[int, str, str]]] = {"title": [], "lead": [], "sentence": []}
    for position, index in enumerate(order):
        document = documents[index]
        for kind, cut in _cuts(document, split, seed, position) if len(document.text) <= _LONGEST else ():
            if len(cuts[kind]) < size:
                cuts[kind].append((index, *cut))
        if min(len(cuts["title"]) + len(cuts["lead"]), len(cuts["sentence"])) >= size:
            break
    return [_collect(kind, found) for kind, found in cuts.items() if len(found) >= min(20, len(documents))]


def _cuts(
    document: Document, split: SplitSentences, seed: int, position: int
) -> Iterator[tuple[Kind, tuple[str, str]]]:
    """The title and its body, or else the first sentence and the rest; and a sentence and its document without it."""
    text = document.text
    if document.title:
        if len(text) > len(document.title):
            yield "title", (document.title, text)
    elif (ends := [stop for _, stop in split(text)])[1:]:
        lead, rest = text[: ends[0]], text[ends[0] :].strip()
        if len(lead) <= len(text) * 2 // 3 and len(lead.split()) >= 3:
            yield "lead", (lead, rest)
    if (cut := _cut(document, split, seed, position)) is not None:
        yield "sentence", cut


def _collect(kind: Kind, cuts: list[tuple[int, str, str]]) -> PseudoQueries:
    return PseudoQueries(
        kind=kind,
        queries=[query for _, query, _ in cuts],
        documents=np.array([index for index, _, _ in cuts], np.int64),
        remainders=[remainder for _, _, remainder in cuts],
    )


def _cut(document: Document, split: SplitSentences, seed: int, position: int) -> tuple[str, str] | None:
    """Take one sentence, or a span of words, out of a document: the query and what is left."""
    rng = generator(seed, "pseudo-queries/cut", position)
    text = document.text
    spans = [(start, stop) for start, stop in split(text) if 3 <= len(text[start:stop].split()) <= 40]
    spans = [(start, stop) for start, stop in spans if stop - start <= (len(text) * 2) // 3]
    if spans:
        start, stop = spans[int(rng.integers(len(spans)))]
    else:
        words = [match.span() for match in _WORDS.finditer(text)]
        if len(words) < 6:
            return None
        length = min(16, max(2, int(len(words) * rng.uniform(0.2, 0.5))))
        first = int(rng.integers(len(words) - length + 1))
        start, stop = words[first][0], words[first + length - 1][1]
    return text[start:stop], f"{document.title} {text[:start]} {text[stop:]}".strip()
