"""The training loop, independent of the methods.

A run depends only on its options, seed and batches, not on time, prefetching, or interruptions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from pretrieve.core.errors import NotFiniteError
from pretrieve.core.memory import give_back_freed_memory, keep_freed_memory
from pretrieve.core.types import Batch, IntArray
from pretrieve.models import devices
from pretrieve.models.compiled import compile_forward
from pretrieve.models.denormals import without_denormals
from pretrieve.models.devices import precision_of
from pretrieve.models.objective import Objective
from pretrieve.models.shards import clip, total_norm
from pretrieve.training.checkpoint import Checkpoints, named_tensors
from pretrieve.training.early_stopping import HeldOutLoss
from pretrieve.training.layouts import Layouts
from pretrieve.training.optimizers import build_optimizer as build_optimizer
from pretrieve.training.options import TrainingOptions
from pretrieve.training.ranks import Ranks
from pretrieve.training.sharding import Sharding
from pretrieve.training.signals import StoppedError, Stopper
from pretrieve.training.step import StepContext, StepResult, cached_step, full_step, pieces_of
from pretrieve.training.unread import Figures, Unread

_AHEAD = 4  # batches to prefetch


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Progress after a step.

    Attributes:
        step: number of steps done, from 1.
        steps: number of steps of the run.
        loss: loss of this step, over all ranks.
        statistics: statistics of the method, scalars by name.
        learning_rate: learning rate of this step.
        gradient_norm: norm of the gradient before clipping.
        tokens_per_second: throughput of this step, over all ranks.
        real_share: tokens divided by the cells of a padded layout.
        skipped: whether the step was skipped because it was not finite.
    """

    step: int
    steps: int
    loss: float
    statistics: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    real_share: float
    skipped: bool = False


