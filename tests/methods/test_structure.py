"""Pairs from structure: each kind does what it says; near-duplicates are no negatives."""

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.methods import structure
from pretrieve.sampling.batches import Batches

STORE = tiny.store(300, sentences=(2, 8))
NONE = dict.fromkeys(structure.KINDS, 0.0)


def pairs_of(kind: str | None = None, size: int = 1000, documents=STORE, specials=tiny.SPECIALS, **changes):
    weights = {**NONE, "span": 1.0, **({kind: 1.0} if kind else {})}
    if kind not in (None, "span", "title", "title_span"):
        weights["span"] = 0.0
    options = structure.Options(**{**weights, "window": 30, "query": 12, **changes})
    batch = Batches(sampler=structure.sampler(documents, specials, options, True), batch_size=size, seed=0)(0)
    return batch, structure.explain(batch, documents, specials)


def body(row, documents=STORE) -> list[int]:
    return [position for position in row.kept if position >= documents.bodies[row.document]]


def title(row, documents=STORE) -> list[int]:
    return [position for position in row.kept if position < documents.bodies[row.document]]


def test_title_to_body() -> None:
    batch, pairs = pairs_of("title", span=0.0)
    titled = STORE.bodies > STORE.starts
    kinds = batch.per_example["kind"]
    assert ((kinds == structure.TITLE) == titled[batch.documents]).all()
    for pair in pairs:
        if pair.note == "title":
            assert pair.rows[0].kept == title(pair.rows[0])
            assert not title(pair.rows[1])
            assert len(body(pair.rows[1])) <= 30


