"""Passages, their masks, and the weight that makes sums of tokens a mean over the global batch."""

import numpy as np
import pytest

from pretrieve.sampling.batches import Address, Batches
from pretrieve.sampling.masked_passages import MaskedPassages, Passages, token_weight
from pretrieve.sampling.masking import UNLABELLED
from tiny import BARE, SPECIALS, store

LENGTH = 24


def address(step: int, size: int) -> Address:
    return Address(seed=0, step=step, epochs=np.zeros(size, np.int64))


def masked(documents, *, length=LENGTH, short=0.0, rate=0.15, specials=SPECIALS) -> MaskedPassages:
    return MaskedPassages(
        documents, specials, Passages(documents, specials, length, short=short), rate, provenance=True
    )


def test_an_epoch_of_passages_is_every_token_once() -> None:
    """Titles with the first passage, sentences whole, where nothing is shortened or too long."""
    documents = store(words=(3, 6))
    passages = Passages(documents, SPECIALS, LENGTH)
    items = np.arange(passages.mixture.items)
    owners, starts, lengths = passages.spans(items, address(0, len(items)))
    assert lengths.max() <= LENGTH - 2
    assert len(items) > len(documents.starts), "there are documents of several passages"
    order = np.argsort(starts)
    starts, stops = starts[order], (starts + lengths)[order]
    assert starts[0] == 0
    assert stops[-1] == len(documents.tokens)
    assert np.array_equal(starts[1:], stops[:-1])
    edges = set(np.asarray(documents.sentences).tolist()) | set(np.asarray(documents.starts).tolist())
    assert set(starts.tolist()) <= edges
    assert np.array_equal(np.searchsorted(documents.starts, starts, side="right") - 1, owners[order])


def test_sentences_too_long_are_cut_once_at_a_random_place() -> None:
    documents = store(4, sentences=(1, 1), words=(60, 60), titles=False)
    passages = Passages(documents, SPECIALS, LENGTH)
    seen = set()
    for step in range(200):
        owners, starts, lengths = passages.spans(np.arange(4), address(step, 4))
        assert (lengths == LENGTH - 2).all()
        assert (starts >= documents.starts[owners]).all()
        assert (starts + lengths <= documents.ends[owners]).all()
        seen |= set((starts - documents.starts[owners]).tolist())
    assert seen == set(range(60 - (LENGTH - 2) + 1))


def test_short_pieces_come_at_their_rate_and_at_every_length() -> None:
    documents = store(400, sentences=(7, 7), words=(9, 9), titles=False)
    passages = Passages(documents, SPECIALS, LENGTH, short=0.25)
    items = np.arange(passages.mixture.items)
    full = Passages(documents, SPECIALS, LENGTH).spans(items, address(0, len(items)))[2]
    lengths = np.concatenate([passages.spans(items, address(step, len(items)))[2] for step in range(8)])
    wanted = np.tile(full, 8)
    shorter = lengths < wanted
    expected = 0.25 * np.mean(1 - 1 / wanted)  # a "shorter" piece is now and then as long
    assert shorter.mean() == pytest.approx(expected, abs=4 * np.sqrt(expected / len(lengths)))
    assert lengths.min() == 1
    assert np.mean(lengths[shorter] / wanted[shorter]) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("specials", [SPECIALS, BARE])
def test_whole_word_masks_are_aligned_with_the_encoded_window_after_truncation(specials) -> None:
    """The id under every label is the store's at that token's place; unlabelled tokens are the store's own."""
    documents = store(60, sentences=(1, 2), words=(5, 70))  # many are cut
    batch = Batches(sampler=masked(documents, short=0.3, specials=specials), batch_size=200, seed=3)(1)
    place, labels = batch.per_token["position"], batch.per_token["labels"]
    true = np.asarray(documents.tokens)[np.maximum(place, 0)].astype(np.int64)
    hidden = labels != UNLABELLED
    assert (batch.rows.lengths <= LENGTH).all()
    assert (place[hidden] >= 0).all()
    assert np.array_equal(labels[hidden], true[hidden])
    plain = ~hidden & (place >= 0)
    assert np.array_equal(batch.rows.tokens[plain], true[plain])
    inside = np.flatnonzero((place[1:] >= 0) & (place[:-1] >= 0) & ~documents.word_starts[true[1:]])
    apart = np.isin(inside + 1, batch.rows.offsets)
    assert np.array_equal(hidden[inside + 1][~apart], hidden[inside][~apart]), "words are hidden as a whole"
    for row in range(200):
        assert hidden[batch.rows.offsets[row] : batch.rows.offsets[row + 1]].any()


def test_weights_make_the_mean_over_examples_the_mean_over_hidden_tokens() -> None:
    batch = Batches(sampler=masked(store()), batch_size=12, seed=0)(0)
    losses = np.random.default_rng(0).random(len(batch.rows.tokens))
    hidden = batch.per_token["labels"] != UNLABELLED
    summed = np.add.reduceat(losses * hidden, batch.rows.offsets[:-1])
    weight = batch.per_example["weight"]
    assert (summed * weight).mean() == pytest.approx(losses[hidden].mean(), rel=1e-12)
    halves = [(summed * weight)[:6].mean(), (summed * weight)[6:].mean()]
    assert np.mean(halves) == pytest.approx(losses[hidden].mean(), rel=1e-12)
    assert token_weight(3, [False, False]).tolist() == [3.0, 3.0, 3.0]


def test_masks_are_drawn_anew_at_every_visit_and_again_at_the_same_address() -> None:
    sampler = masked(store())
    items = np.arange(20)
    first, again, other = (sampler.draw(items, address(step, 20)) for step in (0, 0, 1))
    assert np.array_equal(first.rows.tokens, again.rows.tokens)
    assert np.array_equal(first.per_token["position"], other.per_token["position"])
    assert not np.array_equal(first.per_token["labels"], other.per_token["labels"])
