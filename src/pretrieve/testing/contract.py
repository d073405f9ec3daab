"""The contract of a method (``models/objective.py``); each check is a function of a ``Case``."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.config import options_of
from pretrieve.core.errors import CorruptError, PretrieveError, UsageError
from pretrieve.methods import Method
from pretrieve.sampling.batches import Batches
from pretrieve.testing.tiny import Case, store
from pretrieve.training.checkpoint import Checkpoints, digest
from pretrieve.training.options import TrainingOptions
from pretrieve.training.step import StepContext, cached_step, full_step
from pretrieve.training.trainer import Progress, Trainer, build_optimizer

_OPTIONS = TrainingOptions(steps=4, batch_size=8, learning_rate=0.01, save_every=2, max_checkpoints=9)


class BrokenPromiseError(PretrieveError):
    """A method breaks the contract; the text describes how."""


def hold(condition: object, message: str) -> None:
    """Raise ``BrokenPromiseError`` if a condition is false.

    Args:
        condition: the condition to check.
        message: the text of the error.

    Raises:
        BrokenPromiseError: the condition is false.
    """
    if not condition:
        raise BrokenPromiseError(message)


def card_and_presets_are_whole(method: Method, preset: str) -> None:
    """The card is complete, every option is documented, and every value of a preset is a valid option.

    Args:
        method: the method.
        preset: name of one of its presets.
    """
    found = method.PRESETS[preset]
    for name in ("title", "paper", "idea"):
        hold(getattr(method.CARD, name), f"CARD has no {name}")
    for paper in method.CARD.papers:
        hold(paper.authors and paper.title and paper.year, f"CARD has a paper without authors, title or year: {paper}")
    hold(found.summary, f"the preset {preset!r} has no summary")
    own = {field.name for field in dataclasses.fields(method.Options)}
    for name in own:
        hold(f"        {name}:" in (method.Options.__doc__ or ""), f"the docstring of Options does not describe {name}")
    static = {name: value.value for name, value in found.static.items()}
    where = f"preset {preset!r}"
    options_of(method.Options, {name: value.value for name, value in found.options.items()}, where)
    options_of(TrainingOptions, {name: value.value for name, value in found.training.items()}, where)
    options_of(method.Options, {name: static[name] for name in static if name in own}, where)
    options_of(TrainingOptions, {name: static[name] for name in static if name not in own}, where)
    for key, value in {**found.options, **found.training, **found.static, **found.encoder}.items():
        hold(value.note or value.source != "ours", f"{where}: {key} is a value of ours without a note that explains it")
    try:
        options_of(method.Options, {"temprature": 1})
    except UsageError:
        return
    hold(False, "Options accepts unknown names")


def vectors_have_four_axes(case: Case) -> None:
    """``encode`` gives (B, N, V, D), ``compare`` a scalar, and the loss is finite and has a gradient.

    A statistic may be NaN (no example counts) but not infinite.
    """
    objective, batches = case.run(size=8)
    result = full_step(objective, batches(1), 1, StepContext())  # checks the shapes
    hold(torch.isfinite(result.loss), f"the loss is {float(result.loss)}")
    for name, value in result.statistics.items():
        hold(not torch.isinf(value), f"the statistic {name!r} is {float(value)}")
    learnt = [p.grad for p in objective.parameters() if p.grad is not None]
    hold(any(bool(gradient.any()) for gradient in learnt), "no parameter has a gradient")


def encode_is_row_separable_and_free_of_side_effects(case: Case) -> None:
    """``encode`` returns the same vectors for a batch and its slices, repeatedly, and changes no state."""
    objective, batches = case.run(size=9)
    objective.double().eval()
    batch, before = objective.prepare(batches(2), 2), digest(objective)
    whole, again = objective.encode(batch, 2), objective.encode(batch, 2)
    parts = [objective.encode(batch.slice(start, min(start + 4, 9)), 2) for start in (0, 4, 8)]
    hold(digest(objective) == before, "encode changes parameters or buffers: change them in after_step")
    for name, vectors in whole.vectors.items():
        hold(vectors.ndim == 4 and len(vectors) == 9, f"the vectors {name!r} are not (B, N, V, D)")
        hold(torch.equal(again.vectors[name], vectors), f"encode gives other vectors {name!r} the second time")
        joined = torch.cat([part.vectors[name] for part in parts])
        hold(
            torch.allclose(joined, vectors, rtol=1e-10, atol=1e-12),
            f"encode is not row-separable: the vectors {name!r} of an example depend on the others of its batch",
        )


def compare_shares_average_to_the_whole(case: Case) -> None:
    """The mean over ranks of ``compare`` is that of one process."""
    objective, batches = case.run(size=8)
    objective.double().eval()
    batch = objective.prepare(batches(0), 0)
    vectors = {name: values.detach() for name, values in objective.encode(batch, 0).vectors.items()}
    whole = float(objective.compare(vectors, vectors, batch, 0, 0).value)
    shares = []
    for first in (0, 4):
        local_vectors = {name: values[first : first + 4] for name, values in vectors.items()}
        shares.append(float(objective.compare(local_vectors, vectors, batch, first, 0).value))
    hold(
        np.isclose(np.mean(shares), whole, rtol=1e-10, atol=0),
        f"compare of two halves of a batch averages to {np.mean(shares)}, and of the whole is {whole}",
    )


def cached_step_equals_full_step(case: Case) -> None:
    """The gradient of a cached step equals that of a full step."""
    found: list[Tensor] = []
    for take in (full_step, cached_step):
        objective, batches = case.run(size=8)
        take(objective.double(), batches(1), 1, StepContext(chunk=3))
        found.append(torch.cat([p.grad.reshape(-1) for p in objective.parameters() if p.grad is not None]))
    hold(float(found[0].norm()) > 0, "the gradient is zero")
    apart = float((found[0] - found[1]).norm() / found[0].norm())
    hold(apart < 1e-9, f"the gradient of a cached step differs from that of a full step by {apart:.1e} of its length")


def twice_is_bit_equal(case: Case) -> None:
    """Two float32 runs have the same finite losses and bit-identical weights."""
    found: list[tuple[list[float], str]] = []
    for _ in range(2):
        losses: list[float] = []

        def note(progress: Progress, losses: list[float] = losses) -> None:
            losses.append(progress.loss)

        trainer = _trainer(case)
        trainer.on_step = note
        trainer.run()
        found.append((losses, digest(trainer.objective)))
    hold(np.isfinite(found[0][0]).all(), f"losses are not finite: {found[0][0]}")
    hold(found[0] == found[1], "two runs with the same seed differ: draw all random numbers from the address")


def resume_is_bit_equal(case: Case) -> None:
    """A resumed run ends with the weights of an uninterrupted run."""
    with tempfile.TemporaryDirectory() as folder:
        whole = _trainer(case, Checkpoints(folder=Path(folder), keep=9))
        whole.run()
        again = _trainer(case)
        again.step = Checkpoints(folder=Path(folder)).load(2, again.objective, again.optimizer)["step"]
        again.run()
        hold(
            digest(again.objective) == digest(whole.objective),
            "a resumed run ends with other weights: keep state in buffers or frozen parameters",
        )


def reload_is_strict_and_exact(case: Case) -> None:
    """A loaded checkpoint gives the same vectors, and a model with an additional parameter refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(folder=Path(folder))
        trainer = _trainer(case, checkpoints)
        trainer.run()
        fresh, batches = case.run(seed=3)
        checkpoints.load(4, fresh, build_optimizer(fresh, _OPTIONS))
        rows = batches(9).column(0).rows
        with torch.no_grad():
            same = torch.equal(trainer.objective.eval().encoder(rows), fresh.eval().encoder(rows))
        hold(same, "a loaded checkpoint gives other vectors")
        fresh.register_parameter("surplus", torch.nn.Parameter(torch.zeros(1)))
        try:
            checkpoints.load(4, fresh, build_optimizer(fresh, _OPTIONS))
        except CorruptError as error:
            hold("missing ['surplus']" in str(error), f"a strict load says {error}")
            return
        hold(False, "a checkpoint that lacks a parameter is loaded")