def test_opening_is_the_first_words_of_the_body() -> None:
    _, pairs = pairs_of("opening", opening_min=3, opening_max=9, title_in_key=0.0, window=500)
    lengths, removed = [], []
    for pair in pairs:
        query, key = pair.rows
        first, size = STORE.bodies[query.document], STORE.ends[query.document] - STORE.bodies[query.document]
        half = max(2, size // 2)
        assert query.kept == list(range(first, first + len(query.kept)))
        assert min(3, half) <= len(query.kept) <= min(9, half)
        if half >= 9:  # every length is allowed
            lengths.append(len(query.kept))
        if size >= len(query.kept) + 3:
            removed.append(not set(query.kept) & set(key.kept))
        whole = list(range(first, first + size))
        assert key.kept == (whole[len(query.kept) :] if not set(query.kept) & set(key.kept) else whole)
    shares = np.bincount(lengths, minlength=10)[3:] / len(lengths)
    assert (abs(shares - 1 / 7) < 3 * np.sqrt(6 / 49 / len(lengths))).all()
    assert abs(np.mean(removed) - 0.7) < 3 * np.sqrt(0.21 / len(removed))


def test_span_lengths_and_removal_rate() -> None:
    _, pairs = pairs_of("span", span_min=4, span_max=9, title_in_key=0.0)
    lengths = [len(pair.rows[0].kept) for pair in pairs]
    assert min(lengths) <= 4
    assert max(lengths) == 9
    possible = [p for p in pairs if min(30, STORE.ends[p.rows[0].document] - STORE.bodies[p.rows[0].document])
                >= len(p.rows[0].kept) + 3]  # fmt: skip
    removed = [not set(pair.rows[0].kept) & set(pair.rows[1].kept) for pair in possible]
    assert abs(np.mean(removed) - 0.7) < 3 * np.sqrt(0.21 / len(removed))
    for pair in pairs:
        whole = sorted({*pair.rows[0].kept, *pair.rows[1].kept})
        assert whole == list(range(whole[0], whole[-1] + 1))  # the span lies in the window


@pytest.mark.parametrize("kind", ["lead", "sentence"])
def test_sentences_are_whole(kind: str) -> None:
    _, pairs = pairs_of(kind, query=100, window=200)
    whole = 0
    for pair in pairs:
        document, first = pair.rows[0].document, pair.rows[0].kept[0]
        stop = min([*STORE.sentences[STORE.sentences > first][:1], STORE.ends[document]])
        if first in STORE.sentences and len(pair.rows[0].kept) == stop - first:
            whole += 1
            if kind == "lead":
                assert first == STORE.bodies[document] or len(pair.rows[0].kept) < 20
    assert whole > 0.6 * len(pairs)


def test_title_and_span_to_the_document_with_its_title() -> None:
    _, pairs = pairs_of("title_span")
    for pair in pairs:
        if pair.note == "title and span":
            assert title(pair.rows[0]) == title(pair.rows[1])
            assert title(pair.rows[0])
            assert body(pair.rows[0])
            assert body(pair.rows[1])


def test_titles_are_ignored_where_few_documents_have_one() -> None:
    batch, _ = pairs_of("title_span", titled_share=0.9)
    assert (batch.per_example["kind"] == structure.SPAN).all()


def test_keywords_come_from_the_window() -> None:
    _, pairs = pairs_of("keywords", keywords_min=2, keywords_max=5)
    counts = [len(pair.rows[0].kept) for pair in pairs]
    assert set(counts) == {2, 3, 4, 5}
    for pair in pairs:
        assert set(pair.rows[0].kept) <= set(pair.rows[1].kept)
    places = np.concatenate(
        [np.array(p.rows[0].kept) - body(p.rows[1])[0] for p in pairs if len(body(p.rows[1])) == 30]
    )
    assert abs(places.mean() - 14.5) < 3 * 8.7 / np.sqrt(len(places))


def test_crops_have_their_ratios() -> None:
    _, pairs = pairs_of("crop", crop_min=0.2, crop_max=0.6, title_in_key=0.0, window=500)
    for pair in pairs:
        size = STORE.ends[pair.rows[0].document] - STORE.bodies[pair.rows[0].document]
        for row in pair.rows:
            assert max(1, int(0.2 * size)) <= len(row.kept) <= max(1, int(0.6 * size))


WEIGHTS = {"title": 2.0, "title_span": 1.0, "opening": 3.0, "lead": 2.0, "sentence": 0.5, "keywords": 1.0, "crop": 1.0}


def follow(kinds: np.ndarray, weights: dict[str, float]) -> bool:
    """Whether shares of kinds follow weights, to three standard deviations."""
    table = np.array([weights.get(name, 0.0) for name in structure.KINDS])
    expected = table / table.sum()
    shares = np.bincount(kinds, minlength=len(table)) / len(kinds)
    return bool((abs(shares - expected) <= 3 * np.sqrt(expected * (1 - expected) / len(kinds))).all())


def test_kinds_follow_their_weights_with_and_without_a_title() -> None:
    batch, _ = pairs_of(None, 6000, **{**NONE, **WEIGHTS})
    kinds = batch.per_example["kind"]
    titled = (STORE.bodies > STORE.starts)[batch.documents]
    assert 0.1 < titled.mean() < 0.9
    assert follow(kinds[titled], WEIGHTS)
    assert follow(kinds[~titled], WEIGHTS | {"title": 0.0, "title_span": 0.0})
    assert not np.isin(kinds[~titled], (structure.TITLE, structure.TITLE_SPAN)).any()


def test_documents_without_a_title_give_their_first_words_where_no_other_kind_has_weight() -> None:
    batch, pairs = pairs_of(None, 2000, **{**NONE, "title": 1.0, "title_span": 3.0})
    kinds = batch.per_example["kind"]
    titled = (STORE.bodies > STORE.starts)[batch.documents]
    assert follow(kinds[titled], {"title": 1.0, "title_span": 3.0})
    assert (kinds[~titled] == structure.OPENING).all()
    for pair, has in zip(pairs, titled, strict=True):
        if not has:
            assert pair.note == "opening"
            assert pair.rows[0].kept[0] == STORE.bodies[pair.rows[0].document]
            assert not title(pair.rows[0])


def test_keys_lose_the_words_of_their_queries_at_the_rate() -> None:
    """The same words never stand on both sides of an edited pair; queries and special tokens are those without it."""
    changes = {**NONE, "title_span": 1.0, "opening": 1.0, "crop": 1.0, "remove": 0.0}
    plain, _ = pairs_of(None, 2000, **changes)
    edited, pairs = pairs_of(None, 2000, **changes, drop_shared=0.3)
    every, _ = pairs_of(None, 2000, **changes, drop_shared=1.0)
    assert np.array_equal(plain.per_example["kind"], edited.per_example["kind"])
    could = changed = 0
    for number in range(2000):
        query, key = (plain.rows.row(2 * number + side) for side in (0, 1))
        wanted = every.rows.row(2 * number + 1)
        assert np.array_equal(edited.rows.row(2 * number), query)
        found = edited.rows.row(2 * number + 1)
        assert found[0] == tiny.SPECIALS.cls
        assert found[-1] == tiny.SPECIALS.sep
        own = set(query[1:-1].tolist())
        left = [token for token in key[1:-1].tolist() if token not in own]
        expected = left if len(left) >= structure.FEWEST_IN_KEY else key[1:-1].tolist()
        assert wanted[1:-1].tolist() == expected
        if len(expected) < len(key) - 2:
            could += 1
            changed += len(found) < len(key)
            assert found[1:-1].tolist() in (expected, key[1:-1].tolist())
            if len(found) < len(key):
                assert len(pairs[number].rows[1].deleted) == len(key) - len(found)
    assert could > 1000
    assert abs(changed / could - 0.3) < 3 * np.sqrt(0.21 / could)


def test_variants_are_options_of_their_presets_with_a_source() -> None:
    for name, variants in structure.VARIANTS.items():
        values = {key: value.value for key, value in structure.PRESETS[name].options.items()}
        assert len(variants) > 1
        for changes in variants.values():
            structure.Options(**values | {key: value.value for key, value in changes.items()})
            assert all(value.source in ("paper", "code", "ours") and value.note for value in changes.values())


def test_no_row_is_empty_and_none_too_long() -> None:
    documents = tiny.store(300, sentences=(1, 3), words=(1, 5))
    for specials, extra in ((tiny.SPECIALS, 2), (tiny.BARE, 0)):
        batch, _ = pairs_of(None, 3000, documents, specials, **dict.fromkeys(structure.KINDS, 1.0), delete=0.3)
        assert batch.rows.lengths.min() >= 1 + extra
        assert batch.rows.lengths.max() <= 30 + 12 + extra


def test_near_duplicates_and_same_documents_are_no_negatives() -> None:
    objective, batches = tiny.run("structure", size=4)
    batch = batches(0)
    key = torch.eye(4, 16)
    key[2] = key[0] * 0.95 + torch.eye(16)[9] * 0.05  # nearly the first
    vectors = {"query": torch.eye(4, 16)[:, None, None], "key": torch.nn.functional.normalize(key)[:, None, None]}
    object.__setattr__(batch, "documents", np.array([7, 8, 9, 8]))
    excluded = objective._excluded(vectors["key"][:, 0, 0], vectors["key"][:, 0, 0], batch, 0)
    expected = np.eye(4, dtype=bool)
    expected[[0, 2, 1, 3], [2, 0, 3, 1]] = True
    assert np.array_equal(excluded.numpy(), expected)
    temperature = objective.options.temperature
    loss = float(objective.compare(vectors, vectors, batch, 0, 0).value)
    by_hand = []
    for row in range(4):
        scores = [(vectors["query"][row, 0, 0] @ vectors["key"][j, 0, 0]).item() / temperature for j in range(4)
                  if j == row or not expected[row, j]]  # fmt: skip
        own = (vectors["query"][row, 0, 0] @ vectors["key"][row, 0, 0]).item() / temperature
        by_hand.append(np.log(np.exp(scores).sum()) - own)
    assert loss == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_what_cannot_be_is_said() -> None:
    for wrong in (
        {"lead": -1.0},
        NONE,
        {"span_min": 9, "span_max": 3},
        {"opening_min": 9, "opening_max": 3},
        {"opening_min": 0},
        {"temperature": 0.0},
    ):
        with pytest.raises(UsageError):
            structure.Options(**wrong)
    with pytest.raises(UsageError, match="lower window"):
        tiny.run("structure", window=4000)
    with pytest.raises(UsageError, match="lower window"):
        tiny.run("structure", opening_max=4000)
