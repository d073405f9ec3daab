"""The loss over labelled rows against NumPy, finite differences, slices, and the cache."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_labelled import records

import differences
import labelling
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Batch
from pretrieve.finetuning.ance import Ance, Refresh
from pretrieve.finetuning.contrastive import Contrastive, Options, _as_numbers, _as_vectors
from pretrieve.finetuning.labelled import Draw, Labelled, Texts
from pretrieve.models.multi_vector import add_viewers
from pretrieve.models.static import StaticEncoder
from pretrieve.pipeline.finetune.read_labels import read_labels
from pretrieve.sampling.batches import Batches
from pretrieve.text.store import Store
from pretrieve.training.checkpoint import Checkpoints, digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.step import StepContext, cached_step, full_step
from pretrieve.training.trainer import Trainer

KINDS = ("static", "transformer", "untied", "multi-vector")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Any, Store]:
    folder = tmp_path_factory.mktemp("labels")
    labels = read_labels(labelling.lines(folder / "labels.jsonl", records(40)), folder / "records")
    return folder, labels, Store.build(folder / "store", Texts(labels), labelling.vocabulary(), sentences=False)


def sampler_of(made, kind: str, **draw) -> Labelled:
    _, labels, store = made
    known = labelling.vocabulary()
    values = {"negatives": 2, "hard": 0.7, "query_length": 16, "passage_length": 16} | draw
    return Labelled(labels, store, known.bare() if kind == "static" else known.specials, Draw(**values))


def encoder_of(made, kind: str, dropout: float = 0.0, layers: int = 1) -> Any:
    if kind == "static":
        random = torch.Generator().manual_seed(0)
        known = labelling.vocabulary()
        return StaticEncoder(torch.randn(known.specials.vocabulary, 12, generator=random), known.bare())
    folder = made[0] / f"{kind}-{len(list(made[0].iterdir()))}"
    encoder, _ = labelling.transformer(folder, dropout=dropout, layers=layers, pooling="cls")
    return add_viewers(encoder, 3, 0) if kind == "multi-vector" else encoder


def run(made, kind: str, *, size: int = 8, draw: dict | None = None, dropout: float = 0.0, layers: int = 1, **options):
    sampler = sampler_of(made, kind, **(draw or {}))
    encoders = {"encoders": "untied"} if kind == "untied" else {}
    objective = Contrastive(encoder_of(made, kind, dropout, layers), Options(**encoders, **options), sampler.positive)
    if kind == "untied":
        with torch.no_grad():
            for parameter in objective.query_encoder.parameters():
                parameter.mul_(1.1)
    return objective, Batches(sampler=sampler, batch_size=size, seed=1)


def softmax(values: np.ndarray) -> np.ndarray:
    values = np.exp(values - values.max())
    return values / values.sum()


def reference(objective: Contrastive, batch: Batch, labels: Any) -> float:
    """The loss by loops, from vectors of single rows."""
    queries_by, options = objective.query_encoder or objective.encoder, objective.options
    cosine = objective.encoder.similarity == "cosine"
    width = batch.shape[1]

    def unit(vectors: torch.Tensor) -> np.ndarray:
        found = vectors.detach().numpy().astype(np.float64)
        return found / np.linalg.norm(found, axis=-1, keepdims=True) if cosine else found

    queries = [unit(queries_by.queries(batch.slice(b, b + 1).column(0).rows))[0, 0] for b in range(len(batch))]
    keys = [
        [unit(objective.encoder(batch.slice(b, b + 1).column(n).rows))[0] for n in range(1, width)]
        for b in range(len(batch))
    ]
    canonical = labels.canonical
    losses = []
    for b, query in enumerate(queries):
        own = [max(view @ query for view in key) / objective.temperature for key in keys[b]]
        teacher = batch.per_example["teacher"][b].astype(np.float64)
        known = [n for n in range(width - 1) if np.isfinite(teacher[n])]
        if options.loss == "margin-mse":
            margins = [(own[0] - own[n]) - (teacher[0] - teacher[n]) for n in known if n and 0 in known]
            losses.append(np.mean(np.square(margins)) if margins else 0.0)
        elif options.loss == "kl":
            if len(known) < 2:
                losses.append(0.0)
                continue
            theirs = softmax(teacher[known] / options.teacher_temperature)
            ours = softmax(np.array(own)[known])
            losses.append(float(np.sum(theirs * (np.log(theirs) - np.log(ours)))))
        else:
            relevant = set(canonical[labels.positives.row(int(batch.documents[b]))].tolist())
            scores = [own[0]]
            for c in range(len(batch)):
                for n in range(width - 1):
                    document = int(canonical[batch.per_example["keys"][c][n]])
                    if document not in relevant:
                        scores.append(max(view @ query for view in keys[c][n]) / objective.temperature)
            views = [view @ query / objective.temperature for view in keys[b][0]]
            local = options.local * -np.log(softmax(np.array(views)).max()) if len(views) > 1 else 0.0
            losses.append(-np.log(softmax(np.array(scores))[0]) + local)
    return float(np.mean(losses))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["softmax", "margin-mse", "kl"])
def test_the_loss_equals_numpy(made, kind, loss) -> None:
    objective, batches = run(made, kind, size=20, loss=loss, teacher_temperature=20.0)
    objective.double().eval()
    for step in range(2):
        batch = batches(step)
        assert np.isnan(batch.per_example["teacher"]).any()
        assert np.isfinite(batch.per_example["teacher"][:, 1:]).any()
        found = full_step(objective, batch, step)
        assert float(found.loss) == pytest.approx(reference(objective, batch, made[1]), rel=1e-5)
        assert 0.0 <= float(found.statistics["accuracy"]) <= 1.0


def test_copies_of_a_positive_in_the_batch_are_no_negatives(made) -> None:
    """Of queries that share a positive, none has it as a negative: raising its score costs nothing."""
    objective, batches = run(made, "static", size=4, draw={"negatives": 0})
    labels = made[1]
    shared = next((q, p) for q in range(len(labels)) for p in labels.positives.row(q)[1:])
    owner = next(q for q in range(len(labels)) if labels.positives.row(q)[0] == shared[1])
    sampler = batches.sampler
    queries, keys = np.array([shared[0], owner]), np.array([[labels.positives.row(shared[0])[0]], [shared[1]]])
    facts = {"keys": keys, "teacher": np.full((2, 1), np.nan, np.float32)}
    batch = Batch(rows=sampler.rows(queries, keys), shape=(2, 2), documents=queries, per_example=facts)
    objective.double()
    encoded = objective.encode(batch, 0)
    vectors = {name: values.detach().requires_grad_() for name, values in encoded.vectors.items()}
    local_vectors = {name: values[:1] for name, values in vectors.items()}
    loss = objective.compare(local_vectors, vectors, batch, 0, 0)
    loss.value.backward()
    assert float(loss.value.detach()) == pytest.approx(0.0, abs=1e-12)
    assert vectors["key"].grad[1].abs().max() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["softmax", "margin-mse", "kl"])
def test_gradients_equal_differences(made, kind, loss) -> None:
    objective, batches = run(made, kind, size=6, layers=2, loss=loss, teacher_temperature=20.0)
    objective.double().eval()
    batch = batches(0)
    facts = {**batch.per_example, "teacher": batch.per_example["teacher"] / 100}
    assert differences.check(objective, replace(batch, per_example=facts)) >= 1


def gradient(objective) -> torch.Tensor:
    return torch.cat([p.grad.reshape(-1) for p in objective.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["softmax", "kl"])
def test_the_cache_gives_the_same(made, kind, loss) -> None:
    found = []
    for step in (full_step, cached_step):
        objective, batches = run(made, kind, loss=loss, dropout=0.2)
        objective.double()
        result = step(objective, batches(0), 0, StepContext(seed=3, chunk=2))
        found.append((float(result.loss), gradient(objective)))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-12)
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("loss", ["softmax", "margin-mse", "kl"])
def test_shares_average_to_the_whole(made, loss) -> None:
    """What two ranks find, each on its half with everybody's vectors."""
    objective, batches = run(made, "static", loss=loss)
    objective.double()
    batch = batches(0)
    global_vectors = {name: values.detach() for name, values in objective.encode(batch, 0).vectors.items()}
    whole = float(objective.compare(global_vectors, global_vectors, batch, 0, 0).value)
    parts = []
    for first in (0, 4):
        local_vectors = {name: values[first : first + 4] for name, values in global_vectors.items()}
        parts.append(float(objective.compare(local_vectors, global_vectors, batch, first, 0).value))
    assert np.mean(parts) == pytest.approx(whole, rel=1e-12)
    assert parts[0] != pytest.approx(parts[1])


