"""REALM: the marginal likelihood, its gradient, what is masked, what is never a candidate, refresh and resume."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.methods import realm
from pretrieve.methods.realm import log_marginal
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.sampling.batches import Batches
from pretrieve.sampling.masking import UNLABELLED
from pretrieve.sampling.search_blocks import as_text
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.training.checkpoint import Checkpoints, digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer

STORE = tiny.store(40)


def made(size: int = 8, **changes):
    """A float64 objective without dropout, a batch, and the batch with its candidates."""
    objective, batches = tiny.run("realm", "new", size=size, dropout=0.0, **changes)
    objective.double().eval()
    batch = batches(3)
    return objective, batch, objective.prepare(batch, 3)


def random_parts(seed: int = 0, masks: int = 4):
    rng = np.random.default_rng(seed)
    scores, reader = rng.normal(size=(5, 3)) * 2, np.log(rng.random((5, 3, masks)))
    hidden = np.arange(masks) < rng.integers(1, masks + 1, (5, 1))
    return torch.tensor(scores, requires_grad=True), torch.tensor(reader, requires_grad=True), torch.tensor(hidden)


@pytest.mark.parametrize("marginal", ["token", "sequence"])
def test_log_marginal_by_loops(marginal: str) -> None:
    scores, reader, hidden = random_parts()
    found = log_marginal(scores, reader * hidden.unsqueeze(1), hidden.double(), marginal)
    for row in range(5):
        prior = np.exp(scores[row].detach().numpy())
        prior /= prior.sum()
        likelihood = np.exp(reader[row].detach().numpy())[:, hidden[row].numpy()]
        if marginal == "token":
            expected = sum(np.log(prior @ likelihood[:, j]) for j in range(likelihood.shape[1]))
        else:
            expected = np.log(prior @ likelihood.prod(axis=1))
        assert float(found[row].detach()) == pytest.approx(expected, rel=1e-12)


def test_r_formula_equals_autograd() -> None:
    """Section 3.3: d log p(y|x) / d f(x, z) = (p(y|z,x) / p(y|x) - 1) p(z|x)."""
    scores, reader, hidden = random_parts(1)
    log_marginal(scores, reader * hidden.unsqueeze(1), hidden.double(), "sequence").sum().backward()
    prior = scores.detach().softmax(dim=1)
    given = (reader.detach() * hidden.unsqueeze(1)).sum(dim=2).exp()
    expected = (given / (prior * given).sum(dim=1, keepdim=True) - 1) * prior
    torch.testing.assert_close(scores.grad, expected, rtol=1e-6, atol=1e-9)


def test_one_mask_token_equals_sequence() -> None:
    scores, reader, _ = random_parts(2, masks=1)
    one = torch.ones(5, 1, dtype=torch.float64)
    torch.testing.assert_close(
        log_marginal(scores, reader, one, "token"), log_marginal(scores, reader, one, "sequence")
    )
    losses = [made(marginal=marginal, max_masks=1) for marginal in ("token", "sequence")]
    values = [objective.encode(batch, 3).example_loss for objective, _, batch in losses]
    torch.testing.assert_close(values[0], values[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("marginal", ["token", "sequence"])
def test_reference_of_the_whole_marginal_likelihood(marginal: str) -> None:
    """One example and one block at a time, in NumPy, from the vectors and word distributions of single rows."""
    objective, _, batch = made(marginal=marginal)
    found = objective.encode(batch, 3)
    losses, utilities, nulls = [], [], []
    for example in range(len(batch)):
        one = batch.slice(example, example + 1)
        rows = [one.column(place).rows for place in range(9)]
        with torch.no_grad():
            query = objective.encoder(rows[0])[0, 0].numpy()
            scores, given = [], []
            for place in range(1, 5):
                if not len(rows[place].tokens):
                    continue
                scores.append(query @ objective.encoder(rows[place])[0, 0].numpy())
                joint = one.column(4 + place)
                (states,) = objective.reader.states(joint.rows, joint.per_token["segments"])
                logits = objective.language(states, objective.reader.words).numpy()
                where = np.flatnonzero(joint.per_token["labels"] != UNLABELLED)
                words = logits[where] - np.log(np.exp(logits[where]).sum(axis=1, keepdims=True))
                given.append(words[np.arange(len(where)), joint.per_token["labels"][where]])
        prior, given = np.exp(scores) / np.exp(scores).sum(), np.array(given)
        if marginal == "token":
            likelihood = np.log(prior @ np.exp(given)).sum()
        else:
            likelihood = np.log(prior @ np.exp(given.sum(axis=1)))
        losses.append(-likelihood)
        utilities.append((likelihood - given[0].sum()) / given.shape[1])
        nulls.append(prior[0])
    weight = batch.per_example["weight"]
    np.testing.assert_allclose(found.example_loss.detach().numpy(), np.array(losses) * weight, rtol=1e-8)
    np.testing.assert_allclose(found.statistics["retrieval_utility"].numpy(), utilities, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found.statistics["p_null"].numpy(), nulls, rtol=1e-8)
    if marginal == "token":
        masks = (batch.column(0).per_token["labels"] != UNLABELLED).sum()
        assert float(found.example_loss.detach().mean()) == pytest.approx(np.sum(losses) / masks), (
            "the mean over all masked tokens"
        )


@pytest.mark.parametrize("encoders", ["tied", "untied"])
def test_gradient_by_finite_differences(encoders: str) -> None:
    objective, _, batch = made(4, layers=2, encoders=encoders)
    with torch.no_grad():
        for parameter in objective.reader.parameters():
            parameter *= 1 + 9 * (parameter.ndim == 2)  # weights of a model that has learnt something
    objective.encode(batch, 3).example_loss.mean().backward()
    rng = np.random.default_rng(0)
    for name in ("encoder.linear.weight", "encoder.encoder.model.embeddings.word_embeddings.weight",
                 "reader.model.encoder.layer.0.attention.self.query.weight", "language.bias",
                 *(["query_encoder.linear.weight"] if encoders == "untied" else [])):  # fmt: skip
        parameter = objective.get_parameter(name)
        direction = torch.from_numpy(rng.normal(size=tuple(parameter.shape)))
        values = []
        with torch.no_grad():
            for sign in (1, -1):
                parameter += sign * 1e-6 * direction
                values.append(float(objective.encode(batch, 3).example_loss.mean()))
                parameter -= sign * 1e-6 * direction
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(
            float((parameter.grad * direction).sum()), rel=1e-4, abs=1e-8
        )
        assert float(parameter.grad.norm()) > 0
    assert all(p.grad is None for p in objective.index.parameters()), "the snapshot does not learn"


def test_each_tower_encodes_its_side() -> None:
    """The released code exports the document encoder under the query encoder's name."""
    objective, _, batch = made(encoders="untied")
    with torch.no_grad():
        objective.query_encoder.linear.weight.mul_(-5.0)  # apart from each other
        queries = objective.query_encoder(batch.column(0).rows)[:, 0]
        blocks = torch.stack([objective.encoder(batch.column(place).rows)[:, 0] for place in range(1, 5)], dim=1)
    prior = torch.einsum("bd,bkd->bk", queries, blocks).softmax(dim=1)
    torch.testing.assert_close(objective.encode(batch, 3).statistics["p_null"], prior[:, 0])
    asked = []
    objective.index.overlap = lambda vectors, number: asked.append(vectors)
    masked = tiny.run("realm", "new", size=8, dropout=0.0)[1](3)
    objective.prepare(masked, 3)
    torch.testing.assert_close(asked[0], queries, msg="blocks are looked for with the vectors of the query encoder")


