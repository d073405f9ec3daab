"""Texts to vectors with an encoder that is still in memory, as its exported model would give them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional as F

from pretrieve.core.types import FloatArray, IntArray, Rows, SpecialTokens
from pretrieve.models.encoder import Encoder
from pretrieve.text.tokenizer import Tokenizer

_TOKENS = 1 << 16  # encoded at once


@torch.no_grad()
def encode(encoder: Encoder, tokenizer: Tokenizer, texts: Sequence[str], *, queries: bool = False) -> FloatArray:
    """Encode R texts as (R, D) float32, of length one where the encoder is compared by cosine.

    Documents of an encoder with several views are (R, V, D).

    Rows are cut to the encoder's longest, get its special tokens, and go through it longest first, a batch of about
    65,000 tokens at a time.

    Args:
        encoder: dropout is off while it runs.
        tokenizer: the encoder's.
        texts: R texts.
        queries: they are queries, which have one vector each; documents if not.
    """
    rows = _surrounded(tokenizer.encode(texts), encoder.specials, encoder.max_length)
    order = np.argsort(-rows.lengths, kind="stable")
    views = 1 if queries else encoder.views
    found = np.zeros((len(texts), views, encoder.dimensions), np.float32)
    training = encoder.training
    encoder.eval()
    for part in _parts(rows.lengths[order]):
        chosen = order[part]
        part_rows = _take(rows, chosen)
        vectors = (encoder.queries(part_rows) if queries else encoder(part_rows)).float()
        found[chosen] = (F.normalize(vectors, dim=-1) if encoder.similarity == "cosine" else vectors).cpu().numpy()
    encoder.train(training)
    return found[:, 0] if views == 1 else found


def _surrounded(rows: Rows, specials: SpecialTokens, longest: int) -> Rows:
    """Cut rows and put the special tokens around them; a bag has none and takes rows whole."""
    if specials.cls is None and specials.sep is None:
        return rows
    room = longest - specials.around()
    head = [] if specials.cls is None else [specials.cls]
    tail = [] if specials.sep is None else [specials.sep]
    return Rows.of([[*head, *rows.row(index)[:room], *tail] for index in range(len(rows))])


def _take(rows: Rows, chosen: IntArray) -> Rows:
    lengths = rows.lengths[chosen]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return Rows(rows.tokens[np.repeat(rows.offsets[chosen] - offsets[:-1], lengths) + np.arange(offsets[-1])], offsets)


def _parts(lengths: IntArray) -> list[slice]:
    """Slices of rows with about the same number of tokens each."""
    bins = (np.cumsum(lengths) - lengths) // _TOKENS
    edges = np.concatenate([[0], np.flatnonzero(np.diff(bins)) + 1, [len(lengths)]]).tolist()
    return [slice(first, last) for first, last in itertools.pairwise(edges) if last > first]