def test_numbers_survive_single_precision() -> None:
    numbers = np.array([[0, 1, (1 << 20) - 1, 1 << 20, (1 << 24) + 1, (1 << 40) + 12345]])
    assert _as_vectors(numbers, torch.device("cpu")).shape == (1, 6, 1, 2)
    assert _as_numbers(_as_vectors(numbers, torch.device("cpu"))).reshape(-1).tolist() == numbers[0].tolist()


def ance(made, kind: str = "static", *, every: int = 3, lag: int = 0, depth: int = 5, dropout: float = 0.1):
    sampler = sampler_of(made, kind, hard=1.0)
    encoder = encoder_of(made, kind, dropout)
    return Ance(encoder, Options(), sampler, Refresh(every=every, lag=lag, depth=depth), seed=2), sampler


def nearest(objective: Ance, sampler: Labelled, encoder, query: int) -> list[int]:
    """Documents by similarity under an encoder, best first, without positives; one by one."""
    with torch.no_grad():
        vector = encoder.eval()(sampler.rows(np.array([query]), np.zeros((1, 0), np.int64)))[0, 0]
        scored = []
        for number in range(sampler.labels.size):
            other = objective.index.stale.encoder(sampler.passages(np.array([number])))[0, 0]
            scored.append((-float(torch.nn.functional.cosine_similarity(vector, other, dim=0)), number))
    relevant = set(sampler.labels.canonical[sampler.labels.positives.row(query)].tolist())
    return [n for _, n in sorted(scored) if int(sampler.labels.canonical[n]) not in relevant]