def test_null_document_is_present_exactly_once_and_learns() -> None:
    objective, sentences, batch = made(24)
    null = [tiny.SPECIALS.cls, tiny.SPECIALS.sep, tiny.SPECIALS.sep]
    for example in range(len(batch)):
        rows = [batch.rows.row(example * 9 + place).tolist() for place in range(9)]
        assert rows[0] == sentences.rows.row(example).tolist()
        assert [row == null for row in rows[1:5]] == [True, False, False, False]
        assert [row == [*rows[0], tiny.SPECIALS.sep] for row in rows[5:]] == [True, False, False, False]
    prior = objective.encode(batch, 3).statistics["p_null"]
    assert ((prior > 0) & (prior < 1)).all()
    queries = objective.encoder(batch.column(0).rows)[:, 0]
    vectors = objective.encoder(batch.column(1).rows)[:, 0]
    (queries * vectors).sum().backward()
    assert float(objective.encoder.linear.weight.grad.norm()) > 0


def test_rows_are_laid_out_as_published() -> None:
    objective, sentences, batch = made(24)
    search_blocks = objective.search_blocks
    for example in range(len(batch)):
        query = sentences.rows.row(example).tolist()
        for place, block in enumerate(batch.per_example["blocks"][example].tolist()):
            row = batch.rows.row(example * 9 + 2 + place)
            assert row.tolist() == search_blocks.rows(np.array([block])).tokens.tolist()
            joint = slice(*batch.rows.offsets[example * 9 + 6 + place :][:2])
            body = [ord(token) for token in search_blocks.body(block)]
            assert batch.rows.tokens[joint].tolist() == [*query, *body, tiny.SPECIALS.sep]
            segments, labels = batch.per_token["segments"][joint], batch.per_token["labels"][joint]
            assert segments.tolist() == [0] * len(query) + [1] * (len(body) + 1)
            own = sentences.per_token["labels"][slice(*sentences.rows.offsets[example : example + 2])]
            assert labels.tolist() == [*own, *[UNLABELLED] * (len(body) + 1)]


