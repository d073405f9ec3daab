"""Pairs of rows: cropping, the batch of a pair, and where each token of a pair came from.

Row ``2 b`` of a batch of pairs is the query of example ``b`` and row ``2 b + 1`` its key. With ``provenance`` a batch
also carries the position of every token and the pieces of every row, which ``describe`` turns into text for people;
training leaves them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from pretrieve.core.types import Array, Batch, IntArray, Rows, SpecialTokens
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.sampling.spans import Positions, lay_out, read, surround


@dataclass(frozen=True, slots=True, kw_only=True)
class RowDescription:
    """Where a row came from; positions are absolute in the store's tokens.

    ``spans`` are the stretches [start, stop) that it was cut from, ``kept`` the positions it still holds in their
    order, ``deleted`` those of its spans that it lost, ``masked`` those that show the mask token, ``replaced``
    those that show another token, with it, and ``guessed`` those that show themselves and are to be predicted.
    """

    role: str
    document: int
    spans: list[tuple[int, int]]
    kept: list[int]
    deleted: list[int] = field(default_factory=list)
    masked: list[int] = field(default_factory=list)
    replaced: dict[int, int] = field(default_factory=dict)
    guessed: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairDescription:
    """One example: its rows, and facts worth telling (``"the sentence was kept"``, the kind of pair)."""

    rows: list[RowDescription]
    note: str = ""


def lengths_by_ratio(sizes: IntArray, low: float, high: float, rng: np.random.Generator) -> IntArray:
    """Length of a crop of each span (B,): the floor of its size times a uniform ratio, at least 1."""
    return np.maximum((sizes * rng.uniform(low, high, size=len(sizes))).astype(np.int64), 1)


def lengths_by_tokens(sizes: IntArray, low: int, high: int, rng: np.random.Generator) -> IntArray:
    """Length of a crop of each span (B,): uniform in [low, high], never longer than the span."""
    return np.minimum(rng.integers(low, high + 1, size=len(sizes)), sizes)


def place(starts: IntArray, sizes: IntArray, lengths: IntArray, rng: np.random.Generator) -> IntArray:
    """Starts (B,) of crops of these lengths, uniform inside their spans."""
    return starts + (rng.random(len(starts)) * (sizes - lengths + 1)).astype(np.int64)


def span_batch(
    store: TokenStore, documents: IntArray, starts: IntArray, stops: IntArray, specials: SpecialTokens, *,
    provenance: bool = False,
) -> Batch:  # fmt: skip
    """Read spans of documents, each as a row [CLS] span [SEP]; without the special tokens that an encoder lacks.

    Args:
        store: the documents.
        documents: (B,) document of each example.
        starts: (B, N) first token of each row in the store.
        stops: (B, N) the token after its last.
        specials: special tokens of the encoder.
        provenance: the batch says where each token came from (for ``describe``).

    Returns:
        B examples of N rows; a pair is two.
    """
    pieces = surround(starts.reshape(-1, 1), (stops - starts).reshape(-1, 1), specials)
    positions = lay_out(*pieces)
    per_token, per_row = traces(positions, *pieces) if provenance else ({}, {})
    rows = read(np.asarray(store.tokens), positions, specials)
    return Batch(rows=rows, shape=starts.shape, documents=documents, per_token=per_token, per_row=per_row)


def traces(positions: Positions, starts: IntArray, lengths: IntArray) -> tuple[dict[str, Array], dict[str, Array]]:
    """What a batch carries for ``describe``, of each token and of each row.

    Args:
        positions: R rows of positions.
        starts: (R, P) first position of each piece of a row.
        lengths: (R, P) tokens of each piece.
    """
    return {"position": positions.values}, {"spans": np.stack([starts, starts + lengths], axis=2)}


def pair_batch(
    rows: Rows,
    documents: IntArray,
    *,
    provenance: tuple[Positions, IntArray, IntArray] | None = None,
    per_token: Mapping[str, Array] | None = None,
    per_example: Mapping[str, Array] | None = None,
) -> Batch:
    """Make a batch of pairs of interleaved rows.

    Args:
        rows: 2 B rows: query, key, query, key, ...
        documents: (B,) document of each pair.
        provenance: positions of the tokens, and starts and lengths (2 B, P) of the pieces of each row; or None.
        per_token: facts of each token.
        per_example: facts of each example.
    """
    tokens, pieces = traces(*provenance) if provenance is not None else ({}, {})
    return Batch(
        rows=rows,
        shape=(len(documents), 2),
        documents=documents,
        per_token={**(per_token or {}), **tokens},
        per_row=pieces,
        per_example=dict(per_example or {}),
    )


def describe(
    batch: Batch, tokens: IntArray, specials: SpecialTokens, roles: tuple[str, ...] = ("query", "key")
) -> list[list[RowDescription]]:
    """Say where every row of a batch came from.

    Args:
        batch: made by a sampler with ``provenance``.
        tokens: the store's tokens.
        specials: the special tokens.
        roles: what the N rows of an example are.

    Returns:
        For each example its N rows.
    """
    assert "position" in batch.per_token, "the sampler was made without provenance"
    width = batch.shape[1]
    rows = [_describe_row(batch, tokens, specials, row, roles[row % width]) for row in range(len(batch.rows))]
    return [rows[index : index + width] for index in range(0, len(rows), width)]


def _describe_row(batch: Batch, tokens: IntArray, specials: SpecialTokens, row: int, role: str) -> RowDescription:
    first, last = batch.rows.offsets[row], batch.rows.offsets[row + 1]
    positions, ids = batch.per_token["position"][first:last], batch.rows.tokens[first:last]
    kept = [int(position) for position in positions if position >= 0]
    spans = [(int(start), int(stop)) for start, stop in batch.per_row["spans"][row] if 0 <= start < stop]
    changed = {
        int(position): int(token)
        for position, token in zip(positions, ids, strict=True)
        if position >= 0 and token != tokens[position]
    }
    labels = batch.per_token.get("labels", np.full(len(batch.rows.tokens), UNLABELLED))[first:last]
    guessed = {int(position) for position, label in zip(positions, labels, strict=True) if label != UNLABELLED}
    return RowDescription(
        role=role,
        document=int(batch.documents[row // batch.shape[1]]),
        spans=spans,
        kept=kept,
        deleted=sorted({position for span in spans for position in range(*span)} - set(kept)),
        masked=[position for position, token in changed.items() if token == specials.mask],
        replaced={position: token for position, token in changed.items() if token != specials.mask},
        guessed=sorted(guessed - changed.keys()),
    )
