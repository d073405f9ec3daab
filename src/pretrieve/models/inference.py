"""Encode texts with an encoder in memory; the vectors equal those of its exported model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pretrieve.core.types import FloatArray, IntArray, Rows, SpecialTokens
from pretrieve.models.denormals import without_denormals
from pretrieve.models.devices import autocast
from pretrieve.models.encoder import Encoder
from pretrieve.models.losses import at_least_float32
from pretrieve.text.encoding import first_words
from pretrieve.text.tokenizer import Tokenizer

_TOKENS = 1 << 16  # tokens per batch


def encode(encoder: Encoder, tokenizer: Tokenizer, texts: Sequence[str], *, queries: bool = False) -> FloatArray:
    """Encode R texts as (R, D) float32, of length one where the encoder is compared by cosine.

    Documents of an encoder with several vectors per document are (R, V, D).

    Rows are cut to the encoder's longest, get its special tokens, and go through it longest first, a batch of about
    65,000 tokens at a time.

    Args:
        encoder: the encoder; dropout is disabled.
        tokenizer: the encoder's.
        texts: R texts.
        queries: whether the texts are queries, which have one vector each, or documents.
    """
    whole = encoder.specials.around() == 0  # a static encoder reads the whole text
    texts = texts if whole else [first_words(text, encoder.max_length) for text in texts]
    return encode_rows(encoder, tokenizer.encode(texts), queries=queries)


@without_denormals()
@torch.no_grad()
def encode_rows(encoder: Encoder, rows: Rows, *, queries: bool = False) -> FloatArray:
    """Encode R texts that are tokenized already, without special tokens; see ``encode``."""
    texts = len(rows)
    rows = _surrounded(rows, encoder.specials, encoder.max_length)
    order = np.argsort(-rows.lengths, kind="stable")
    views = 1 if queries else encoder.vectors_per_document
    found = np.zeros((texts, views, encoder.dimensions), np.float32)
    training, device = encoder.training, next(encoder.parameters()).device
    encoder.eval()
    for part in parts_of(rows.lengths[order], _TOKENS):
        chosen = order[part]
        part_rows = rows.take(chosen)
        with autocast(device):
            vectors = (encoder.queries(part_rows) if queries else encoder(part_rows)).float()
        found[chosen] = (F.normalize(vectors, dim=-1) if encoder.similarity == "cosine" else vectors).cpu().numpy()
    encoder.train(training)
    return found[:, 0] if views == 1 else found


def _surrounded(rows: Rows, specials: SpecialTokens, longest: int) -> Rows:
    """Truncate rows and add the special tokens; static encoders take rows as they are."""
    if specials.cls is None and specials.sep is None:
        return rows
    room = longest - specials.around()
    head = [] if specials.cls is None else [specials.cls]
    tail = [] if specials.sep is None else [specials.sep]
    return Rows.of([[*head, *rows.row(index)[:room], *tail] for index in range(len(rows))])


def parts_of(lengths: IntArray, tokens: int) -> list[slice]:
    """Slices of rows (R,), given by their lengths, with about ``tokens`` tokens each."""
    bins = (np.cumsum(lengths) - lengths) // tokens
    edges = np.concatenate([[0], np.flatnonzero(np.diff(bins)) + 1, [len(lengths)]]).tolist()
    return [slice(first, last) for first, last in itertools.pairwise(edges) if last > first]


def padded_parts(lengths: IntArray, tokens: int) -> list[slice]:
    """Slices of rows (R,), longest first, that have at most ``tokens`` tokens once padded; at least one row each."""
    parts: list[slice] = []
    first = 0
    while first < len(lengths):
        last = min(len(lengths), first + max(1, tokens // int(lengths[first])))
        parts.append(slice(first, last))
        first = last
    return parts


@without_denormals()
@torch.no_grad()
def query_vectors(encoder: Encoder, rows: Rows) -> Tensor:
    """Vectors (R, D) of queries without dropout and without gradient; the encoder's mode is put back."""
    training = encoder.training
    encoder.eval()
    with autocast(next(encoder.parameters()).device):
        vectors: Tensor = at_least_float32(encoder.queries(rows)[:, 0])
    encoder.train(training)
    return vectors


class SharedTokens:
    """Tokenizes each list of texts once for several encoders; for static ones it takes longer than to encode it.

    Args:
        tokenizer: of all of them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._kept: dict[int, tuple[Sequence[str], Rows]] = {}  # with the list, so that its identity stays its own

    def encoding(self, encoder: Encoder) -> Callable[[Sequence[str]], FloatArray]:
        """The function from texts to vectors (R, D) that an encoder is."""
        return lambda texts: encode_rows(encoder, self._rows(texts))

    def _rows(self, texts: Sequence[str]) -> Rows:
        if id(texts) not in self._kept:
            self._kept[id(texts)] = (texts, self._tokenizer.encode(texts))
        return self._kept[id(texts)][1]
