"""The stale index: what it finds, when it is made anew, and that the background changes nothing but the time."""

import copy
import dataclasses
import threading
import time

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.types import Rows
from pretrieve.models.candidates import StaleIndex, _top, choose, encode_blocks
from pretrieve.sampling.search_blocks import SearchBlocks, as_text

STORE = tiny.store(14)
BLOCKS = SearchBlocks(STORE, tiny.SPECIALS, 40)


def encoder(seed: int = 0):
    return tiny.encoder("new", STORE, seed=seed)


def move(model, step: int) -> None:
    """A "training step": every weight changes by an amount that depends on the step."""
    torch.manual_seed(step)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)


def reference(model, queries: torch.Tensor, number: int) -> np.ndarray:
    """Slow twin: every block alone, all scores, sorted."""
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        rows = [BLOCKS.rows(np.array([block])) for block in range(len(BLOCKS))]
        vectors = torch.stack([model(row)[0, 0] for row in rows])
    return np.argsort(-(queries @ vectors.T).numpy(), axis=1, kind="stable")[:, :number]


def test_finds_what_a_search_block_by_block_finds() -> None:
    model = encoder()
    index = StaleIndex(model, BLOCKS, every=5)
    queries = torch.randn(7, 16, generator=torch.Generator().manual_seed(1))
    np.testing.assert_array_equal(index.search(queries, 6), reference(model, queries, 6))


def test_ties_go_to_the_lower_number() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0, 3.0, 3.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    for number in (1, 2, 3, 4, 5, 6):
        expected = np.argsort(-scores.numpy(), axis=1, kind="stable")[:, :number]
        np.testing.assert_array_equal(_top(scores, number), expected)


def test_equal_blocks_are_indexed_once_and_rows_are_laid_out_as_published() -> None:
    store = tiny.store(12, sentences=(1, 1))
    twice = np.concatenate([store.tokens, store.tokens])
    search_blocks = SearchBlocks(dataclasses.replace(store, **doubled(store, twice)), tiny.SPECIALS, 40)
    assert len(search_blocks) == len(SearchBlocks(store, tiny.SPECIALS, 40)) == 12
    np.testing.assert_array_equal(search_blocks.of_sentences(np.arange(24)), [*range(12), *range(12)])
    for block in range(12):
        title = store.tokens[store.starts[block] : store.bodies[block]].tolist()
        body = store.tokens[store.bodies[block] : store.ends[block]].tolist()
        row = search_blocks.rows(np.array([block])).tokens.tolist()
        assert row == [2, *title, *([3] if title else []), *body, 3]
        assert len(row) == search_blocks.lengths[block]
        assert as_text(np.array(body)) == search_blocks.body(block)


def doubled(store, tokens):
    size = len(store.tokens)
    return {
        "tokens": tokens,
        "documents": np.concatenate([store.documents, size + store.documents[1:]]),
        "bodies": np.concatenate([store.bodies, size + store.bodies]),
        "sentences": np.concatenate([store.sentences[:-1], size + store.sentences]),
        "document_sentences": np.arange(2 * len(store) + 1),
        "origins": np.arange(2 * len(store)),
        "groups": np.zeros(2 * len(store), np.uint16),
    }


def test_origin_and_near_duplicates_are_no_candidates_and_others_take_their_place() -> None:
    index = StaleIndex(encoder(), BLOCKS, every=5)
    queries = torch.randn(4, 16, generator=torch.Generator().manual_seed(2))
    ranked = index.search(queries, len(BLOCKS))
    origins = ranked[:, 0]
    bodies = [BLOCKS.rows(ranked[row, 1:2]) for row in range(4)]
    inner = [body.tokens[-4:-1] for body in bodies]  # a "sentence" that the second best block has too
    found = choose(index, BLOCKS, queries, origins, Rows.of(inner), [[part] for part in inner], 5)
    for row in range(4):
        sentence = as_text(inner[row])
        allowed = [b for b in ranked[row].tolist() if b != origins[row] and sentence not in BLOCKS.body(b)]
        assert ranked[row, 1] not in allowed
        assert found.blocks[row].tolist() == allowed[:5]
        assert found.hits[row] == 0.0, "what holds the answer was left out"