@dataclass(slots=True, kw_only=True)
class Trainer:
    """One run of training.

    Attributes:
        objective: the method. The caller places it on a device; it is cast to float64 if ``options.precision`` is
            float64.
        batches: ``batch(step)``, the global batch of a step; a pure function.
        options: training options.
        seed: seed of the run.
        checkpoints: checkpoints of the run; None to save nothing.
        ranks: the processes that train together.
        on_step: callback that receives the progress of every step.
        held_out: measures the held-out loss and may stop the run early.
        waits: whether the host reads loss and norm after every step; None: on a CPU. Elsewhere they are read every
            ``log_every`` steps, and a step that is not finite is skipped, or stops the run, once it is read.
    """

    objective: Objective
    batches: Callable[[int], Batch]
    options: TrainingOptions
    seed: int = 0
    checkpoints: Checkpoints | None = None
    ranks: Ranks = field(default_factory=Ranks.current)
    on_step: Callable[[Progress], None] | None = None
    held_out: HeldOutLoss | None = None
    waits: bool | None = None
    sharding: Sharding = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    step: int = field(init=False, default=0)
    _skipped: int = field(init=False, default=0)
    _saved: int = field(init=False, default=-1)
    _unread: Unread | None = field(init=False, default=None)
    _layouts: Layouts = field(init=False, default_factory=Layouts)
    _bfloat16: bool = field(init=False, default=False)
    _read_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        keep_freed_memory()
        if self.options.precision == "float64":
            self.objective.double()
        self.objective.train()
        if self.options.compile:
            compile_forward(self.objective)
        self.sharding = Sharding.of(self.objective, self.options, self.ranks)
        device = devices.chosen() if self.sharding.full else next(self.objective.parameters()).device
        self._bfloat16 = precision_of(self.options.precision, device) == "bfloat16"
        self.sharding.place(self.objective, bfloat16=self._bfloat16)
        if self.held_out is not None:
            self.held_out.gathered = self.sharding.gathered
        self.optimizer = build_optimizer(self.objective, self.options)
        if not (device.type == "cpu" if self.waits is None else self.waits):
            stops = self.options.on_not_finite == "stop"
            self._unread = Unread(objective=self.objective, optimizer=self.optimizer, stops=stops)
            self._read_at = time.perf_counter()
        if self.checkpoints is not None and self.ranks.rank == 0:
            self.checkpoints.sweep()

    def resume(self) -> int:
        """Load the newest checkpoint, if any, and return the number of steps done.

        Raises:
            FingerprintError: the checkpoint is of another run.
            CorruptError: the file is damaged.
        """
        latest = self.checkpoints.latest() if self.checkpoints is not None else None
        if latest is not None:
            assert self.checkpoints is not None
            state = self.checkpoints.load(latest, self.objective, self.optimizer)
            self.step, self._skipped, self._saved = state["step"], state["skipped"], state["step"]
            if self.held_out is not None:
                self.held_out.losses = list(state.get("held_out", []))
        return self.step

    @without_denormals()
    def run(self) -> None:
        """Train to the last step, or until the held-out loss no longer decreases.

        Raises:
            NotFiniteError: the loss or the gradient is not finite, and the update is not applied; or an update made
                weights that are not finite, which are not saved.
            StoppedError: a signal stopped the run; a checkpoint is saved.
            UsageError: the batch does not divide by the ranks, or an option does not fit the batch.
            StorageError: a checkpoint could not be written.
        """
        with Stopper() as stopper, self.sharding.exchange():
            for batch in prefetched(self.drawn, self.step, self._last_step):
                self.take(batch)
                if self.held_out is not None:
                    if self.step % self.held_out.every == 0:
                        self.read()
                    self.held_out.after(self.step, self.objective)
                    if self.held_out.is_over:
                        break
                every = self.options.save_every
                if every and self.step % every == 0:
                    self.save()
                signal = self.ranks.largest(stopper.signal)
                if signal and self.step < self.options.steps:
                    self.save()
                    raise StoppedError(signal, self.step, self.checkpoints.folder if self.checkpoints else None)
        self.save()
        if self.held_out is not None:
            self.held_out.restore(self.objective)
        give_back_freed_memory()

    @property
    def _last_step(self) -> int:
        """The number of steps of the run; the current one if early stopping has ended it."""
        return self.step if self.held_out is not None and self.held_out.is_over else self.options.steps

    def drawn(self, step: int) -> Batch:
        """The global batch of a step, laid out as the steps before it were; called in the prefetch thread."""
        batch = self.batches(step)
        self._layouts.make(pieces_of(batch, self._context))
        return batch

    @without_denormals()
    def take(self, batch: Batch) -> None:
        """Take the next step on a global batch.

        Raises:
            NotFiniteError: as ``run``.
        """
        started = time.perf_counter()
        rate = self.options.rate(self.step)
        self.optimizer.zero_grad(set_to_none=self.sharding.full)  # a large table is cleared faster than mapped anew
        result = self._gradient(batch)
        self._layouts.learn(pieces_of(batch, self._context))
        norm = self._clip()
        if self._unread is not None:
            self._unread.update(result, norm, rate, self.step)
            self.step += 1
            if self.step % self.options.log_every == 0:
                self.read()
            return
        finite = bool(torch.isfinite(result.loss)) and bool(torch.isfinite(norm))
        if finite:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.optimizer.step()
            self.objective.after_step(result.global_vectors, result.batch, self.step)
            self._skipped = 0
        else:
            self._not_finite(self.step, batch.documents, float(result.loss), float(norm))
        self.step += 1
        if self.on_step is not None:
            figures = Figures(
                step=self.step - 1,
                loss=float(result.loss),
                norm=float(norm),
                skipped=not finite,
                finite=finite,
                statistics={name: float(value) for name, value in result.statistics.items()},
                rate=rate,
                lengths=batch.rows.lengths,
                documents=batch.documents,
            )
            self.on_step(self._progress(figures, time.perf_counter() - started))

    def read(self) -> None:
        """Wait for an accelerator, and report the steps that it has done since the last call; else nothing.

        Raises:
            NotFiniteError: a step was not finite, and the run stops on it.
        """
        if self._unread is None or not len(self._unread):
            return
        found = self._unread.read()
        now = time.perf_counter()
        seconds, self._read_at = (now - self._read_at) / len(found), now
        for figures in found:
            self._skipped = 0 if figures.finite else self._skipped
            if not figures.finite:
                self._not_finite(figures.step, figures.documents, figures.loss, figures.norm)
            if self.on_step is not None:
                self.on_step(self._progress(figures, seconds))

    def save(self) -> None:
        """Check the weights and save a checkpoint, at most once per step.

        Raises:
            NotFiniteError: a weight is not finite; the previous checkpoint stays the newest.
            StorageError: writing fails.
        """
        if self._saved == self.step:
            return
        self.read()
        self._check_weights()
        if self.checkpoints is not None:
            held_out = {} if self.held_out is None else {"held_out": self.held_out.losses}
            self.checkpoints.save(self.step, self.objective, self.optimizer, {"skipped": self._skipped, **held_out})
        self._saved = self.step

    def _check_weights(self) -> None:
        """Check that weights and buffers have a finite norm.

        Raises:
            NotFiniteError: names the first of them.
        """
        tensors = {name: values for name, values in named_tensors(self.objective).items() if values.is_floating_point()}
        if torch.isfinite(total_norm([*tensors.values()])):
            return
        wrong = [name for name, values in tensors.items() if not torch.isfinite(total_norm([values]))]
        raise NotFiniteError(
            f"step {self.step} (seed {self.seed}): after the update {len(wrong)} of {len(tensors)} weights are not "
            f"finite, or too large to compute with (first {', '.join(wrong[:1])}); they are not saved. Train again "
            f"with a lower learning_rate (it is {self.options.learning_rate:g})."
        )

    @property
    def _context(self) -> StepContext:
        return StepContext(
            seed=self.seed,
            chunk=self.options.chunk,
            chunk_tokens=self.options.chunk_tokens,
            ranks=self.ranks,
            bfloat16=self._bfloat16,
            even=self.sharding.full,
        )

    def _gradient(self, batch: Batch) -> StepResult:
        take = cached_step if self.options.cache else full_step
        return take(self.objective, batch, self.step, self._context)

    def _clip(self) -> Tensor:
        """Norm of the whole gradient; scales it down where it is above ``clip``."""
        parameters = [parameter for parameter in self.objective.parameters() if parameter.grad is not None]
        norm = total_norm([p.grad for p in parameters if p.grad is not None])
        if self.options.clip:
            clip(parameters, self.options.clip, norm)
        return norm

    def _not_finite(self, step: int, drawn: IntArray, loss: float, norm: float) -> None:
        """Skip the step or stop; nothing is updated.

        Raises:
            NotFiniteError: ``on_not_finite`` is stop, or too many consecutive steps were skipped.
        """
        self._skipped += 1
        if self.options.on_not_finite == "skip" and self._skipped < self.options.skip_limit:
            return
        documents = np.unique(drawn)
        shown = ", ".join(map(str, documents[:8])) + (", ..." if len(documents) > 8 else "")
        raise NotFiniteError(
            f"step {step} (seed {self.seed}): the loss is {loss}, the gradient's norm {norm}; "
            f"nothing was updated. Documents {shown}. Lower learning_rate, or set on_not_finite=skip."
        )

    def _progress(self, figures: Figures, seconds: float) -> Progress:
        tokens = int(figures.lengths.sum())
        return Progress(
            step=figures.step + 1,
            steps=self.options.steps,
            loss=figures.loss,
            statistics=figures.statistics,
            learning_rate=figures.rate,
            gradient_norm=figures.norm,
            tokens_per_second=tokens / max(seconds, 1e-9),
            real_share=tokens / max(1, len(figures.lengths) * int(figures.lengths.max())),
            skipped=figures.skipped,
        )


def prefetched(batches: Callable[[int], Batch], start: int, stop: int, ahead: int = _AHEAD) -> Iterator[Batch]:
    """Prefetch the batches of steps ``start`` to ``stop`` in a thread, up to ``ahead`` of them."""
    with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
        waiting: list[Future[Batch]] = [pool.submit(batches, step) for step in range(start, min(start + ahead, stop))]
        try:
            for step in range(start, stop):
                batch = waiting.pop(0).result()
                if step + ahead < stop:
                    waiting.append(pool.submit(batches, step + ahead))
                yield batch
        finally:
            for future in waiting:
                future.cancel()
