"""What every method promises (``models/objective.py``), run over everything in the folder."""

import dataclasses

import numpy as np
import pytest
import torch

import tiny
from pretrieve import methods
from pretrieve.core.config import options_of
from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.methods import names
from pretrieve.training.checkpoint import Checkpoints, digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.step import StepContext, cached_step, full_step
from pretrieve.training.trainer import Trainer, optimiser

BOTH = [(preset, kind) for preset in names() for kind in tiny.kinds(preset)]
each = pytest.mark.parametrize(("preset", "kind"), BOTH)


@pytest.mark.parametrize("preset", names())
def test_card_options_and_presets_are_whole(preset: str) -> None:
    module, found = methods.find(preset)
    assert module.CARD.title
    assert module.CARD.paper
    assert module.CARD.idea
    assert found.summary
    for field in dataclasses.fields(module.Options):
        assert f"        {field.name}:" in module.Options.__doc__, f"{field.name} is not described"
    options_of(module.Options, {name: value.value for name, value in found.options.items()})
    options_of(TrainingOptions, {name: value.value for name, value in found.training.items()})
    own = {field.name for field in dataclasses.fields(module.Options)}
    static = {name: value.value for name, value in found.static.items()}
    options_of(module.Options, {name: static[name] for name in static if name in own})
    options_of(TrainingOptions, {name: static[name] for name in static if name not in own})
    for value in [*found.options.values(), *found.training.values(), *found.static.values(), *found.encoder.values()]:
        assert value.note or value.source != "ours", "a value of ours says why"
    with pytest.raises(UsageError, match="unknown option"):
        options_of(module.Options, {"temprature": 1})


@each
def test_encode_is_row_separable_and_free_of_side_effects(preset: str, kind: str) -> None:
    objective, batches = tiny.run(preset, kind, size=9)
    objective.double().eval()
    batch, before = objective.prepare(batches(2), 2), digest(objective)
    whole = objective.encode(batch, 2)
    again = objective.encode(batch, 2)
    parts = [objective.encode(batch.slice(start, min(start + 4, 9)), 2) for start in (0, 4, 8)]
    assert digest(objective) == before
    for name, vectors in whole.vectors.items():
        assert vectors.shape[0] == 9
        assert vectors.ndim == 4
        assert torch.equal(again.vectors[name], vectors)
        joined = torch.cat([part.vectors[name] for part in parts])
        assert torch.allclose(joined, vectors, rtol=1e-10, atol=1e-12)


@each
def test_compare_shares_of_a_batch_average_to_the_whole(preset: str, kind: str) -> None:
    objective, batches = tiny.run(preset, kind, size=8)
    objective.double().eval()
    batch = objective.prepare(batches(0), 0)
    vectors = {name: values.detach() for name, values in objective.encode(batch, 0).vectors.items()}
    whole = float(objective.compare(vectors, vectors, batch, 0, 0).value)
    shares = []
    for first in (0, 4):
        mine = {name: values[first : first + 4] for name, values in vectors.items()}
        shares.append(float(objective.compare(mine, vectors, batch, first, 0).value))
    assert np.mean(shares) == pytest.approx(whole, rel=1e-10)


@each
def test_cached_step_equals_full_step(preset: str, kind: str) -> None:
    found = []
    for take in (full_step, cached_step):
        objective, batches = tiny.run(preset, kind, size=8)
        take(objective.double(), batches(1), 1, StepContext(chunk=3))
        found.append(torch.cat([p.grad.reshape(-1) for p in objective.parameters() if p.grad is not None]))
    assert float((found[0] - found[1]).norm() / found[0].norm()) < 1e-9
    assert float(found[0].norm()) > 0


@each
def test_resume_in_the_middle(preset: str, kind: str, tmp_path) -> None:
    options = TrainingOptions(steps=8, batch_size=8, learning_rate=0.01, save_every=4, max_checkpoints=9)
    digests = []
    for resume in (False, True):
        objective, batches = tiny.run(preset, kind, seed=1)
        trainer = Trainer(objective=objective, batches=batches, options=options, seed=1)
        checkpoints = Checkpoints(folder=tmp_path, keep=9)
        if resume:
            trainer.step = checkpoints.load(4, trainer.objective, trainer.optimiser)["step"]
        else:
            trainer.checkpoints = checkpoints
        trainer.run()
        digests.append(digest(objective))
    assert digests[0] == digests[1]


@each
def test_reload_is_strict_and_exact(preset: str, kind: str, tmp_path) -> None:
    options = TrainingOptions(steps=4, batch_size=8, learning_rate=0.01)
    objective, batches = tiny.run(preset, kind)
    checkpoints = Checkpoints(folder=tmp_path)
    Trainer(objective=objective, batches=batches, options=options, checkpoints=checkpoints).run()
    fresh, _ = tiny.run(preset, kind, seed=3)
    checkpoints.load(4, fresh, optimiser(fresh, options))
    rows = batches(9).column(0).rows
    with torch.no_grad():
        assert torch.equal(objective.eval().encoder(rows), fresh.eval().encoder(rows))
    fresh.register_parameter("surplus", torch.nn.Parameter(torch.zeros(1)))
    with pytest.raises(CorruptError, match="missing \\['surplus'\\]"):
        checkpoints.load(4, fresh, optimiser(fresh, options))


@each
def test_explain_covers_every_row(preset: str, kind: str) -> None:
    module, _ = methods.find(preset)
    documents, specials = tiny.store(), tiny.BARE if kind == "static" else tiny.SPECIALS
    view = module.view(documents, specials, tiny.options(preset), provenance=True)
    from pretrieve.sampling.batches import Batches

    batch = Batches(view=view, batch_size=20, seed=0)(0)
    plain = Batches(view=module.view(documents, specials, tiny.options(preset)), batch_size=20, seed=0)(0)
    assert np.array_equal(batch.rows.tokens, plain.rows.tokens), "provenance changes nothing"
    assert "position" not in plain.per_token, "training leaves provenance out"
    pairs = module.explain(batch, documents, specials)
    assert len(pairs) == 20
    for pair in pairs:
        for row in pair.rows:
            assert row.spans
            assert row.kept
