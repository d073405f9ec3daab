"""The Inverse Cloze Task: block = query + remainder, keep rate, limits, window form, untied encoders."""

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.methods import orqa_ict
from pretrieve.sampling.batches import Batches

STORE = tiny.store(300)


def batch_of(size: int = 3000, documents=STORE, specials=tiny.SPECIALS, seed: int = 0, **changes):
    options = orqa_ict.Options(**{"block": 40, "query": 16, **changes})
    return Batches(sampler=orqa_ict.sampler(documents, specials, options, True), batch_size=size, seed=seed)(0)


def body_of(row, document: int, documents=STORE) -> list[int]:
    return [position for position in row.kept if position >= documents.bodies[document]]


@pytest.mark.parametrize("specials", [tiny.SPECIALS, tiny.BARE])
def test_body_and_query_reassemble_the_block_and_no_example_has_an_empty_body(specials) -> None:
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


def test_keep_rate_within_three_sigma() -> None:
    several = tiny.store(300, sentences=(2, 6))
    for rate in (0.1, 0.5):
        kept = batch_of(documents=several, keep_probability=rate, block=400).per_example["kept"]
        assert abs(kept.mean() - rate) < 3 * np.sqrt(rate * (1 - rate) / len(kept))


def test_single_sentence_blocks_appear_only_kept() -> None:
    batch = batch_of(documents=tiny.store(300, sentences=(1, 2)), block=400, keep_probability=0.2)
    counts = np.diff(tiny.store(300, sentences=(1, 2)).document_sentences)[batch.documents]
    kept = batch.per_example["kept"]
    assert kept[counts == 1].all()
    assert (counts == 1).any()
    singles = tiny.store(30, sentences=(1, 1))
    assert batch_of(50, documents=singles).per_example["kept"].all()
    with pytest.raises(UsageError, match="no document is long enough"):
        batch_of(50, documents=singles, keep_probability=0.0)


@pytest.mark.parametrize("keep", [0.0, 1.0])
def test_window_grows_around_its_sentence(keep: float) -> None:
    documents = tiny.store(80, sentences=(2, 25), words=(3, 30))
    batch = batch_of(800, documents=documents, form="window", keep_probability=keep, block=50, query=40)
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


def test_untied_encoders_and_projection() -> None:
    tied, _ = tiny.run("orqa-ict", "new", projection=8)
    untied, batches = tiny.run("orqa-ict", "new", projection=8, encoders="untied")
    count = [sum(p.numel() for p in objective.parameters()) for objective in (tied, untied)]
    assert count[1] == 2 * count[0]
    assert tied.encoder.dimensions == 8
    assert untied.encode(batches(0), 0).vectors["key"].shape == (8, 1, 1, 8)
    static, _ = tiny.run("orqa-ict")
    assert static.encoder.dimensions == 16
    assert (static.temperature, tied.temperature) == (0.05, 1.0)


def test_loss_and_accuracies_by_hand() -> None:
    objective, batches = tiny.run("orqa-ict", size=64, keep_probability=0.5)
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
    assert float(loss.statistics["unmasked_accuracy"]) == pytest.approx(hits[kept].mean())


@pytest.mark.parametrize("form", ["block", "window", "complement"])
def test_resume_gives_the_same_stream(form: str) -> None:
    """A batch is a function of its step alone: what was drawn before changes nothing."""
    options = orqa_ict.Options(block=40, query=16, form=form)
    first, again = (
        Batches(sampler=orqa_ict.sampler(STORE, tiny.SPECIALS, options), batch_size=64, seed=3) for _ in "ab"
    )
    stream = [first(step) for step in range(6)]
    for step in (5, 2, 4):
        assert np.array_equal(again(step).rows.tokens, stream[step].rows.tokens)
        assert np.array_equal(again(step).per_example["kept"], stream[step].per_example["kept"])
    assert not np.array_equal(stream[0].documents, stream[1].documents)


