"""Golden losses: 100 steps of every preset in float64. Run with preset names (or none for all) to make them again.

A change of these numbers is a change of what the method does: say why in the commit that changes them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402

import tiny  # noqa: E402
from pretrieve.methods import names  # noqa: E402
from pretrieve.training.options import TrainingOptions  # noqa: E402
from pretrieve.training.trainer import Trainer  # noqa: E402

STEPS = 100


def losses(preset: str, kind: str) -> list[float]:
    """The losses of a tiny run, in float64."""
    torch.set_num_threads(1)
    objective, batches = tiny.run(preset, kind, seed=11)
    objective.eval().train = lambda mode=True: objective  # no dropout: its masks are torch's own business
    found: list[float] = []
    options = TrainingOptions(steps=STEPS, batch_size=8, learning_rate=0.003, precision="float64", clip=1.0)
    trainer = Trainer(objective=objective, batches=batches, options=options, seed=11)
    trainer.on_step = lambda progress: found.append(progress.loss)
    trainer.run()
    return found


def main(wanted: list[str]) -> None:
    """Write ``<preset>.json`` for each preset."""
    for preset in wanted or names():
        value = {kind: losses(preset, kind) for kind in tiny.kinds(preset)}
        (HERE / f"{preset}.json").write_text(json.dumps(value, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
