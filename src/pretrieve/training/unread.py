"""Steps that the host does not wait for: on an accelerator, figures are read together, every few steps.

A loss that is read makes the host wait until the device has done all that was asked of it. Here loss, norm and
statistics stay on the device, and so does the decision to skip a step that is not finite: the optimizer gets it as a
flag, as mixed precision gives it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pretrieve.core.types import IntArray
from pretrieve.models.lora import frozen
from pretrieve.models.objective import Objective
from pretrieve.models.shards import local
from pretrieve.training.step import StepResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is known of a step once it is read.

    Attributes:
        step: number of steps done before it.
        loss: loss over all ranks.
        norm: norm of the gradient before clipping.
        skipped: whether the update was not applied.
        finite: whether loss and norm are finite.
        statistics: statistics of the method.
        rate: learning rate.
        lengths: lengths of the rows of its batch.
        documents: documents of its batch.
    """

    step: int
    loss: float
    norm: float
    skipped: bool
    finite: bool
    statistics: Mapping[str, float]
    rate: float
    lengths: IntArray
    documents: IntArray


@dataclass(slots=True, kw_only=True)
class _Waiting:
    step: int
    values: Tensor
    names: tuple[str, ...]
    rate: float
    lengths: IntArray
    documents: IntArray


@dataclass(slots=True, kw_only=True)
class Unread:
    """The steps whose figures are still on the device.

    Attributes:
        objective: what is trained.
        optimizer: the optimizer; one that takes no flag is asked after the host has waited for it.
        stops: whether nothing is updated after a step that is not finite, so that the run can stop as it was before it.
    """

    objective: Objective
    optimizer: torch.optim.Optimizer
    stops: bool
    _broken: Tensor | None = None
    _waiting: list[_Waiting] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._waiting)

    def update(self, result: StepResult, norm: Tensor, rate: float, step: int) -> None:
        """Update the weights unless loss or norm is not finite; nothing is read.

        Args:
            result: loss and vectors; the gradient is in the parameters.
            norm: norm of the gradient.
            rate: learning rate.
            step: number of steps done.
        """
        finite = torch.isfinite(result.loss) & torch.isfinite(norm)
        skipped = ~finite
        if self.stops:
            skipped = skipped if self._broken is None else skipped | self._broken
            self._broken = skipped
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if getattr(self.optimizer, "_step_supports_amp_scaling", False):
            self.optimizer.found_inf = skipped.float()  # type: ignore[attr-defined]
            self.optimizer.step()
        elif not bool(skipped):
            self.optimizer.step()
        self._after_step(result, step, skipped)
        values = [result.loss, norm, skipped, finite, *result.statistics.values()]
        self._waiting.append(
            _Waiting(
                step=step,
                values=torch.stack([value.detach().to(result.loss) for value in values]),
                names=tuple(result.statistics),
                rate=rate,
                lengths=result.batch.rows.lengths,
                documents=result.batch.documents,
            )
        )

    @torch.no_grad()
    def _after_step(self, result: StepResult, step: int, skipped: Tensor) -> None:
        """What follows an update, undone where there was none: queues and slow encoders are frozen tensors."""
        if type(self.objective).after_step is Objective.after_step:
            return
        tensors = (*self.objective.parameters(), *self.objective.buffers())
        base = frozen(self.objective)
        kept = [local(values) for values in tensors if not values.requires_grad and id(values) not in base]
        before = [values.clone() for values in kept]
        self.objective.after_step(result.global_vectors, result.batch, step)
        for now, was in zip(kept, before, strict=True):
            now.copy_(torch.where(skipped.to(now.device), was, now))

    def read(self) -> list[Figures]:
        """Wait for the device once, and return the figures of all steps since the last call, in order."""
        if not self._waiting:
            return []
        waiting, self._waiting = self._waiting, []
        numbers = torch.cat([one.values for one in waiting]).cpu().tolist()
        found = []
        for one in waiting:
            loss, norm, skipped, finite, *others = (numbers.pop(0) for _ in range(4 + len(one.names)))
            found.append(
                Figures(
                    step=one.step,
                    loss=loss,
                    norm=norm,
                    skipped=bool(skipped),
                    finite=bool(finite),
                    statistics=dict(zip(one.names, others, strict=True)),
                    rate=one.rate,
                    lengths=one.lengths,
                    documents=one.documents,
                )
            )
        return found
