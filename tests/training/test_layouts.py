"""Layouts are made ahead in the prefetch thread: nothing is left to make in a step, and the numbers do not change."""

import threading
from collections import Counter

import pytest
import torch

import tiny
from pretrieve.core.types import Batch, Rows
from pretrieve.models import static
from pretrieve.models.packed import Packing
from pretrieve.training.checkpoint import digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer

STEPS, AHEAD = 12, 5  # the batches that are drawn before the first step is over are not laid out ahead
RUNS = [
    ("contriever", "new"), ("contriever-inbatch", "static"), ("structure", "static"), ("mlm", "new"), ("simcse", "new"),
    ("mvr", "new"), ("orqa-ict", "new"),
]  # fmt: skip


def trainer_of(preset: str, kind: str, **changes) -> Trainer:
    objective, batches = tiny.run(preset, kind, seed=5)
    options = TrainingOptions(steps=STEPS, batch_size=8, learning_rate=0.01, **changes)
    return Trainer(objective=objective, batches=batches, options=options, seed=5)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often each layout was made, in the thread of batches or in another."""
    counts: Counter[tuple[str, str]] = Counter()

    def counted(name: str, make):
        def wrapped(rows, *arguments):
            thread = "ahead" if threading.current_thread().name.startswith("batches") else "step"
            counts[name, thread] += 1
            return make(rows, *arguments)

        return wrapped

    monkeypatch.setattr(Packing, "of", staticmethod(counted("packing", Packing.of)))
    for name in ("_bags", "_columns"):
        monkeypatch.setattr(static, name, counted(name, getattr(static, name)))
    return counts


@pytest.mark.parametrize(("preset", "kind"), RUNS)
def test_steps_find_what_was_made_ahead(preset: str, kind: str, made) -> None:
    run, plain = trainer_of(preset, kind), trainer_of(preset, kind)
    for step in range(STEPS):
        plain.take(plain.batches(step))
    whole = {name: count for (name, _), count in made.items()}
    assert whole.keys() == ({"packing"} if kind == "new" else {"_bags", "_columns"})
    made.clear()
    run.run()
    for name, count in whole.items():
        assert made[name, "step"] + made[name, "ahead"] == count
        assert made[name, "step"] <= count * AHEAD / STEPS
    assert digest(run.objective) == digest(plain.objective)


@pytest.mark.parametrize("chunks", [{"chunk": 3}, {"chunk_tokens": 60}])
def test_both_passes_of_the_gradient_cache_share_a_layout(chunks: dict[str, int], made) -> None:
    run, whole = (trainer_of("contriever-inbatch", "new", cache=cache, **chunks) for cache in (True, False))
    run.run()
    cached = Counter(made)
    made.clear()
    whole.run()
    assert cached["packing", "step"] + cached["packing", "ahead"] == sum(made.values())
    assert cached["packing", "ahead"] >= made["packing", "step"] > 0


def test_parts_of_a_batch_are_the_same_objects_until_it_is_changed() -> None:
    _, batches = tiny.run("contriever", "new", seed=5)
    batch = batches(0)
    assert batch.column(1) is batch.columns(1, 2)
    assert batch.slice(2, 5) is batch.slice(2, 5)
    from dataclasses import replace

    changed = replace(batch, rows=Rows(batch.rows.tokens + 1, batch.rows.offsets))
    assert isinstance(changed, Batch)
    assert not changed.views
    assert not torch.equal(*(one.column(0).rows.once(Packing.of, torch.device("cpu")).ids for one in (batch, changed)))
