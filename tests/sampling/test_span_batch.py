"""Spans of documents as rows: against a slow walk, with and without special tokens and provenance."""

from __future__ import annotations

import numpy as np
import pytest

import tiny
from pretrieve.core.types import SpecialTokens
from pretrieve.sampling.pairs import describe, span_batch


@pytest.mark.parametrize("specials", [tiny.SPECIALS, tiny.BARE], ids=["cls", "bare"])
def test_spans_become_rows(specials: SpecialTokens) -> None:
    store = tiny.store()
    rng = np.random.default_rng(0)
    documents = rng.integers(0, len(store), 20)
    starts = np.asarray(store.starts)[documents][:, None] + rng.integers(0, 2, (20, 3))
    stops = starts + rng.integers(1, 3, (20, 3))
    batch = span_batch(store, documents, starts, stops, specials, provenance=True)
    assert batch.shape == (20, 3)
    head = [] if specials.cls is None else [specials.cls]
    tail = [] if specials.sep is None else [specials.sep]
    for row, (start, stop) in enumerate(zip(starts.reshape(-1), stops.reshape(-1), strict=True)):
        assert batch.rows.row(row).tolist() == [*head, *store.tokens[start:stop].tolist(), *tail]
    shown = describe(batch, np.asarray(store.tokens), specials, ("one", "two", "three"))
    assert [row.spans for example in shown for row in example] == [
        [(start, stop)] for start, stop in zip(starts.reshape(-1).tolist(), stops.reshape(-1).tolist(), strict=True)
    ]
    plain = span_batch(store, documents, starts, stops, specials)
    assert np.array_equal(plain.rows.tokens, batch.rows.tokens)
    assert not plain.per_token
    assert not plain.per_row