def test_ance_draws_from_the_nearest_that_are_not_relevant(made) -> None:
    objective, sampler = ance(made)
    batches = Batches(sampler=sampler, batch_size=8, seed=1)
    seen = set()
    for step in range(12):
        batch = batches(step)
        found = objective.prepare(batch, step)
        assert (found.per_example["keys"][:, 0] == batch.per_example["keys"][:, 0]).all()
        rows = sampler.rows(batch.documents, found.per_example["keys"])
        assert (found.rows.tokens == rows.tokens).all()
        for b, query in enumerate(batch.documents.tolist()):
            best = nearest(objective, sampler, objective.encoder, query)[:5]
            drawn = found.per_example["keys"][b, 1:].tolist()
            assert set(drawn) <= set(best)
            assert len(set(drawn)) == 2
            seen |= {best.index(n) for n in drawn}
        half = objective.prepare(batch.slice(4, 8), step)
        assert (half.per_example["keys"] == found.per_example["keys"][4:]).all(), "of each query, whatever its rank"
    assert seen == set(range(5))


def test_ance_leaves_some_negatives_random(made) -> None:
    """``hard`` is the share of those that the index gives, as it is for mined ones."""
    objective, sampler = ance(made)
    objective.eval()
    shares = {}
    for hard in (0.0, 0.25, 1.0):
        sampler._draw = replace(sampler._draw, hard=hard)
        batch = Batches(sampler=sampler, batch_size=20, seed=1)(0)
        found = [objective.prepare(batch, step).per_example["keys"][:, 1:] for step in range(20)]
        same = [keys == batch.per_example["keys"][:, 1:] for keys in found]
        shares[hard] = float(np.mean(same))
    assert shares[0.0] == 1.0
    assert shares[1.0] < 0.2
    assert abs(shares[0.25] - 0.75 - 0.25 * shares[1.0]) < 0.06, shares


