"""From a sampler to the batches of a run: ``batch(step)`` is a pure function of (sampler, seed, step).

Every rank draws the same global batch and keeps its own slice: the integers are cheap, the facts that a loss needs of
other ranks' examples (documents, flags) are known without a message, and a run does not depend on the number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np

from pretrieve.core.errors import ExtensionError, UsageError
from pretrieve.core.extensions import check_call, place
from pretrieve.core.rng import generator, shuffled
from pretrieve.core.types import Batch, BoolArray, IntArray

_CYCLE = 4096  # slots over which the shares of the strata are exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Address of the random draws of a batch: seed, step, and the epoch of each item (B,)."""

    seed: int
    step: int
    epochs: IntArray

    def generator(self, stream: str) -> np.random.Generator:
        """Return the generator of a stream at this step; every call starts the stream anew."""
        return generator(self.seed, f"view/{stream}", self.step)


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The order in which a run visits items: strata (languages, sources) with shares, sampled without replacement.

    ``sizes`` (G,) items of each stratum; ``shares`` (G,) sum to 1; ``order`` (items,) lists items stratum by stratum,
    None where items are numbered that way. Over each cycle of a few thousand positions the shares are met exactly, so
    that the count of visits to a stratum before any position is known without drawing what came before.
    """

    sizes: IntArray
    shares: np.ndarray
    order: IntArray | None = None

    @property
    def items(self) -> int:
        """Number of items that are visited, of all strata."""
        return int(self.sizes.sum())

    def at(self, positions: IntArray, seed: int) -> tuple[IntArray, IntArray]:
        """Map positions of a run (B,) to items (B,) and the epochs (B,) of their strata."""
        strata, ranks = self._strata(positions, seed)
        starts = np.cumsum(self.sizes) - self.sizes
        epochs = ranks // self.sizes[strata]
        items = np.empty_like(positions)
        for stratum, epoch in set(zip(strata.tolist(), epochs.tolist(), strict=True)):
            here = (strata == stratum) & (epochs == epoch)
            size, name = int(self.sizes[stratum]), f"items/{stratum}"
            items[here] = starts[stratum] + shuffled(ranks[here] % size, size, seed, name, int(epoch))
        return (items if self.order is None else self.order[items]), epochs

    def others(self, items: IntArray, rng: np.random.Generator) -> IntArray:
        """Uniformly random items (B,), each of the same stratum as the one given."""
        places = items if self._places is None else self._places[items]
        stops = np.cumsum(self.sizes)
        strata = np.searchsorted(stops, places, side="right")
        sizes = self.sizes[strata]
        places = stops[strata] - sizes + (rng.random(len(items)) * sizes).astype(np.int64)
        return places if self.order is None else self.order[places]

    @cached_property
    def _places(self) -> IntArray | None:
        """The inverse of ``order``."""
        if self.order is None:
            return None
        places = np.zeros(int(self.order.max()) + 1, np.int64)  # items that are left out have no place
        places[self.order] = np.arange(len(self.order))
        return places

    def _strata(self, positions: IntArray, seed: int) -> tuple[IntArray, IntArray]:
        """Stratum of each position, and how often that stratum was visited before."""
        if len(self.sizes) == 1:
            return np.zeros_like(positions), positions
        quotas = self._quotas()
        length = int(quotas.sum())
        owners = np.repeat(np.arange(len(quotas)), quotas)
        strata, ranks = np.empty_like(positions), np.empty_like(positions)
        cycles = positions // length
        for cycle in np.unique(cycles):
            here = cycles == cycle
            visited = owners[shuffled(np.arange(length), length, seed, "mixture", int(cycle))]
            before = np.empty(length, np.int64)
            before[np.argsort(visited, kind="stable")] = np.arange(length) - np.repeat(
                np.cumsum(quotas) - quotas, quotas
            )
            slots = positions[here] % length
            strata[here] = visited[slots]
            ranks[here] = cycle * quotas[visited[slots]] + before[slots]
        return strata, ranks

    def _quotas(self) -> IntArray:
        """Slots of each stratum in a cycle: shares rounded, at least one for a stratum with items."""
        length = _CYCLE * -(-len(self.sizes) // 256)
        return np.maximum(np.round(self.shares * length).astype(np.int64), self.sizes > 0)


def mixture(groups: IntArray | None, items: int, coefficient: float, keep: BoolArray | None = None) -> Mixture:
    """Weigh groups by their share of the items, to a power.

    p(group) ∝ share(group) ** coefficient: 1 visits items in proportion, 0 visits every group equally often (Conneau &
    Lample 2019; Contriever's ``sampling_coefficient``). A small group is then visited over and over: each of its items
    once before any of them twice.

    Args:
        groups: (items,) group of each item; None or a single group makes one stratum.
        items: number of items.
        coefficient: the power, in [0, 1].
        keep: (groups,) whether the items of a group are visited; needs ``groups``.
    """
    if keep is not None:
        assert groups is not None
        kept = np.flatnonzero(keep[groups])
        mixed = mixture(groups[kept], len(kept), coefficient)
        return replace(mixed, order=kept if mixed.order is None else kept[mixed.order])
    if groups is None or coefficient == 1.0 or len(groups) == 0 or groups.min() == groups.max():
        return Mixture(sizes=np.array([items], np.int64), shares=np.ones(1))
    sizes = np.bincount(groups)
    order = np.argsort(groups, kind="stable").astype(np.int64)
    sizes = sizes[sizes > 0].astype(np.int64)
    weights = (sizes / sizes.sum()) ** coefficient
    return Mixture(sizes=sizes, shares=weights / weights.sum(), order=order)


class Sampler(Protocol):
    """How documents become examples: each method's file has one."""

    @property
    def mixture(self) -> Mixture:
        """The items that an epoch visits once each (documents, windows or blocks), and the shares of their groups."""
        ...

    def draw(self, items: IntArray, address: Address) -> Batch:
        """Make one example of each item.

        Args:
            items: (B,) items in [0, mixture.items).
            address: address of all random draws; the same items and address give the same batch.

        Returns:
            A batch of len(items) examples, rows with their special tokens; no row is empty.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The batches of a run, by step.

    An epoch is a keyed shuffle of the sampler's items; the last incomplete batch of an epoch is filled from the next.
    """

    sampler: Sampler
    batch_size: int  # examples of the global batch, all ranks together
    seed: int

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise UsageError(f"batch_size={self.batch_size}: a batch needs at least one example.")
        if not isinstance(getattr(self.sampler, "mixture", None), Mixture):
            raise ExtensionError(
                f"{place(type(self.sampler))}: a sampler has a mixture, made by sampling.batches.mixture."
            )
        check_call(type(self.sampler).draw, "items", "address", method=True)
        if self.sampler.mixture.items < 1:
            raise UsageError("no document is long enough to train on: add documents, or use another --method.")

    def __call__(self, step: int) -> Batch:
        """Return the global batch of a step; a rank keeps ``batch.slice(first, last)`` of it.

        Raises:
            ExtensionError: the sampler of a user's method returns something else.
        """
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size, dtype=np.int64)
        items, epochs = self.sampler.mixture.at(positions, self.seed)
        batch = self.sampler.draw(items, Address(seed=self.seed, step=step, epochs=epochs))
        if not isinstance(batch, Batch) or len(batch) != len(items):
            raise ExtensionError(
                f"{place(type(self.sampler).draw)}: draw must return a Batch of {len(items)} examples."
            )
        return batch