def test_long_bodies_are_cut_to_the_joint_row() -> None:
    _, _, batch = made(16, joint=30)
    longest = batch.rows.lengths.reshape(16, 9)[:, 5:].max()
    assert longest == 30


def test_origin_and_near_duplicates_are_never_among_candidates() -> None:
    """Every document is there twice, under another title where it has one."""
    single, size = tiny.store(20), len(tiny.store(20).tokens)
    titled = single.starts[single.bodies > single.starts]
    tokens = np.concatenate([single.tokens, single.tokens])
    tokens[size + titled] = np.where(tokens[titled] == 9, 10, 9)
    documents = dataclasses.replace(
        single,
        tokens=tokens,
        documents=np.concatenate([single.documents, size + single.documents[1:]]),
        bodies=np.concatenate([single.bodies, size + single.bodies]),
        sentences=np.concatenate([single.sentences[:-1], size + single.sentences]),
        document_sentences=np.concatenate(
            [single.document_sentences, len(single.sentences) - 1 + single.document_sentences[1:]]
        ),
        origins=np.arange(40),
        groups=np.zeros(40, np.uint16),
    )
    objective, batches = tiny.run("realm", "new", size=64, candidates=6, documents=documents)
    search_blocks, seen = objective.search_blocks, 0
    for step in range(2):
        batch = objective.prepare(batches(step), step)
        for example, blocks in enumerate(batch.per_example["blocks"].tolist()):
            start = documents.sentences[batch.per_example["sentence"][example]]
            text = as_text(documents.tokens[start : start + batch.rows.lengths[example * 13] - 2])
            holds = {number for number in range(len(search_blocks)) if text in search_blocks.body(number)}
            assert search_blocks.of_sentences(batch.per_example["sentence"][example : example + 1])[0] in holds
            assert not holds & set(blocks)
            assert len(set(blocks)) == 5
            seen += len(holds) > 1
    assert seen > 64, "near-duplicates there were"


def test_fewer_documents_than_candidates() -> None:
    documents = tiny.store(3, sentences=(2, 2), words=(6, 9))
    objective, batches = tiny.run("realm", "new", size=4, documents=documents, candidates=8)
    batch = objective.double().eval().prepare(batches(0), 0)
    blocks = batch.per_example["blocks"]
    assert (np.sort((blocks >= 0).sum(axis=1)) == len(objective.search_blocks) - 1).all()
    found = objective.encode(batch, 0)
    assert torch.isfinite(found.example_loss).all()
    fewer, _ = tiny.run("realm", "new", size=4, documents=documents, candidates=len(objective.search_blocks))
    same = fewer.double().eval().encode(fewer.prepare(batches(0), 0), 0)
    torch.testing.assert_close(found.example_loss, same.example_loss, rtol=1e-12, atol=0)
    found.example_loss.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in objective.parameters() if p.grad is not None)


def test_nothing_but_the_null_document() -> None:
    documents = tiny.store(1, sentences=(3, 3), words=(5, 6))
    objective, batches = tiny.run("realm", "new", size=2, documents=documents, mask="token")
    batch = objective.prepare(batches(0), 0)
    assert (batch.per_example["blocks"] == -1).all()
    statistics = objective.eval().encode(batch, 0).statistics
    assert (statistics["p_null"] == 1).all()
    torch.testing.assert_close(statistics["retrieval_utility"], torch.zeros(2))


