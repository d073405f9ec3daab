"""The Inverse Cloze Task: block = query + remainder, keep rate, limits, window form, towers."""

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.methods import orqa_ict
from pretrieve.text.batches import Batches

STORE = tiny.store(300)


def batch_of(size: int = 3000, documents=STORE, specials=tiny.SPECIALS, seed: int = 0, **changes):
    options = orqa_ict.Options(**{"block": 40, "query": 16, **changes})
    return Batches(view=orqa_ict.view(documents, specials, options, True), batch_size=size, seed=seed)(0)


def body_of(row, document: int, documents=STORE) -> list[int]:
    return [position for position in row.kept if position >= documents.bodies[document]]


@pytest.mark.parametrize("specials", [tiny.SPECIALS, tiny.BARE])
def test_block_is_query_and_remainder(specials) -> None:
    batch = batch_of(600, specials=specials)
    removed = 0
    for pair, kept in zip(orqa_ict.explain(batch, STORE, specials), batch.per_example["kept"], strict=True):
        query, block = pair.rows
        document = query.document
        body, own = body_of(block, document), query.kept
        assert own[0] in STORE.sentences  # a sentence, whole but for the limit
        if kept:
            assert set(own) <= set(body)
            assert body == list(range(body[0], body[-1] + 1))
            continue
        removed += 1
        assert not set(own) & set(body)
        assert body, "no example has an empty body"
        stops = [*STORE.sentences[STORE.sentences > own[0]], STORE.ends[document]]
        whole = sorted([*range(own[0], min(*stops, STORE.ends[document])), *body])
        assert whole == list(range(whole[0], whole[-1] + 1)), "query and remainder make the block again"
        assert whole[0] in STORE.sentences
    assert removed > 400


def test_titles_stand_first_and_rows_are_laid_out_as_published() -> None:
    batch = batch_of(200)
    cls, sep = tiny.SPECIALS.cls, tiny.SPECIALS.sep
    for number, document in enumerate(batch.documents):
        title = STORE.tokens[STORE.starts[document] : STORE.bodies[document]].tolist()
        query, block = batch.rows.row(2 * number).tolist(), batch.rows.row(2 * number + 1).tolist()
        assert query[0] == cls
        assert query[-1] == sep
        assert query.count(sep) == 1
        assert block[: len(title) + 1] == [cls, *title]
        assert block.count(sep) == (2 if title else 1)
        assert len(query) <= 16
        assert len(block) <= 40


def test_keep_rate() -> None:
    several = tiny.store(300, sentences=(2, 6))
    for rate in (0.1, 0.5):
        kept = batch_of(documents=several, keep=rate, block=400).per_example["kept"]
        assert abs(kept.mean() - rate) < 3 * np.sqrt(rate * (1 - rate) / len(kept))


def test_single_sentence_blocks_appear_only_kept() -> None:
    batch = batch_of(documents=tiny.store(300, sentences=(1, 2)), block=400, keep=0.2)
    counts = np.diff(tiny.store(300, sentences=(1, 2)).document_sentences)[batch.documents]
    kept = batch.per_example["kept"]
    assert kept[counts == 1].all()
    assert (counts == 1).any()
    singles = tiny.store(30, sentences=(1, 1))
    assert batch_of(50, documents=singles).per_example["kept"].all()
    with pytest.raises(UsageError, match="no document is long enough"):
        batch_of(50, documents=singles, keep=0.0)


@pytest.mark.parametrize("keep", [0.0, 1.0])
def test_window_grows_around_its_sentence(keep: float) -> None:
    documents = tiny.store(80, sentences=(2, 25), words=(3, 30))
    batch = batch_of(800, documents=documents, form="window", keep=keep, block=50, query=40)
    starts = set(documents.sentences)
    balanced = []
    for pair in orqa_ict.explain(batch, documents, tiny.SPECIALS):
        (begin, *_), context = pair.rows[0].kept, pair.rows[1].kept
        assert pair.rows[0].document == pair.rows[1].document
        assert 1 <= len(context) <= 47
        assert min(context) >= documents.bodies[pair.rows[0].document]
        assert max(context) < documents.ends[pair.rows[0].document]
        assert (begin in context) is bool(keep)
        balanced.append((np.array(context) < begin).mean())
        whole = sorted({*context, *pair.rows[0].kept})
        assert whole == list(range(whole[0], whole[-1] + 1))
        assert whole[0] in starts or len(context) == 47
    assert 0.3 < np.mean(balanced) < 0.7


def test_short_queries() -> None:
    documents = tiny.store(80, words=(8, 14))
    lengths = batch_of(2000, documents=documents, short=0.5).rows.lengths[0::2] - 2
    assert lengths.min() == 5
    full = batch_of(2000, documents=documents).rows.lengths[0::2] - 2
    assert full.min() == 8
    assert 0.2 < (lengths < 8).mean() < 0.4


def test_towers_and_projection() -> None:
    shared, _ = tiny.run("orqa-ict", "new", projection=8)
    separate, batches = tiny.run("orqa-ict", "new", projection=8, towers="separate")
    count = [sum(p.numel() for p in objective.parameters()) for objective in (shared, separate)]
    assert count[1] == 2 * count[0]
    assert shared.encoder.dimensions == 8
    assert separate.encode(batches(0), 0).vectors["key"].shape == (8, 1, 1, 8)
    static, _ = tiny.run("orqa-ict")
    assert static.encoder.dimensions == 16
    assert (static.temperature, shared.temperature) == (0.05, 1.0)


def test_loss_and_accuracies_by_hand() -> None:
    objective, batches = tiny.run("orqa-ict", size=64, keep=0.5)
    batch = batches(0)
    vectors = objective.encode(batch, 0).vectors
    loss = objective.compare(vectors, vectors, batch, 0, 0)
    query, key = (v.detach().numpy()[:, 0, 0].astype(np.float64) for v in (vectors["query"], vectors["key"]))
    query, key = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (query, key))
    scores = query @ key.T / 0.05
    expected = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores.diagonal())
    assert float(loss.value.detach()) == pytest.approx(expected, rel=1e-5)
    hits, kept = scores.argmax(axis=1) == np.arange(64), batch.per_example["kept"]
    assert float(loss.statistics["masked_accuracy"]) == pytest.approx(hits[~kept].mean())
    assert float(loss.statistics["kept_accuracy"]) == pytest.approx(hits[kept].mean())


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(UsageError, match="lower block"):
        tiny.run("orqa-ict", block=4000)
    for wrong in ({"keep": 1.5}, {"block": 2}, {"temperature": -1.0}):
        with pytest.raises(UsageError):
            orqa_ict.Options(**wrong)
    assert torch.isnan(torch.zeros(0).mean())  # an accuracy over no examples is "unknown", not zero
