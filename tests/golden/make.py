"""Golden losses: 100 steps of every preset in float64. Run with preset names (or none for all) to make them again.

A change of these numbers is a change of what the method does: say why in the commit that changes them. ``--drift``
leaves them as they are and measures only how far rounding carries each run (``drift.py``).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import drift  # noqa: E402
import numpy as np  # noqa: E402
import start  # noqa: E402
import torch  # noqa: E402

import tiny  # noqa: E402
from pretrieve.methods import names  # noqa: E402
from pretrieve.training.options import TrainingOptions  # noqa: E402
from pretrieve.training.trainer import Trainer  # noqa: E402

STEPS = 100


def losses(preset: str, kind: str, *changes: Callable[[Trainer], None]) -> list[float]:
    """The losses of a tiny run, in float64; ``changes`` are made, in order, before its first step."""
    torch.set_num_threads(1)
    objective, batches = tiny.run(preset, kind, seed=11)
    objective.eval().train = lambda mode=True: objective  # no dropout: its masks are torch's own business
    found: list[float] = []
    options = TrainingOptions(steps=STEPS, batch_size=8, learning_rate=0.003, precision="float64", clip=1.0)
    trainer = Trainer(objective=objective, batches=batches, options=options, seed=11)
    for change in changes:
        change(trainer)
    trainer.on_step = lambda progress: found.append(progress.loss)
    trainer.run()
    return found


def drifts(preset: str, kind: str) -> list[float]:
    """How far each step's loss is carried by a unit in the last place: the farthest of a few runs."""
    plain = losses(preset, kind, start.restore)
    apart = [drift.deviations(losses(preset, kind, start.restore, nudge), plain) for nudge in drift.nudges()]
    return [float(f"{value:.1e}") for value in np.max(apart, axis=0)]


def main(arguments: list[str]) -> None:
    """Write ``<preset>.json`` for each preset, and the weights that it starts from."""
    only_drift = "--drift" in arguments
    for preset in [name for name in arguments if name != "--drift"] or names():
        path = HERE / f"{preset}.json"
        before = json.loads(path.read_text()) if only_drift else {}
        value = {}
        for kind in tiny.kinds(preset):
            found = before[kind]["losses"] if only_drift else losses(preset, kind, start.keep, start.restore)
            value[kind] = {"losses": found, "drift": drifts(preset, kind)}
        path.write_text(json.dumps(value, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