@pytest.mark.parametrize("mask", ["salient", "span", "token"])
def test_what_is_masked(mask: str) -> None:
    options = tiny.options("realm", mask=mask, max_masks=3)
    sampler = realm.sampler(STORE, tiny.SPECIALS, options, provenance=True)
    batch = Batches(sampler=sampler, batch_size=400, seed=0)(0)
    shown = realm.explain(batch, STORE, tiny.SPECIALS)
    for pair in shown:
        (row,) = pair.rows
        assert 1 <= len(row.masked) <= 3
        assert len(row.masked) < len(row.kept)
        assert not row.replaced
        assert row.kept[0] in STORE.sentences
        if mask != "token":
            assert row.masked == list(range(row.masked[0], row.masked[-1] + 1)), "one span, every piece of it"
    if mask == "salient":
        from pretrieve.sampling.salient_spans import salient_spans

        spans = salient_spans(STORE)
        known = set(zip(spans.starts.tolist(), spans.stops.tolist(), strict=True))
        assert {(pair.rows[0].masked[0], pair.rows[0].masked[-1] + 1) for pair in shown} <= known
    else:
        starts = {place - pair.rows[0].kept[0] for pair in shown for place in pair.rows[0].masked}
        assert starts >= set(range(6)), "anywhere in the sentence"


def test_explain_shows_candidates_with_their_documents() -> None:
    objective, _ = tiny.run("realm", "new", size=6)
    sampler = realm.sampler(STORE, tiny.SPECIALS, tiny.options("realm"), provenance=True)
    batch = objective.prepare(Batches(sampler=sampler, batch_size=6, seed=0)(3), 3)
    plain = objective.prepare(
        Batches(sampler=realm.sampler(STORE, tiny.SPECIALS, tiny.options("realm")), batch_size=6, seed=0)(3), 3
    )
    np.testing.assert_array_equal(batch.rows.tokens, plain.rows.tokens)
    for example, pair in enumerate(realm.explain(batch, STORE, tiny.SPECIALS)):
        assert [row.role for row in pair.rows] == ["sentence", *["candidate"] * 3]
        assert "masked" in pair.note
        for row, block in zip(pair.rows[1:], batch.per_example["blocks"][example], strict=True):
            assert row.document == objective.search_blocks.documents[block]
            assert STORE.starts[row.document] <= row.kept[0] < row.kept[-1] < STORE.ends[row.document]
            body = [STORE.tokens[place] for place in row.kept if place >= STORE.bodies[row.document]]
            assert as_text(np.array(body)) == objective.search_blocks.body(block)


def train(steps: int, folder: Path | None = None, resume: int = 0, **changes):
    objective, batches = tiny.run("realm", "new", seed=1, **changes)
    options = TrainingOptions(
        steps=steps, batch_size=8, learning_rate=0.01, save_every=1 if folder else 0, max_checkpoints=99
    )
    trainer = Trainer(objective=objective, batches=batches, options=options, seed=1)
    losses: list[float] = []
    trainer.on_step = lambda progress: losses.append(progress.loss)
    checkpoints = Checkpoints(folder=folder, keep=99) if folder is not None else None
    if resume:
        assert checkpoints is not None
        trainer.step = checkpoints.load(resume, objective, trainer.optimizer)["step"]
    else:
        trainer.checkpoints = checkpoints
    trainer.run()
    return objective, losses


@pytest.mark.parametrize("changes", [{}, {"update": "background", "lag": 2}], ids=["sync", "background"])
def test_resume_is_bit_equal_across_a_refresh(tmp_path: Path, changes) -> None:
    whole, losses = train(7, tmp_path, **changes)
    assert int(whole.index.built) == (3 if changes else 6)
    for step in (2, 3, 4, 5):  # before, at and after a snapshot; in the background with a pending one
        again, rest = train(7, tmp_path, resume=step, **changes)
        assert digest(again) == digest(whole), f"resumed after {step}"
        assert rest == losses[step:]


def test_sync_and_background_give_equal_results_at_the_same_steps() -> None:
    """Before the first swap both use the first snapshot; a background of no delay is the sync form one lag later."""
    _, background = train(6, update="background", lag=3)
    again, repeated = train(6, update="background", lag=3)
    assert background == repeated, "a run is a function of options, seed and step, whatever the threads do"
    _, sync = train(6)
    assert sync[:3] == background[:3]
    assert sync[3:] != background[3:]
    assert (int(again.index.built), int(again.index.pending)) == (3, 6)


