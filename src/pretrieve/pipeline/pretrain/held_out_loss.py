"""The method's own loss on held-out documents, before and after training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core.config import options_of
from pretrieve.core.errors import PretrieveError
from pretrieve.core.types import IntArray
from pretrieve.models.objective import Objective
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain.build import Choices, Plan
from pretrieve.pipeline.pretrain.data import Prepared
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.tokens import store_of
from pretrieve.sampling.batches import Batches
from pretrieve.text.documents import Documents
from pretrieve.training.held_out import held_out

_CHARACTERS = 500_000  # maximum amount of held-out text that is used
_TOKENS = 16_384  # maximum number that are encoded: a few seconds on one core
_BATCH, _MOST_BATCHES = 32, 8


@dataclass(frozen=True, kw_only=True)
class Signal:
    """Measures a method's own loss on held-out documents; call it with the objective.

    Attributes:
        batches: of held-out documents.
        steps: numbers of the batches.
        at: training step at which losses are computed.
        documents: number of held-out documents.
    """

    batches: Batches
    steps: tuple[int, ...]
    at: int
    documents: int

    def __call__(self, objective: Objective) -> dict[str, float]:
        """Loss and statistics by name, without those that have no value."""
        found = held_out(objective, self.batches, self.steps, at=self.at)
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def loss(self, objective: Objective) -> float:
        """The loss alone."""
        return held_out(objective, self.batches, self.steps, at=self.at)["loss"]


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A signal before and after training, on ``examples`` of ``documents``."""

    before: Mapping[str, float]
    after: Mapping[str, float]
    documents: int
    examples: int

    def line(self) -> str:
        """The method's own statistics, or its loss if it has none: "held-out mlm: 7.012 -> 3.456"."""
        names = [name for name in self.after if name in self.before]
        own = [name for name in names if name != "loss"] or names
        return "held-out " + ", ".join(f"{name}: {self.before[name]:.3f} -> {self.after[name]:.3f}" for name in own)

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "documents": self.documents,
            "examples": self.examples,
            "before": dict(self.before),
            "after": dict(self.after),
        }


def signal_of(
    workspace: Path,
    choices: Choices,
    made: Plan,
    prepared: Prepared,
    listener: Listener,
    *,
    shared: Path | None = None,
) -> Signal | None:
    """Tokenise held-out documents and draw examples from them as in training.

    Args:
        workspace: folder of the tokens.
        choices: the method and its values.
        made: the run.
        prepared: the documents.
        listener: receives the reason where there is no held-out loss.
        shared: folder of tokens shared by several runs, in place of ``workspace``.

    Returns:
        None where nothing was held out, or where the method cannot use what was.
    """
    if not len(prepared.held_out):
        return None
    options = options_of(choices.module.Options, {**choices.options, **planning.suited(choices, prepared.store)})
    try:
        select = _capped(prepared.documents, prepared.held_out)
        store = store_of(
            prepared.documents,
            prepared.store.tokenizer,
            Silent(),
            folder=workspace / "held-out",
            shared=shared,
            select=select,
        )
        sampler = choices.module.sampler(store, made.encoder.specials, options)
        batches = Batches(sampler=sampler, batch_size=min(_BATCH, made.training.batch_size), seed=made.recipe.seed)
        tokens = len(batches(0).rows.tokens)
    except PretrieveError as error:  # documents that the method cannot use; the training documents were usable
        listener.note(f"no held-out signal: {error}")
        return None
    count = min(max(1, _TOKENS // max(tokens, 1)), _MOST_BATCHES)
    return Signal(batches=batches, steps=tuple(range(count)), at=made.training.steps - 1, documents=len(store))


def gain(signal: Signal, before: Mapping[str, float], objective: Objective) -> Gain:
    """Measure again after training.

    Args:
        signal: the measurement before training.
        before: its result.
        objective: after training.
    """
    examples = len(signal.steps) * signal.batches.batch_size
    return Gain(before=before, after=signal(objective), documents=signal.documents, examples=examples)


def comparable(choices: Choices, made: Plan) -> bool:
    """Whether held-out values before and after training can be compared.

    They cannot for static encoders, which are evaluated by searching, and for methods that compare with the state of
    earlier steps, which is noise before the first step. Pretraining-only methods always can.

    Args:
        choices: the method.
        made: the run.
    """
    objective = made.objective
    remembered = {name for name, _ in objective.named_buffers() if name in objective.state_dict()}
    remembers = any(not name.startswith(("encoder.", "query_encoder.")) for name in remembered)
    return choices.module.CARD.pretraining_only or (isinstance(objective.encoder, TransformerEncoder) and not remembers)


def _capped(documents: Documents, select: IntArray) -> IntArray:
    """Some evenly spread documents, up to a length of text."""
    spread = select[np.argsort(np.arange(len(select)) % 7, kind="stable")]
    lengths = np.cumsum([len(documents[int(index)].text) for index in spread])
    return np.sort(spread[: max(1, int(np.searchsorted(lengths, _CHARACTERS)))])