def test_fewer_blocks_than_wanted_and_none_at_all() -> None:
    index = StaleIndex(encoder(), BLOCKS, every=5)
    queries, number = torch.randn(2, 16), len(BLOCKS) + 3
    plain = Rows.of([[5, 6, 7, 8, 9, 10, 11, 12]] * 2)
    found = choose(index, BLOCKS, queries, np.array([0, 1]), plain, [[np.array([99])]] * 2, number)
    for row in range(2):
        assert sorted(found.blocks[row, : len(BLOCKS) - 1].tolist()) == sorted({*range(len(BLOCKS))} - {row})
        assert (found.blocks[row, len(BLOCKS) - 1 :] == -1).all()
    everywhere = Rows.of([[], []])  # the empty sentence is in every block
    nothing = choose(index, BLOCKS, queries, np.array([0, 1]), everywhere, [[], []], 3)
    assert (nothing.blocks == -1).all()
    assert not nothing.hits.any()


@pytest.mark.parametrize("lag", [0, 2, 4])
def test_refreshed_at_fixed_steps_from_a_snapshot(lag: int) -> None:
    model = encoder()
    index = StaleIndex(model, BLOCKS, every=4, lag=lag)
    history = {0: copy.deepcopy(model)}
    queries = torch.randn(5, 16, generator=torch.Generator().manual_seed(3))
    for step in range(11):
        taken = (step - lag) // 4 * 4 if step >= 4 + lag else 0
        assert int(index.built) == taken
        np.testing.assert_array_equal(index.search(queries, 4), reference(history[taken], queries, 4))
        move(model, step)
        history[step + 1] = copy.deepcopy(model)
        index.after_step(model, step)


def test_overlap_compares_both_indexes_once_a_refresh() -> None:
    model = encoder()
    index = StaleIndex(model, BLOCKS, every=2)
    queries = torch.randn(5, 16, generator=torch.Generator().manual_seed(4))
    old = reference(model, queries, 4)
    assert index.overlap(queries, 4) is None
    for step in range(2):
        move(model, step)
        index.after_step(model, step)
    new = reference(model, queries, 4)
    expected = [len({*a} & {*b}) / 4 for a, b in zip(old.tolist(), new.tolist(), strict=True)]
    assert index.overlap(queries, 4).tolist() == expected
    assert index.overlap(queries, 4) is None


class Slow(torch.nn.Module):
    """An encoder whose every batch takes a while, so that a half-finished index could be seen."""

    dimensions = 16

    def __init__(self) -> None:
        super().__init__()
        self.inner = encoder()

    def forward(self, rows: Rows) -> torch.Tensor:
        time.sleep(0.01)
        return self.inner(rows)


def test_the_swap_is_atomic_and_training_goes_on_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrieve.models.candidates._TOKENS", 40)  # many small batches
    model = Slow()
    index = StaleIndex(model, BLOCKS, every=1, lag=1)
    before = index.vectors().clone()
    move(model, 0)
    snapshot = copy.deepcopy(model)
    index.after_step(model, 0)
    assert any(thread.name == "refresh" for thread in threading.enumerate()), "it goes on in the background"
    move(model, 1)  # the learner changes while its snapshot is encoded
    assert torch.equal(index.vectors(), before), "not a part of the new vectors is seen early"
    index.after_step(model, 1)
    assert int(index.built) == 1
    assert torch.equal(index.vectors(), encode_blocks(snapshot.eval(), BLOCKS))
    assert torch.equal(index.stale.inner.words, snapshot.inner.words)


def test_the_thread_draws_nothing_and_ends_with_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretrieve.models.candidates._TOKENS", 40)
    model = Slow().train()
    index = StaleIndex(model, BLOCKS, every=2, lag=2).train()
    assert not any(module.training for module in index.modules()), "dropout is off, whatever the objective does"
    state = torch.random.get_rng_state()
    index.after_step(model, 1)
    copied = copy.deepcopy(index)
    assert copied._work is None
    del index
    assert not any(thread.name == "refresh" for thread in threading.enumerate())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(copied.vectors(), encode_blocks(copied.stale, BLOCKS))


def test_what_goes_wrong_in_the_background_is_raised_where_it_is_awaited() -> None:
    index = StaleIndex(encoder(), BLOCKS, every=1, lag=1)
    index.coming.max_length = 1
    index.pending.fill_(1)
    index._start()
    with pytest.raises(AssertionError, match="max_length"):
        index._swap()
