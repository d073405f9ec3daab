"""The weights that golden runs begin with.

torch draws normal numbers by other formulas on processors without AVX2 (ARM among them), and these differ in the last
place of float32: a hundred million times the rounding that golden losses are compared within. So what was drawn when
they were made is kept, once for all presets that draw the same; a run takes it up where its own draw is the same but
for rounding, and one that draws anything else does not begin where the golden losses did.
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from pretrieve.training.trainer import Trainer

PATH = Path(__file__).parent / "start.safetensors"
_ROUNDING = 1e-5  # of a tensor's spread: Box and Muller's formula in float32 loses less, and another seed is 1 away


def load() -> list[Tensor]:
    """What is kept."""
    return [kept for _, kept in sorted(load_file(PATH).items())] if PATH.exists() else []


def restore(trainer: Trainer) -> None:
    """Give a new run the weights that are kept, in place of the same numbers as this processor draws them."""
    table = load()
    for name, values in drawn(trainer):
        kept = _find(values, table)
        assert kept is not None, f"{name}: other weights than the golden run began with"
        values.copy_(kept)


def keep(trainer: Trainer) -> None:
    """Add what a new run draws to what is kept."""
    table = load()
    for _, values in drawn(trainer):
        if _find(values, table) is None:
            table.append(values.float().clone())
    save_file({f"{number:03d}": kept for number, kept in enumerate(table)}, PATH)


def drawn(trainer: Trainer) -> list[tuple[str, Tensor]]:
    """Weights and buffers of more than one value; the others are zeros and ones on every processor."""
    state = trainer.objective.state_dict().items()
    return [(name, values) for name, values in state if values.is_floating_point() and len(values.unique()) > 1]


def _find(values: Tensor, table: list[Tensor]) -> Tensor | None:
    for kept in table:
        if kept.shape == values.shape and float((kept - values).abs().max()) <= _ROUNDING * float(kept.std()):
            return kept
    return None
