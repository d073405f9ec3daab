"""MVR: the loss against NumPy, the schedule, what an example is, and what views are for."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch, Rows
from pretrieve.methods import mvr
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.multi_vector import MultiVectorEncoder
from pretrieve.sampling.batches import Batches


def made(**changes: Any) -> mvr.MultiView:
    """An objective over a tiny encoder; its loss does not depend on the encoder."""
    encoder = tiny.encoder("new", tiny.store(), dropout=0.0)
    found = mvr.objective(encoder, mvr.Options(**{"block": 40, "query": 16, **changes}), 0, tiny.store())
    assert isinstance(found, mvr.MultiView)
    return found


def facts(documents: list[int], width: int = 2) -> Batch:
    size = len(documents)
    return Batch(rows=Rows.of([[2, 3]] * (size * width)), shape=(size, width), documents=np.array(documents))


def drawn(size: int, queries: int, keys: int, views: int, dimensions: int = 6, seed: int = 0) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    shapes = {"query": (size, queries, 1, dimensions), "key": (size, keys, views, dimensions)}
    return {name: torch.from_numpy(rng.normal(size=shape)) for name, shape in shapes.items()}


def reference(
    vectors: dict[str, Tensor], documents: list[int], tau: float, local: float, first: int, count: int, mask: bool
) -> float:
    """Both losses, one query at a time, as the paper writes them."""
    queries, keys = vectors["query"].numpy()[:, :, 0], vectors["key"].numpy()
    losses = []
    for example in range(first, first + count):
        for query in queries[example]:
            own = [math.exp(float(query @ view) / tau) for view in keys[example, 0]]
            total = 0.0
            for other in range(len(keys)):
                for column, document in enumerate(keys[other]):
                    same = mask and column == 0 and other != example and documents[other] == documents[example]
                    if not same:
                        total += math.exp(max(float(query @ view) for view in document) / tau)
            losses.append(-math.log(max(own) / total) - local * math.log(max(own) / sum(own)))
    return float(np.mean(losses))


@pytest.mark.parametrize(("queries", "keys", "views", "mask"), [(1, 1, 1, True), (1, 3, 4, True), (3, 1, 5, False)])
def test_loss_is_the_numpy_reference(queries: int, keys: int, views: int, mask: bool) -> None:
    documents = [0, 1, 0, 2, 3, 1]
    vectors = drawn(6, queries, keys, views)
    found = made(views=views, queries_per_document=queries, local=0.3, epoch_steps=10, mask_same_document=mask)
    for first, count, step in ((0, 6, 0), (2, 3, 50), (5, 1, 500)):
        local_vectors = {name: values[first : first + count] for name, values in vectors.items()}
        loss = found.compare(local_vectors, vectors, facts(documents), first, step)
        expected = reference(vectors, documents, found.tau(step), 0.3, first, count, mask)
        assert float(loss.value) == pytest.approx(expected, rel=1e-10)


def test_gradient_of_the_loss_by_finite_differences() -> None:
    found = made(views=3, queries_per_document=2, local=0.5, epoch_steps=1)
    vectors = drawn(4, 2, 1, 3)

    def loss(queries: Tensor, keys: Tensor) -> Tensor:
        given = {"query": queries, "key": keys}
        return found.compare(given, given, facts([0, 1, 1, 2]), 0, 3).value

    inputs = [values.requires_grad_() for values in vectors.values()]
    assert torch.autograd.gradcheck(loss, inputs, eps=1e-6, atol=1e-7)


def test_temperature_at_epochs_0_5_and_12() -> None:
    found = made(epoch_steps=10)
    assert found.tau(0) == 1.0
    assert found.tau(50) == pytest.approx(0.607, abs=5e-4)
    assert found.tau(120) == pytest.approx(0.301, abs=5e-4)
    assert found.tau(130) == found.tau(10_000) == 0.3
    assert found.tau(50) == found.tau(59) > found.tau(60), "the same through an epoch"
    fixed = made(decay=0.0, epoch_steps=1)
    assert fixed.tau(0) == fixed.tau(99) == 1.0


def test_score_is_the_best_view_and_its_gradient_goes_to_that_view_alone() -> None:
    found = made(views=4, queries_per_document=1, local=0.0)
    vectors = drawn(5, 1, 1, 4)
    keys = vectors["key"].requires_grad_()
    found.compare(vectors, vectors, facts([*range(5)]), 0, 0).value.backward()
    scores = np.einsum("qd,mvd->qmv", vectors["query"][:, 0, 0].numpy(), keys[:, 0].detach().numpy())
    chosen = {(m, int(v)) for row in scores for m, v in enumerate(row.argmax(axis=1))}
    touched = {(int(m), int(v)) for m, v in keys.grad[:, 0].abs().sum(dim=2).nonzero()}
    assert touched == chosen


def test_statistics_of_collapse() -> None:
    axes = torch.eye(4, dtype=torch.float64)
    apart = mvr.collapse(axes.expand(3, 4, 4), axes.expand(3, 4, 4))
    assert [round(float(apart[name]), 9) for name in ("view_entropy", "views_used", "view_cosine")] == [1, 1, 0]
    one = mvr.collapse(axes.expand(3, 4, 4), torch.ones(3, 4, 4, dtype=torch.float64))
    assert [round(float(one[name]), 9) for name in ("view_entropy", "views_used", "view_cosine")] == [0, 0.25, 1]
    single = mvr.collapse(axes.expand(3, 4, 4), axes[:1].expand(3, 1, 4))
    assert [float(single[name]) for name in ("view_entropy", "views_used", "view_cosine")] == [0, 1, 1]


def test_statistics_of_collapse_are_those_of_a_slow_twin() -> None:
    vectors = drawn(30, 2, 1, 3)
    queries, views = vectors["query"][:, :, 0], vectors["key"][:, 0]
    found = mvr.collapse(queries, views)
    unit = (views / views.norm(dim=2, keepdim=True)).numpy()
    pairs = [float(each[i] @ each[j]) for each in unit for i, j in combinations(range(3), 2)]
    chosen = [int((views[b] @ queries[b, q]).argmax()) for b in range(30) for q in range(2)]
    shares = np.bincount(chosen, minlength=3) / 60
    assert float(found["view_cosine"]) == pytest.approx(np.mean(pairs))
    assert float(found["view_entropy"]) == pytest.approx(-(shares * np.log(shares)).sum() / np.log(3))


@pytest.mark.parametrize("negatives", [0, 2])
def test_labelled_pairs_with_and_without_mined_negatives(negatives: int) -> None:
    """The objective asks nothing of the view: rows of a query, its document, and documents that are wrong."""
    found = made(views=3, queries_per_document=1)
    rng = np.random.default_rng(0)
    width = 2 + negatives
    rows = Rows.of([[2, *rng.integers(5, 120, 6).tolist(), 3] for _ in range(4 * width)])
    batch = Batch(rows=rows, shape=(4, width), documents=np.arange(4))
    vectors = found.eval().encode(batch, 0).vectors
    assert vectors["query"].shape == (4, 1, 1, 16)
    assert vectors["key"].shape == (4, 1 + negatives, 3, 16)
    loss = found.compare(vectors, vectors, batch, 0, 0)
    detached = {name: values.detach().double() for name, values in vectors.items()}
    expected = reference(detached, [0, 1, 2, 3], 1.0, 0.01, 0, 4, mask=True)
    assert float(loss.value.detach()) == pytest.approx(expected, rel=1e-5)
    loss.value.backward()
    viewers = found.encoder.encoder.words.grad[120:]
    assert viewers[0].abs().sum() > 0, "the queries' viewer learns"
    assert int((viewers.abs().sum(dim=1) > 0).sum()) == 4


@pytest.mark.parametrize("keep", [0.0, 0.4, 1.0])
def test_block_without_the_sentences_that_are_cut_out(keep: float) -> None:
    store = tiny.store(60)
    options = mvr.Options(queries_per_document=3, block=48, query=16, keep_probability=keep)
    sampler = mvr.sampler(store, tiny.SPECIALS, options, provenance=True)
    batch = Batches(sampler=sampler, batch_size=300, seed=1)(0)
    starts = {int(first): number for number, first in enumerate(store.sentences[:-1])}
    asked = kept = 0
    for example, pair in zip(range(300), mvr.explain(batch, store, tiny.SPECIALS), strict=True):
        *queries, block = pair.rows
        (begin, stop) = block.spans[-1]
        inside = [number for first, number in starts.items() if begin <= first < stop]
        different = {query.kept[0] for query in queries}
        assert len(different) == min(3, max(len(inside) - 1, 1)), "different sentences, as many as there can be"
        assert different <= {int(store.sentences[number]) for number in inside}
        gone = set(block.deleted)
        for query in queries:
            whole = set(range(*query.spans[0]))
            assert whole <= gone or not whole & gone, "a sentence is cut out whole or stays"
        for first in different:
            last = min([int(s) for s in store.sentences if s > first] + [stop])
            if len(inside) > 1:
                asked += 1
                kept += not set(range(first, min(last, stop))) <= gone
            assert len(inside) > 1 or not gone
        others = [n for n in inside if int(store.sentences[n]) not in different]
        assert all(int(store.sentences[n]) in block.kept for n in others), "what does not ask stays"
        assert block.kept, "something is left"
        if len(block.spans) == 2:  # the title
            document = int(batch.documents[example])
            assert block.spans[0] == (int(store.starts[document]), int(store.bodies[document]))
    assert abs(kept - keep * asked) <= 3 * math.sqrt(asked * keep * (1 - keep)) + 1e-9
    assert asked > 200
    assert batch.rows.lengths.reshape(300, 4)[:, :3].max() <= 16
    assert batch.rows.lengths.max() <= 48
    assert (batch.rows.tokens[batch.rows.offsets[:-1]] == 2).all()


def test_two_views_beat_one_where_documents_have_two_intents() -> None:
    """Eight things to ask for on a circle; a document is about two of them, and is to be found by either.

    Of opposite things one vector can serve neither. Views are free parameters, so that the loss alone is judged.
    """
    angles = torch.arange(8) * (2 * math.pi / 8)
    things = 3 * torch.stack([angles.cos(), angles.sin()], dim=1)
    pairs = torch.tensor([*combinations(range(8), 2)])
    place = {tuple(pair): number for number, pair in enumerate(pairs.tolist())}

    def ordered(views: int) -> float:
        """Share of (query, right document, wrong document) in the right order after training."""
        torch.manual_seed(0)
        documents = torch.randn(len(pairs), 1, views, 2).requires_grad_()
        optimizer = torch.optim.Adam([documents], lr=0.2)
        found, rng = made(views=views, queries_per_document=2, epoch_steps=24), np.random.default_rng(0)
        for step in range(120):
            drawn_pairs = np.sort(rng.permutation(8).reshape(-1, 2), axis=1).tolist()
            chosen = torch.tensor([place[tuple(pair)] for pair in drawn_pairs])
            vectors = {"query": things[pairs[chosen]].unsqueeze(2), "key": documents[chosen]}
            loss = found.compare(vectors, vectors, facts(chosen.tolist()), 0, step)
            optimizer.zero_grad()
            loss.value.backward()
            with torch.no_grad():
                optimizer.step()
                documents.mul_((3 / documents.norm(dim=3, keepdim=True)).clamp(max=1))  # as long as the queries
        scores = mvr.view_scores(things, documents[:, 0]).amax(dim=2).detach()
        right = (pairs[None] == torch.arange(8)[:, None, None]).any(dim=2)
        shares = [(row[own][:, None] > row[~own][None]).float().mean() for row, own in zip(scores, right, strict=True)]
        return float(torch.stack(shares).mean())

    one, two = ordered(1), ordered(2)
    assert one < 0.85
    assert two > 0.93


def test_an_encoder_that_has_views_is_trained_on_and_another_number_is_refused() -> None:
    store = tiny.store()
    first = made(views=3).encoder
    again = mvr.objective(first, mvr.Options(views=3, block=40, query=16), 1, store)
    assert again.encoder is first
    with pytest.raises(UsageError, match="trained with 3"):
        mvr.objective(first, mvr.Options(views=4, block=40, query=16), 1, store)


def test_wrong_options_and_encoders_are_refused() -> None:
    store = tiny.store()
    for wrong, message in (
        ({"views": 0}, "at least 1"),
        ({"keep_probability": 1.5}, "at most 1"),
        ({"temperature": 0.1}, "coldest"),
        ({"block": 4}, "block=4"),
    ):
        with pytest.raises(UsageError, match=message):
            mvr.Options(**wrong)
    with pytest.raises(UsageError, match="lower block"):
        mvr.objective(tiny.encoder("new", store), mvr.Options(block=288), 0, store)
    with pytest.raises(UsageError, match="static encoder"):
        mvr.objective(tiny.encoder("static", store), mvr.Options(block=40, query=16), 0, store)


def test_viewers_do_not_depend_on_the_order_of_the_run() -> None:
    """Drawn by address: the same seed gives the same viewers, whatever was drawn before."""
    store = tiny.store()
    found = []
    for waste in (0, 5):
        torch.rand(waste)
        encoder = build_encoder("new:layers=1,hidden=16,heads=2", store=store, options=EncoderOptions(max_length=64))
        made_over = mvr.objective(encoder, mvr.Options(views=2, block=40, query=16), 7, store).encoder
        assert isinstance(made_over, MultiVectorEncoder)
        found.append(made_over.encoder.words[120:])
    assert torch.equal(*found)