def test_complement_is_a_random_span_and_what_is_left_of_its_window() -> None:
    """Contriever's form (2.1): query a..b of the window, key the complement; no title, no sentence boundaries."""
    documents = tiny.store(60, sentences=(6, 12))
    batch = batch_of(2000, documents=documents, form="complement", keep_probability=0.0, block=42, query=40)
    shares = []
    for pair in orqa_ict.explain(batch, documents, tiny.SPECIALS):
        query, rest = pair.rows[0].kept, pair.rows[1].kept
        whole = sorted([*query, *rest])
        assert rest
        assert query == list(range(query[0], query[-1] + 1))
        assert whole == list(range(whole[0], whole[-1] + 1)), "nothing lost, nothing twice"
        assert whole[0] >= documents.bodies[pair.rows[0].document], "the title is no part"
        assert len(whole) <= 40
        assert max(1, int(0.05 * len(whole))) <= len(query) <= int(0.5 * len(whole))
        shares.append(len(query) / len(whole))
    assert 0.24 < np.mean(shares) < 0.29  # uniform in 0.05 to 0.5, rounded down
    assert np.mean([pair.rows[0].kept[0] in set(documents.sentences) for pair in
                    orqa_ict.explain(batch, documents, tiny.SPECIALS)]) < 0.4  # fmt: skip
    assert batch.rows.tokens.tolist().count(tiny.SPECIALS.sep) == 2 * 2000


def test_forward_pass_agrees_with_numpy() -> None:
    """1.3: tanh pooler on [CLS], Linear, LayerNorm, S = Q B^T without temperature, mean cross-entropy of the rows."""
    objective, batches = tiny.run("orqa-ict", "new", size=12, projection=8, encoders="untied", keep_probability=0.3)
    for encoder in (objective.query_encoder, objective.encoder):
        torch.nn.init.normal_(encoder.linear.bias)
        torch.nn.init.normal_(encoder.norm.weight)
    objective.eval()
    batch = batches(0)

    def encoded(encoder, rows):
        states = encoder.encoder.states(rows)[0][torch.as_tensor(rows.offsets[:-1])].detach().numpy().astype(float)
        parts = {name: value.detach().numpy().astype(float) for name, value in encoder.named_parameters()}
        pooled = np.tanh(states @ parts["encoder.model.pooler.dense.weight"].T
                         + parts["encoder.model.pooler.dense.bias"])  # fmt: skip
        x = pooled @ parts["linear.weight"].T + parts["linear.bias"]
        x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5)
        return x * parts["norm.weight"] + parts["norm.bias"]

    with torch.no_grad():
        query = encoded(objective.query_encoder, batch.column(0).rows)
        block = encoded(objective.encoder, batch.column(1).rows)
        vectors = objective.encode(batch, 0).vectors
        loss = objective.compare(vectors, vectors, batch, 0, 0)
    assert np.abs(vectors["query"][:, 0, 0].numpy() - query).max() < 1e-5
    assert np.abs(vectors["key"][:, 0, 0].numpy() - block).max() < 1e-5
    scores = query @ block.T
    expected = np.mean(np.log(np.exp(scores).sum(axis=1)) - scores.diagonal())
    assert float(loss.value) == pytest.approx(expected, rel=1e-5)
    hits = scores.argmax(axis=1) == np.arange(12)
    assert float(loss.statistics["accuracy"]) == pytest.approx(hits.mean())


@pytest.mark.parametrize("encoders", ["tied", "untied"])
def test_gradient_by_finite_differences(encoders: str) -> None:
    objective, batches = tiny.run("orqa-ict", "new", size=6, layers=2, projection=8, encoders=encoders)
    objective.double().eval()
    batch = batches(0)

    def value() -> torch.Tensor:
        vectors = objective.encode(batch, 0).vectors
        return objective.compare(vectors, vectors, batch, 0, 0).value

    value().backward()
    rng = torch.Generator().manual_seed(0)
    parameters = {name: p for name, p in objective.named_parameters() if p.requires_grad}
    for name, parameter in list(parameters.items())[::5]:
        direction = torch.randn(parameter.shape, generator=rng, dtype=torch.float64)
        with torch.no_grad():
            parameter += 1e-6 * direction
            above = float(value())
            parameter -= 2e-6 * direction
            below = float(value())
            parameter += 1e-6 * direction
        assert (above - below) / 2e-6 == pytest.approx(float((parameter.grad * direction).sum()), rel=1e-4, abs=1e-7), (
            name
        )


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(UsageError, match="lower block"):
        tiny.run("orqa-ict", block=4000)
    for wrong in ({"keep_probability": 1.5}, {"block": 2}, {"temperature": -1.0}, {"ratio_min": 0.6}):
        with pytest.raises(UsageError):
            orqa_ict.Options(**wrong)
    assert torch.isnan(torch.zeros(0).mean())  # an accuracy over no examples is "unknown", not zero