def test_ance_masks_by_the_negatives_that_it_put_in(made) -> None:
    """The loss knows which documents the rows are, though the global batch tells of those that the sampler drew."""
    objective, sampler = ance(made)
    objective.double().eval()
    batch = Batches(sampler=sampler, batch_size=20, seed=1)(0)
    prepared = objective.prepare(batch, 0)
    plain = Contrastive(objective.encoder, Options(), sampler.positive)
    assert float(full_step(objective, batch, 0).loss) == pytest.approx(reference(plain, prepared, made[1]), rel=1e-6)
    keys, canonical = prepared.per_example["keys"][:, 1:], sampler.labels.canonical
    owners = [set(canonical[sampler.labels.positives.row(int(q))].tolist()) for q in batch.documents]
    assert any(int(canonical[k]) in owner for row in keys for k in row for owner in owners), "there is what to mask"


def test_ance_looks_anew_at_each_refresh(made) -> None:
    objective, sampler = ance(made, every=3)
    batches = Batches(sampler=sampler, batch_size=8, seed=1)
    options = TrainingOptions(steps=7, batch_size=8, learning_rate=0.2)
    trainer = Trainer(objective=objective, batches=batches, options=options, seed=1)
    built, weights = [], []
    for step in range(7):
        trainer.take(batches(step))
        built.append(int(objective.index.built))
        weights.append(next(objective.index.stale.encoder.parameters()).detach().clone())
    assert built == [0, 0, 3, 3, 3, 6, 6]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    batch = batches(7)
    found = objective.prepare(batch, 7)
    for b, query in enumerate(batch.documents.tolist()):
        best = nearest(objective, sampler, objective.encoder, query)[:5]
        assert set(found.per_example["keys"][b, 1:].tolist()) <= set(best)


@pytest.mark.parametrize(("kind", "lag"), [("plain", 0), ("static", 0), ("static", 2), ("transformer", 0)])
def test_resume_from_any_step_is_bit_equal(made, tmp_path, kind, lag) -> None:
    def trainer() -> Trainer:
        if kind == "plain":
            objective, batches = run(made, "transformer", dropout=0.1)
        else:
            objective, sampler = ance(made, kind, every=4, lag=lag)
            batches = Batches(sampler=sampler, batch_size=8, seed=1)
        options = TrainingOptions(steps=9, batch_size=8, learning_rate=0.01, save_every=1, max_checkpoints=99)
        return Trainer(objective=objective, batches=batches, options=options, seed=1)

    whole = trainer()
    whole.checkpoints = Checkpoints(folder=tmp_path / "all", keep=99)
    whole.run()
    expected = digest(whole.objective)
    for step in (1, 4, 5, 7):
        folder = tmp_path / f"from-{step}"
        shutil.copytree(tmp_path / "all", folder)
        for path in folder.glob("step-*"):
            if int(path.name.removeprefix("step-")) > step:
                shutil.rmtree(path)
        again = trainer()
        again.checkpoints = Checkpoints(folder=folder, keep=99)
        assert again.resume() == step
        again.run()
        assert digest(again.objective) == expected


def test_what_does_not_fit_is_refused(made) -> None:
    sampler = sampler_of(made, "multi-vector")
    with pytest.raises(UsageError, match="encoders=untied"):
        Contrastive(encoder_of(made, "multi-vector"), Options(encoders="untied"), sampler.positive)
    with pytest.raises(UsageError, match="several"):
        Ance(encoder_of(made, "multi-vector"), Options(), sampler, Refresh(), 0)
    with pytest.raises(UsageError, match="loss=kl"):
        Ance(encoder_of(made, "static"), Options(loss="kl"), sampler, Refresh(), 0)
    for values in ({"temperature": 0.0}, {"teacher_temperature": -1.0}, {"local": -0.1}):
        with pytest.raises(UsageError):
            Options(**values)
    for wrong in ({"every": 0}, {"depth": 0}, {"every": 2, "lag": 3}):
        with pytest.raises(UsageError):
            Refresh(**wrong)


def test_temperature_follows_the_similarity(made) -> None:
    for similarity, expected in (("cosine", 0.05), ("dot", 1.0)):
        encoder = encoder_of(made, "static")
        encoder.similarity = similarity
        assert Contrastive(encoder, Options(), sampler_of(made, "static").positive).temperature == expected
