"""Relational distillation against plain NumPy, its batches, and its use as an anchor."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Rows
from pretrieve.finetuning.distillation import Anchored, Distillation, Options, Sampler, Taught, relational_loss
from pretrieve.models.static import StaticEncoder
from pretrieve.sampling.batches import Batches
from pretrieve.training.step import StepContext, cached_step, full_step


def reference(queries, keys, teacher_queries, teacher_keys, options: Options) -> float:
    """The loss in float64, row by row."""

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    divergence, squares = 0.0, []
    for query, taught in zip(queries, teacher_queries, strict=True):
        ours = np.array([cosine(query, key) for key in keys])
        theirs = np.array([cosine(taught, key) for key in teacher_keys])
        squares += ((ours - theirs) ** 2).tolist()
        p, q = (np.exp(row / options.temperature) / np.exp(row / options.temperature).sum() for row in (theirs, ours))
        divergence += float((p * np.log(p / q)).sum()) / len(queries)
    return options.divergence * divergence + options.squares * float(np.mean(squares))


def taught(documents: int = 30, each: int = 3, width: int = 12) -> Taught:
    rng = np.random.default_rng(3)
    size = documents * (1 + each)
    rows = Rows.of([rng.integers(5, tiny.VOCABULARY, size=rng.integers(1, 9)) for _ in range(size)])
    vectors = rng.standard_normal((size, width)).astype(np.float32)
    return Taught(
        rows=rows,
        vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        keys=np.arange(documents),
        queries=documents + np.arange(documents * each).reshape(documents, each),
        documents=np.arange(documents) % 20,
    )


def student(seed: int = 0, dimensions: int = 16) -> StaticEncoder:
    vectors = np.random.default_rng(seed).standard_normal((tiny.VOCABULARY, dimensions)).astype(np.float32)
    return StaticEncoder(vectors, tiny.BARE)


@pytest.mark.parametrize("options", [Options(), Options(squares=0.0), Options(divergence=0.0, temperature=0.3)])
def test_the_loss_is_the_reference(options) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape) for shape in ((5, 4), (7, 4), (5, 6), (7, 6))]
    value, *_ = relational_loss(*map(torch.from_numpy, arrays), options)
    assert float(value) == pytest.approx(reference(*arrays, options), rel=1e-9)


def test_a_student_that_sees_as_its_teacher_has_no_loss() -> None:
    vectors = torch.randn(6, 5, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    longer = 3 * vectors @ rotation
    value, divergence, squares = relational_loss(longer, longer, vectors, vectors, Options())
    assert max(float(value), float(divergence), float(squares)) < 1e-9


def test_a_step_compares_queries_and_documents_with_all_documents() -> None:
    known = taught()
    objective = Distillation(student(), known.vectors, Options())
    batch = Batches(sampler=Sampler(known), batch_size=8, seed=1)(0)
    asked, keys = batch.per_example["query"], batch.per_example["key"]
    assert all(query in known.queries[key] for query, key in zip(asked, keys, strict=True))
    table = objective.encoder.embedding.weight.detach().double().numpy()
    ours = np.stack([table[known.rows.row(row)].mean(axis=0) for row in range(len(known.rows))])
    sides = [
        reference(ours[rows], ours[keys], known.vectors[rows], known.vectors[keys], Options()) for rows in (asked, keys)
    ]
    assert float(full_step(objective, batch, 0).loss) == pytest.approx(np.mean(sides), rel=1e-4)


def test_the_gradient_is_the_same_in_chunks() -> None:
    known = taught()
    batch = Batches(sampler=Sampler(known), batch_size=8, seed=1)(0)
    found = []
    for take, context in ((full_step, StepContext()), (cached_step, StepContext(chunk=3))):
        objective = Distillation(student(), known.vectors, Options())
        take(objective, batch, 0, context)
        found.append(objective.encoder.embedding.weight.grad)
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-7)


def test_the_anchor_is_added_with_its_weight() -> None:
    known = taught()
    plain, batches = tiny.run("structure", "static")
    held = Batches(sampler=Sampler(known), batch_size=8, seed=1)
    anchor = Distillation(plain.encoder, known.vectors, Options())
    alone, own = full_step(plain, batches(2), 2).loss, full_step(anchor, held(2), 2).loss
    both = full_step(Anchored(plain, anchor, held, 0.7), batches(2), 2)
    assert float(both.loss) == pytest.approx(float(alone) + 0.7 * float(own), rel=1e-5)
    assert float(both.statistics["anchor"]) == pytest.approx(float(own), rel=1e-5)
    assert "teacher" not in "".join(Anchored(plain, anchor, held, 0.7).state_dict()), "checkpoints do not hold it"


def test_what_is_kept_to_measure_shares_no_document_with_what_is_learnt_from() -> None:
    known = taught()
    learnt, kept = known.divided()
    assert len(kept.keys) == 4, "two documents of twenty, drawn twice... each draw goes with its document"
    assert not set(learnt.documents) & set(kept.documents)
    assert len(learnt.keys) + len(kept.keys) == len(known.keys)
    assert learnt.queries.shape == (len(learnt.keys), 3)


def test_training_brings_the_student_nearer() -> None:
    known = taught()
    objective = Distillation(student(dimensions=12), known.vectors, Options())
    before = deepcopy(objective.encoder.embedding.weight)
    optimizer = torch.optim.Adam(objective.parameters(), lr=0.05)
    batches, losses = Batches(sampler=Sampler(known), batch_size=30, seed=0), []
    for step in range(60):
        optimizer.zero_grad()
        losses.append(float(full_step(objective, batches(step), step).loss))
        optimizer.step()
    assert losses[-1] < losses[0] / 3
    assert not torch.equal(before, objective.encoder.embedding.weight)


@pytest.mark.parametrize("values", [{"temperature": 0}, {"squares": -1}, {"divergence": 0, "squares": 0}])
def test_bad_values(values) -> None:
    with pytest.raises(UsageError):
        Options(**values)
