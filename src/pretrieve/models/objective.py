"""The contract between a method and everything that runs it (design: *the nouns*).

A loss is split where its information is split: what an example computes alone (``encode``) and what needs the other
examples (``compare``). That cut is what gradient caching, gathering across ranks and accumulation need, so they are
written once, in ``training/step.py``, and hold for every method.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pretrieve.core.types import Batch

if TYPE_CHECKING:
    from pretrieve.models.encoder import Encoder


@dataclass(slots=True, kw_only=True)
class Encoded:
    """What ``encode`` gives for B examples.

    ``vectors`` are named, each (B, N, V, D). ``local`` (B,) is the loss that each example computes alone (zero where a
    method has none). ``statistics`` (B,) are averaged for the progress line and the log.
    """

    vectors: dict[str, Tensor]
    local: Tensor | None = None
    statistics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Loss:
    """What ``compare`` gives: ``value`` is the mean over *my* examples, a scalar; ``statistics`` are scalars."""

    value: Tensor
    statistics: dict[str, Tensor] = field(default_factory=dict)


class Objective(nn.Module):
    """A method's loss; owns encoder, heads, queue and slow encoder, which are clipped, saved and resumed as one.

    Conventions that ``training/step.py`` relies on and the contract tests check:

    * ``encode`` is row-separable and free of side effects: it runs on any slice of B, any number of times.
    * ``compare`` sees the vectors of the whole global batch, mine at ``first`` to ``first + len(mine)``; gradients flow
      to everybody's vectors, so that the mean over ranks of the gradients is the gradient of the global mean loss.
    * State that a step changes other than by the optimiser (queue, momentum, index) changes in ``after_step`` alone,
      and lives in buffers or frozen parameters, so that the checkpoint holds it.
    """

    encoder: Encoder  # what is kept after training
    notes: tuple[str, ...] = ()  # what the user should know before the first step, a sentence each

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch to encode; no gradient; may add rows (retrieved candidates, mined negatives)."""
        return batch

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Compute vectors (B, N, V, D), the local loss (B,) and statistics (B,) of any slice of a batch."""
        raise NotImplementedError

    def compare(
        self, mine: dict[str, Tensor], everyone: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Compute the loss between examples.

        Args:
            mine: my vectors by name, (B, N, V, D).
            everyone: all ranks' vectors by name, (B_global, N, V, D), in rank order.
            batch: the *global* batch's per-example facts (``documents``, ``per_example``); its rows may be empty.
            first: index of my first example in ``everyone``.
            step: the training step.

        Returns:
            The mean loss over my examples (a scalar, zero with gradient where a method has only local losses).
        """
        return Loss(value=torch.zeros(()))

    @torch.no_grad()
    def after_step(self, everyone: dict[str, Tensor], batch: Batch, step: int) -> None:
        """Change state after the optimiser's update: momentum, queue, index refresh (``everyone`` is detached)."""
