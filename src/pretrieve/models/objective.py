"""The contract between a method and the trainer.

A loss has two parts: what an example computes alone (``encode``) and what needs the other examples (``compare``).
Gradient caching, gathering across ranks and accumulation rely on this split, so they are implemented once, in
``training/step.py``, for every method.
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
    """The result of ``encode`` for B examples.

    Attributes:
        vectors: vectors by name, each (B, N, V, D).
        example_loss: the loss that each example computes alone, (B,); None for a method without one.
        statistics: values by name, each (B,), averaged for the progress line and the log.
    """

    vectors: dict[str, Tensor]
    example_loss: Tensor | None = None
    statistics: dict[str, Tensor] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Loss:
    """The result of ``compare``.

    Attributes:
        value: the mean over the examples of this rank, a scalar.
        statistics: scalars by name.
    """

    value: Tensor
    statistics: dict[str, Tensor] = field(default_factory=dict)


class Objective(nn.Module):
    """A method's loss. It owns encoder, heads, queue and momentum encoder, which are clipped and saved together.

    Conventions that ``training/step.py`` relies on and the contract tests check:

    * ``encode`` treats examples independently and has no side effects: it runs on any slice of B, any number of times.
    * ``compare`` sees the vectors of the global batch; those of this rank start at ``first``. Gradients flow to the
      vectors of all ranks, so that the mean over ranks of the gradients is the gradient of the global mean loss.
    * State that a step changes other than by the optimizer (queue, momentum, index) changes in ``after_step`` alone,
      and lives in buffers or frozen parameters, so that the checkpoint holds it.
    """

    encoder: Encoder  # saved after training
    notes: tuple[str, ...] = ()  # messages for the user before the first step, a sentence each

    def prepare(self, batch: Batch, step: int) -> Batch:
        """Return the batch to encode; runs without gradient; may add rows (retrieved candidates, mined negatives)."""
        return batch

    def encode(self, batch: Batch, step: int) -> Encoded:
        """Compute vectors (B, N, V, D), example losses (B,) and statistics (B,) of any slice of a batch."""
        raise NotImplementedError

    def compare(
        self, local_vectors: dict[str, Tensor], global_vectors: dict[str, Tensor], batch: Batch, first: int, step: int
    ) -> Loss:
        """Compute the loss between examples.

        Args:
            local_vectors: this rank's vectors by name, (B, N, V, D).
            global_vectors: all ranks' vectors by name, (B_global, N, V, D), in rank order.
            batch: the *global* batch's per-example facts (``documents``, ``per_example``); its rows may be empty.
            first: index of this rank's first example in ``global_vectors``.
            step: the training step.

        Returns:
            The mean loss over the examples of this rank (a scalar; zero with gradient for a method with example losses
            alone).
        """
        return Loss(value=torch.zeros(()))

    @torch.no_grad()
    def after_step(self, global_vectors: dict[str, Tensor], batch: Batch, step: int) -> None:
        """Change state after the optimizer's update: momentum, queue, index; ``global_vectors`` are detached."""
