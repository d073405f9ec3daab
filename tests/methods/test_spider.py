"""Spider: query, positive and hard negative of a recurring span, their odds, and the loss by hand."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.methods import spider
from pretrieve.models.static import StaticEncoder
from pretrieve.sampling.batches import Batches
from pretrieve.sampling.recurring_spans import Rule, find

STORE = tiny.store(60, sentences=(5, 20))
SMALL = {"passage": 12, "words_min": 1, "words_max": 3, "stop_words": 0, "query_min": 4, "query_max": 8, "length": 40}
RULE = Rule(passage=12, shortest=1, longest=3, tokens=8, stop_words=0)
FOUND = find(STORE, RULE)


def drawn(size: int = 800, specials=tiny.SPECIALS, documents: Any = STORE, seed: int = 0, **changes: Any) -> Any:
    options = spider.Options(**{**SMALL, **changes})
    batch = Batches(sampler=spider.sampler(documents, specials, options, True), batch_size=size, seed=seed)(0)
    return batch, spider.explain(batch, documents, specials)


def inside(tokens: list[int], span: list[int]) -> bool:
    return any(tokens[i : i + len(span)] == span for i in range(len(tokens) - len(span) + 1))


@pytest.mark.parametrize("specials", [tiny.SPECIALS, tiny.BARE])
def test_the_span_is_in_query_and_positive_and_not_in_the_negative(specials) -> None:
    batch, pairs = drawn(specials=specials)
    passages = dict(zip(FOUND.starts.tolist(), FOUND.stops.tolist(), strict=True))
    words = np.asarray(STORE.word_starts)
    for pair, gone in zip(pairs, batch.per_example["deleted"], strict=True):
        span, query, positive, negative = pair.rows
        assert [row.role for row in pair.rows] == ["span", "query", "positive", "negative"]
        assert len({row.document for row in pair.rows}) == 1
        text = STORE.tokens[span.kept].tolist()
        assert query.deleted == (span.kept if gone else [])
        assert set(span.kept) <= set(query.kept) | set(query.deleted)
        assert pair.note == f"the span was {'deleted from' if gone else 'kept in'} the query"
        body = STORE.bodies[span.document]
        cut = [[p for p in row.kept if p >= body] for row in (positive, negative)]
        assert inside(STORE.tokens[cut[0]].tolist(), text)
        for row in cut:
            assert row[0] in passages or row is cut[0]
            assert row == list(range(row[0], row[-1] + 1))
            assert len(row) <= passages.get(row[0], row[0] + 40) - row[0]
        window = sorted(query.kept + query.deleted)
        assert window == list(range(window[0], window[-1] + 1))
        begin = max(p for p in passages if p <= span.kept[0])
        assert begin <= window[0]
        assert window[-1] < passages[begin]
        assert not begin <= cut[0][0] < passages[begin], "query and positive are two passages"
        whole = [[*range(p, passages[p])] for p in passages if p <= cut[1][0] < passages[p]][0]  # noqa: RUF015
        starts = [
            i for i in whole if STORE.tokens[i : i + len(text)].tolist() == text and i + len(text) <= whole[-1] + 1
        ]
        # the same ids may stand there as a part of longer words, which is another span
        assert all(not _at_words(i, len(text), words, whole) for i in starts)


def _at_words(first: int, size: int, begins: np.ndarray, whole: list[int]) -> bool:
    last = first + size
    return bool(begins[STORE.tokens[first]] and (last > whole[-1] or begins[STORE.tokens[last]]))


def test_lengths_of_queries() -> None:
    """Four to eight tokens, where the passage has as many; a span that stays may be longer, a deleted one is extra."""
    batch, pairs = drawn(2000)
    lengths = batch.rows.lengths[0::3] - 2
    gone = batch.per_example["deleted"]
    room = np.array([_passage_size(pair.rows[0]) for pair in pairs])
    sizes = np.array([len(pair.rows[0].kept) for pair in pairs])
    assert (lengths[gone] >= np.minimum(4, room - sizes)[gone]).all()
    assert lengths.max() == 8
    counts = np.bincount(lengths[gone & (room >= 8 + sizes)])[4:]
    assert len(counts) == 5
    expected = counts.sum() / 5
    assert (abs(counts - expected) < 5 * np.sqrt(expected)).all()


def _passage_size(span: Any) -> int:
    at = int(np.searchsorted(FOUND.starts, span.kept[0], side="right")) - 1
    return int(FOUND.stops[at] - FOUND.starts[at])


def test_windows_lie_evenly_around_the_span() -> None:
    _, pairs = drawn(1200, passage=24, delete=0.0)
    before = []
    for pair in pairs:
        span, query = pair.rows[:2]
        spare = len(query.kept) - len(span.kept)
        if spare and min(query.kept) > STORE.bodies[span.document] + 10:
            before.append((span.kept[0] - query.kept[0]) / spare)
    assert abs(np.mean(before) - 0.5) < 0.06
    assert min(before) == 0
    assert max(before) == 1


def test_half_of_the_spans_are_deleted() -> None:
    for rate in (0.5, 0.2):
        sampler = spider.sampler(STORE, tiny.SPECIALS, spider.Options(**{**SMALL, "delete": rate}))
        deleted = Batches(sampler=sampler, batch_size=3000, seed=0)(0).per_example["deleted"]
        assert abs(deleted.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / len(deleted))


def test_spans_and_passages_are_drawn_evenly() -> None:
    """One document many times: every span, ordered pair of passages with it, and passage without it is as likely."""
    document = int(np.argmax(np.diff(FOUND.document_spans) * (np.diff(FOUND.document_spans) < 12)))
    sampler = spider.sampler(STORE, tiny.SPECIALS, spider.Options(**SMALL))
    count = 30_000
    draw = sampler._drawn(np.full(count, document), np.random.default_rng(0))
    expected: dict[tuple[int, int, int], float] = {}
    first, last = FOUND.document_spans[document : document + 2]
    all_passages = range(*FOUND.document_passages[document : document + 2].tolist())
    for span in range(first, last):
        own = FOUND.passages[FOUND.span_places[span] : FOUND.span_places[span + 1]].tolist()
        others = [p for p in all_passages if p not in own]
        assert others
        for q in own:
            for p in own:
                for n in others if p != q else []:
                    odds = 1 / (last - first) / len(own) / (len(own) - 1) / len(others)
                    expected[q, p, n] = expected.get((q, p, n), 0) + odds
    seen = Counter(map(tuple, draw.passages.tolist()))
    assert set(seen) <= set(expected)
    assert sum(expected.values()) == pytest.approx(1)
    for triple, odds in expected.items():
        assert abs(seen[triple] - count * odds) < 5 * np.sqrt(count * odds) + 1


def test_passages_have_titles_and_the_span_survives_the_cut() -> None:
    batch, pairs = drawn(400, passage=25, length=24)
    cls, sep = tiny.SPECIALS.cls, tiny.SPECIALS.sep
    cut = 0
    for b, pair in enumerate(pairs):
        document = pair.rows[0].document
        title = STORE.tokens[STORE.starts[document] : STORE.bodies[document]].tolist()
        query, positive, negative = (batch.rows.row(3 * b + n).tolist() for n in range(3))
        assert query[0] == cls
        assert (query.count(sep), query[-1]) == (1, sep)
        for row in (positive, negative):
            assert row[: len(title) + 1] == [cls, *title]
            assert row.count(sep) == (2 if title else 1)
            assert len(row) <= 24
        assert inside(positive, STORE.tokens[pair.rows[0].kept].tolist())
        cut += len(positive) == 24
    assert cut > 100


def test_items_are_documents_with_a_span() -> None:
    sampler = spider.sampler(STORE, tiny.SPECIALS, spider.Options(**SMALL))
    assert sampler.mixture.items == np.count_nonzero(np.diff(FOUND.document_spans))
    batch, _ = drawn(sampler.mixture.items)
    assert sorted(batch.documents.tolist()) == np.flatnonzero(np.diff(FOUND.document_spans)).tolist()


@pytest.mark.parametrize("kind", ["static", "new"])
@pytest.mark.parametrize("mask", [False, True])
def test_loss_and_statistics_by_hand(kind: str, mask: bool) -> None:
    objective, batches = tiny.run("spider", kind, size=32, mask_same_document=mask)
    batch = batches(0)
    assert len(set(batch.documents)) < 32
    vectors = objective.double().eval().encode(batch, 0).vectors
    loss = objective.compare(vectors, vectors, batch, 0, 0)
    query, positive, negative = (v.detach().numpy()[:, 0, 0] for v in vectors.values())
    if kind == "static":
        query, positive, negative = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (query, positive, negative))
    scores = query @ np.concatenate([positive, negative]).T / (0.05 if kind == "static" else 1.0)
    losses, margins = [], []
    for b in range(32):
        counted = [j for j in range(64) if not mask or j % 32 == b or batch.documents[j % 32] != batch.documents[b]]
        losses.append(np.log(np.exp(scores[b, counted]).sum()) - scores[b, b])
        margins.append(scores[b, b] - max(scores[b, j] for j in counted if j != b))
    assert float(loss.value.detach()) == pytest.approx(np.mean(losses), rel=1e-9)
    deleted, margins = batch.per_example["deleted"], np.array(margins)
    assert float(loss.statistics["deleted"]) == pytest.approx(deleted.mean())
    for name, of in (("accuracy", slice(None)), ("deleted_accuracy", deleted)):  # two rows may be the same: a draw
        least, most = ((margins[of] > edge).mean() for edge in (1e-9, -1e-9))
        assert least - 1e-6 <= float(loss.statistics[name]) <= most + 1e-6


def test_gradient_is_that_of_finite_differences() -> None:
    objective, batches = tiny.run("spider", "new", size=5)
    objective.double().eval()
    batch = batches(0)

    def loss() -> torch.Tensor:
        vectors = objective.encode(batch, 0).vectors
        return objective.compare(vectors, vectors, batch, 0, 0).value

    loss().backward()
    for name, parameter in objective.named_parameters():
        if parameter.grad is None:
            continue
        flat, index = parameter.data.view(-1), int(parameter.grad.abs().argmax())
        before, values = float(flat[index]), []
        for step in (1e-5, -1e-5):
            flat[index] = before + step
            with torch.no_grad():
                values.append(float(loss()))
        flat[index] = before
        expected = (values[0] - values[1]) / 2e-5
        assert float(parameter.grad.view(-1)[index]) == pytest.approx(expected, rel=1e-4, abs=1e-8), name


def test_a_static_encoder_learns_it() -> None:
    objective, batches = tiny.run("spider", "static", size=16, documents=STORE, **SMALL)
    assert isinstance(objective.encoder, StaticEncoder)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    accuracies = []
    for step in range(60):
        batch = batches(step)
        vectors = objective.encode(batch, step).vectors
        found = objective.compare(vectors, vectors, batch, 0, step)
        optimizer.zero_grad()
        found.value.backward()
        optimizer.step()
        accuracies.append(float(found.statistics["accuracy"]))
    assert np.mean(accuracies[-10:]) > np.mean(accuracies[:10]) + 0.2


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(UsageError, match="documents are too short for spider"):
        tiny.run("spider", "static", documents=tiny.store(20, sentences=(1, 2)), passage=100)
    with pytest.raises(UsageError, match="lower length"):
        tiny.run("spider", "new", length=200)
    for wrong in (
        {"words_max": 200}, {"words_min": 0}, {"query_min": 40}, {"length": 20}, {"delete": 2.0}, {"temperature": 0.0},
    ):  # fmt: skip
        with pytest.raises(UsageError):
            spider.Options(**wrong)