def test_an_objective_can_be_copied_while_its_index_is_made() -> None:
    objective, _ = train(4, update="background", lag=3)
    assert int(objective.index.pending) == 3
    copied = copy.deepcopy(objective)
    assert digest(copied) == digest(objective)
    assert torch.equal(copied.index.vectors(), objective.index.vectors())
    assert copied.search_blocks is objective.search_blocks


def test_reader_and_head_come_back(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from pretrieve.pipeline.pretrain.publish import _other_weights

    objective, _ = train(2)
    saved = _other_weights(objective)
    assert {name.split(".")[0] for name in saved} == {"reader", "language"}
    save_file(saved, tmp_path / "heads.safetensors")
    encoder = tiny.encoder("new", STORE, seed=5, pooling="bert")
    encoder.source = tmp_path
    fresh = realm.objective(encoder, tiny.options("realm"), 0, STORE)
    assert all(torch.equal(fresh.get_parameter(name), values) for name, values in saved.items())
    assert any("COLD START" in note for note in fresh.notes)
    assert not any("language head is new" in note for note in fresh.notes)


def test_a_projected_base_starts_warm_and_keeps_its_projection() -> None:
    warm = tiny.run("orqa-ict", "new", projection=8)[0].encoder
    objective = realm.objective(warm, tiny.options("realm", projection=32), 0, STORE)
    assert objective.encoder is warm
    assert objective.encoder.dimensions == 8
    assert not any("COLD START" in note for note in objective.notes)
    assert objective.reader.words is not warm.encoder.words
    assert torch.equal(objective.reader.words, warm.encoder.words)


def test_what_does_not_fit_is_said() -> None:
    for wrong in ({"candidates": 1}, {"query": 2}, {"update": "background", "lag": 0}, {"dropout": 1.0}, {"joint": 50}):
        with pytest.raises(UsageError):
            realm.Options(**wrong)
    with pytest.raises(UsageError, match="lower block"):
        tiny.run("realm", "new", block=100)
    with pytest.raises(UsageError, match=r"\[CLS\]"):
        realm.sampler(STORE, tiny.BARE, tiny.options("realm"))


def facts(folder: Path) -> Store:
    """Documents in which a pair of words goes with a name; every fact stands in two documents, in other words."""
    rng = np.random.default_rng(0)
    things = ["river", "tower", "bridge", "garden", "castle", "market", "harbour", "forest"]
    kinds = ["old", "tall", "red", "green"]
    names = ["Oslo", "Lima", "Cairo", "Delhi", "Quito", "Rome"]
    texts = []
    for thing in things:
        for kind in kinds:
            name = rng.choice(names)
            texts += [f"the {kind} {thing} is in {name}.", f"in {name} stands the {kind} {thing}."]
    documents = Documents.write(folder / "documents", [Document(id=str(n), text=t) for n, t in enumerate(texts)])
    return Store.build(folder / "store", documents, tokenizer.train(texts, vocabulary_size=200, algorithm="wordpiece"))


@pytest.mark.slow
def test_retrieval_utility_is_learnt_where_one_document_tells_the_answer(tmp_path: Path) -> None:
    """When it begins to grow is up to the last place of the first weights: of nine such starts all end above 1.

    A reader whose retriever learns nothing ends at 0.3.
    """
    store = facts(tmp_path)
    base = "new:layers=1,hidden=32,heads=2,intermediate=64,dropout=0.0"
    encoder = build_encoder(base, store=store, options=EncoderOptions(pooling="mean", max_length=64), seed=0)
    options = tiny.options("realm", refresh=10, dropout=0.0, projection=16)
    objective = realm.objective(encoder, options, 0, store)
    batches = Batches(sampler=realm.sampler(store, encoder.specials, options), batch_size=16, seed=0)
    utility: list[float] = []
    Trainer(
        objective=objective,
        batches=batches,
        options=TrainingOptions(steps=300, batch_size=16, learning_rate=5e-3, clip=1.0),
        on_step=lambda progress: utility.append(progress.statistics["retrieval_utility"]),
    ).run()
    assert abs(np.mean(utility[:10])) < 0.02, "at first blocks do not help"
    assert np.mean(utility[-20:]) > 0.6
