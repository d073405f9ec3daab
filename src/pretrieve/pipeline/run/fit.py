"""The training part of a run: trainer, checkpoints, tracker and progress, the same for every command."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretrieve.core.errors import UsageError
from pretrieve.core.model_files import CURVES
from pretrieve.core.types import Batch
from pretrieve.models import devices
from pretrieve.models.candidates import StaleIndex
from pretrieve.models.lora import check_adapted, merge
from pretrieve.models.objective import Objective
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.run import Run
from pretrieve.training.checkpoint import Checkpoints, named_tensors
from pretrieve.training.early_stopping import HeldOutLoss
from pretrieve.training.options import TrainingOptions
from pretrieve.training.ranks import Ranks
from pretrieve.training.sharding import Sharding
from pretrieve.training.trackers import Tracker, default_tracker
from pretrieve.training.trainer import Progress, Trainer

_SMOOTH = 0.95  # smoothing of the displayed figures: weight of the previous value
_LAST = 0.1  # fraction of the last steps whose statistics are averaged


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training: what is trained, and how.

    Attributes:
        name: name to display.
        objective: objective to train.
        batches: the global batch of each step.
        options: options of the training.
        seed: seed of the run.
        fingerprints: fingerprints that its checkpoints must match.
        part: subfolder of this training in the run; empty if it is the only one.
        tracker: experiment tracker; ``auto`` is TensorBoard if it is installed.
        values: values of the recipe, for the tracker.
        figures: names of statistics displayed with the loss.
        held_out: function that returns the loss on held-out examples; None where none are held out.
    """

    name: str
    objective: Objective
    batches: Callable[[int], Batch]
    options: TrainingOptions
    seed: int
    fingerprints: Mapping[str, str]
    part: str = ""
    tracker: str = "none"
    values: Mapping[str, Any] = field(default_factory=dict)
    figures: tuple[str, ...] = ()
    held_out: Callable[[], float] | None = None


def fit(run: Run, training: Training) -> dict[str, float]:
    """Train to the last step, or resume from the newest checkpoint, on the device of the run; adapters are merged then.

    Args:
        run: the run, with its folders.
        training: the training.

    Returns:
        Statistics of the last tenth of the steps of this call, averaged; empty if no step was left.

    Raises:
        UsageError: ``evaluate_every`` is set, and nothing is held out to evaluate on, or adapters do not go with the
            objective.
        StoppedError: a signal stopped the run; a checkpoint was saved.
        NotFiniteError: loss, gradient or weights are not finite.
        FingerprintError: the checkpoint belongs to another run.
        StorageError: writing to disk failed.
    """
    options = training.options
    check_adapted(training.objective)
    devices.tune(devices.chosen())
    if not Sharding.of(training.objective, options, Ranks.current()).full:
        devices.place(training.objective)
    run.listener.stage(training.name, options.steps, "steps")
    shown = _Shown(training, run)
    with _tracking(training, run.workspace / CURVES / training.part) as tracker:

        def watch(progress: Progress) -> None:
            shown(progress)
            if tracker is not None:
                tracker(progress)

        trainer = Trainer(
            objective=training.objective,
            batches=training.batches,
            options=options,
            seed=training.seed,
            checkpoints=Checkpoints(
                folder=run.checkpoints / training.part,
                keep=options.max_checkpoints,
                fingerprints=training.fingerprints,
            ),
            on_step=watch,
            held_out=_held_out(run, training, shown, tracker),
        )
        if trainer.sharding.full:
            run.listener.note(f"each of {trainer.ranks.world} processes holds a part of every layer (sharding=full).")
        if run.resume:
            run.listener.advance(trainer.resume())
        trainer.ranks.spread(named_tensors(training.objective).values())
        with ExitStack() as stack:
            for index in _indexes(training.objective):
                stack.enter_context(index.divided(trainer.ranks))
            trainer.run()
        trainer.sharding.join(training.objective)
    merge(training.objective)
    return shown.last()


def _indexes(objective: Objective) -> list[StaleIndex]:
    """The indexes that an objective refreshes while it trains."""
    return [module for module in objective.modules() if isinstance(module, StaleIndex)]


def _held_out(run: Run, training: Training, shown: _Shown, tracker: Tracker | None) -> HeldOutLoss | None:
    """Return what measures the held-out loss, if the options enable it.

    Raises:
        UsageError: nothing is held out.
    """
    options = training.options
    if not options.evaluate_every:
        return None
    held_out = training.held_out
    if held_out is None and Ranks.current().rank == 0:
        raise UsageError(f"evaluate_every={options.evaluate_every}: no examples are held out (too few, or disabled).")

    def report(step: int, loss: float) -> None:
        shown.held_out = f"held-out loss {loss:.3f} at step {step:,}"
        if tracker is not None:
            tracker.log({"held_out_loss": loss}, step)

    def measured() -> float:
        """The loss by the first process; the others wait, without a limit of time."""
        for index in _indexes(training.objective) if processes.current().world > 1 else ():
            index.vectors()  # only all processes together can encode it
        loss = processes.current().of_first(lambda: None if held_out is None else held_out())
        return math.nan if loss is None else loss

    best = Checkpoints(folder=run.checkpoints / training.part / "best", fingerprints=training.fingerprints)
    return HeldOutLoss(
        measure=measured,
        every=options.evaluate_every,
        patience=options.patience,
        best=best if options.patience else None,
        on_measured=report,
    )


@contextmanager
def _tracking(training: Training, folder: Path) -> Iterator[Tracker | None]:
    """Open the tracker of curves; None if none is installed or enabled, and on all ranks but the first."""
    name = default_tracker() if training.tracker == "auto" else training.tracker
    if name in (None, "none") or Ranks.current().rank:
        yield None
        return
    values = {key: str(value) for key, value in training.values.items()}
    tracker = Tracker(name, folder, values=values, every=training.options.log_every)
    try:
        yield tracker
    finally:
        tracker.close()


class _Shown:
    """Figures of the steps: smoothed for display, and averaged over the last steps for the report."""

    def __init__(self, training: Training, run: Run) -> None:
        self._training, self._run = training, run
        self._smooth: dict[str, float] = {}
        self._last: list[Mapping[str, float]] = []
        self.held_out = ""  # the latest held-out loss, as text

    def __call__(self, progress: Progress) -> None:
        figures = {name: float(progress.statistics.get(name, float("nan"))) for name in self._training.figures}
        for name in ("loss", "tokens_per_second", "real_share"):
            value = getattr(progress, name)
            before = self._smooth.get(name, value)
            self._smooth[name] = _SMOOTH * before + (1 - _SMOOTH) * value
        measured = [self.held_out] if self.held_out else []
        words = [
            f"loss {self._smooth['loss']:.3f}",
            *measured,
            *(f"{name} {value:.2f}" for name, value in figures.items()),
        ]
        words.append(f"{self._smooth['tokens_per_second'] / 1000:,.0f}k tokens/s")
        self._run.listener.advance(1, f"{', '.join(words)}, {self._smooth['real_share']:.0%} real tokens")
        self._last.append(progress.statistics)
        del self._last[: -max(1, round(_LAST * self._training.options.steps))]

    def last(self) -> dict[str, float]:
        """Means over the last steps."""
        names = self._last[0] if self._last else {}
        return {name: sum(one[name] for one in self._last) / len(self._last) for name in names}
