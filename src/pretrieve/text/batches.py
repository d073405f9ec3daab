"""From a view to the batches of a run: ``batch(step)`` is a pure function of (view, seed, step).

Every rank draws the same global batch and keeps its own slice: the integers are cheap, the facts that a loss needs of
other ranks' examples (documents, flags) are known without a message, and a run does not depend on the number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pretrieve.core.errors import UsageError
from pretrieve.core.rng import generator, shuffled
from pretrieve.core.types import Batch, IntArray


class View(Protocol):
    """How documents become examples: each method's file has one."""

    @property
    def items(self) -> int:
        """Number of units that an epoch visits once each: documents, windows or blocks."""
        ...

    def draw(self, items: IntArray, rng: np.random.Generator) -> Batch:
        """Make one example of each item.

        Args:
            items: (B,) units in [0, items).
            rng: where all randomness comes from; the same items and generator give the same batch.

        Returns:
            A batch of len(items) examples, rows with their special tokens; no row is empty.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The batches of a run, by step.

    An epoch is a keyed shuffle of the view's items; the last incomplete batch of an epoch is filled from the next.
    """

    view: View
    batch_size: int  # examples of the global batch, all ranks together
    seed: int

    def __post_init__(self) -> None:
        if self.view.items < 1:
            raise UsageError("no document is long enough to train on: give more text, or another --method.")

    def __call__(self, step: int) -> Batch:
        """Return the global batch of a step; a rank keeps ``batch.slice(first, last)`` of it."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size, dtype=np.int64)
        epochs = positions // self.view.items
        items = np.empty_like(positions)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            items[here] = shuffled(positions[here] % self.view.items, self.view.items, self.seed, "items", int(epoch))
        return self.view.draw(items, generator(self.seed, "view", step))