def explain_covers_every_row(case: Case) -> None:
    """Provenance changes no token, is off in training, and ``explain`` covers every row."""
    documents, method = store(), case.method

    def batch(*, provenance: bool) -> Any:
        sampler = method.sampler(documents, case.specials, case.options(), provenance=provenance)
        return Batches(sampler=sampler, batch_size=20, seed=0)(0)

    shown, plain = batch(provenance=True), batch(provenance=False)
    hold(np.array_equal(shown.rows.tokens, plain.rows.tokens), "with provenance a sampler draws other rows")
    hold("position" not in plain.per_token, "a sampler without provenance gives positions")
    described = method.explain(shown, documents, case.specials)
    hold(len(described) == 20, f"explain describes {len(described)} of 20 examples")
    roles = {row.role for one in described for row in one.rows}
    unknown = sorted(set(method.CARD.negatives) - roles)
    hold(not unknown, f"CARD.negatives names {unknown}, and explain has the roles {sorted(roles)} alone")
    for one in described:
        for row in one.rows:
            hold(row.spans and row.kept, f"explain does not say where a {row.role} came from")


def _trainer(case: Case, checkpoints: Checkpoints | None = None) -> Trainer:
    objective, batches = case.run(seed=1)
    return Trainer(objective=objective, batches=batches, options=_OPTIONS, seed=1, checkpoints=checkpoints)


PROMISES: tuple[Callable[[Case], None], ...] = (
    vectors_have_four_axes,
    encode_is_row_separable_and_free_of_side_effects,
    compare_shares_average_to_the_whole,
    cached_step_equals_full_step,
    twice_is_bit_equal,
    resume_is_bit_equal,
    reload_is_strict_and_exact,
    explain_covers_every_row,
)
