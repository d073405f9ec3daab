"""Which weights are saved, chosen without labels: the start or one of the trained variants, and their fusion weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from pretrieve.evaluation.choice import PASSAGES, Choice, choose, mean_gain
from pretrieve.evaluation.fused_probe import FusedProbe, FusedProbeOptions
from pretrieve.evaluation.probe import Encode, Probe, ProbeOptions, ProbeResult, Sides
from pretrieve.index.fuse import Fusion
from pretrieve.models.build import is_static
from pretrieve.models.encoder import Encoder
from pretrieve.models.inference import SharedTokens, encode
from pretrieve.models.static import StaticEncoder
from pretrieve.pipeline.pretrain.build import Plan
from pretrieve.pipeline.pretrain.data import Prepared
from pretrieve.pipeline.pretrain.guard import candidates, guardable, guarded
from pretrieve.pipeline.pretrain.held_out_loss import Gain
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.stop_words import languages
from pretrieve.pipeline.run.progress import Listener
from pretrieve.text.language import majority
from pretrieve.text.tokenizer import Tokenizer

START, TRAINED = "start", "trained"
SHORT = 24  # median tokens of a document below which nothing is trained (docs/log.md)
ONE_PASSAGE = 100  # median tokens of a document below which most documents are one or two passages
FEW = 100  # documents below which nothing is trained
PRETRAINING_ONLY = "pre-training only: fine-tune the model before search"
ABOVE_CHANCE = 1.645  # standard errors: one side, 5 %
START_WEIGHT = 0.25  # of an untrained start's vectors beside BM25
SHORT_WEIGHT = 0.5  # the same where documents are short: subwords match what whole words miss


@dataclass(frozen=True, kw_only=True)
class Trained:
    """One run that is done.

    Attributes:
        name: of the variant, or of the method where it has none.
        plan: recipe, objective and encoder.
        gain: the method's own loss before and after; None where it was not measured.
    """

    name: str
    plan: Plan
    gain: Gain | None = None

    @property
    def encoder(self) -> Encoder:
        """The trained encoder."""
        return self.plan.objective.encoder


@dataclass(frozen=True)
class Selection:
    """What is saved, and why.

    Attributes:
        run: the run whose recipe and other weights are saved.
        start: the encoder before training.
        encoder: saved encoder.
        reason: reason of the choice, in a sentence.
        saved: name of the variant or of the interpolation (``pipeline/guard.py``), ``"trained"``, or ``"start"``.
        probe: probe scores of BM25, the start and the trained systems, as JSON; None where nothing was held out.
        fusion: fusion weight of its vectors; None where the index chooses it.
    """

    run: Trained
    start: Encoder
    encoder: Encoder
    reason: str
    saved: str
    probe: ProbeResult | Choice | None = None
    fusion: Fusion | None = None


def too_little(request: TrainRequest, prepared: Prepared) -> str:
    """Why the default trains nothing: too little text; empty if there is enough.

    A method given by name is always trained.
    """
    if request.method is not None or not is_static(request.base):
        return ""
    count, median = len(prepared.documents), float(np.median(np.diff(prepared.store.documents)))
    if count < FEW:
        shown = "one document is" if count == 1 else f"{count} documents are"
        return f"{shown} too few to learn from (long ones can be divided into their chapters or passages)"
    return f"documents of {median:g} tokens are too short to learn from" if median < SHORT else ""


def untrained(plan: Plan, reason: str) -> Selection:
    """Save the start, where nothing is trained.

    Args:
        plan: plan of the run.
        reason: from ``too_little``.
    """
    start = plan.objective.encoder
    weight = SHORT_WEIGHT if "short" in reason else START_WEIGHT
    return Selection(
        run=Trained(name=START, plan=plan),
        start=start,
        encoder=start,
        reason=f"{reason}: the untrained start is saved",
        saved=START,
        fusion=Fusion(dense=weight, reason="the default of an untrained start"),
    )


def unselected(plan: Plan, start: Encoder, reason: str = "not compared with its start") -> Selection:
    """Save the trained model without selection."""
    run = Trained(name=plan.recipe.method, plan=plan)
    return Selection(run, start, run.encoder, reason=reason, saved=run.name)


def select(
    request: TrainRequest, start: Encoder, trained: Sequence[Trained], prepared: Prepared, listener: Listener
) -> Selection:
    """Choose what is saved.

    Args:
        request: arguments of the run.
        start: the encoder before training.
        trained: the runs; the first one is saved where nothing can be measured.
        prepared: the documents, held-out ones included.
        listener: receives progress.
    """
    run = trained[0]
    first = partial(Selection, run, start, run.encoder, saved=run.name)
    if not request.select:
        return first("not compared with its start")
    if run.plan.pretraining_only:
        said = run.gain.line() if run.gain else "too few documents to hold any out: not measured"
        return first(f"{PRETRAINING_ONLY}; {said}")
    if not len(prepared.held_out):
        return first("too few documents to hold any out: not compared with its start")
    if isinstance(run.encoder, StaticEncoder):
        return _select_static(start, trained, prepared, listener, request.seed)
    if guardable(request.base, run.plan.objective):
        return _select_guarded(start, run, prepared, listener, request.seed)
    return select_transformer(start, run, prepared, listener, request.seed)


def _select_static(
    start: Encoder, trained: Sequence[Trained], prepared: Prepared, listener: Listener, seed: int
) -> Selection:
    listener.stage("select", len(trained) + 1, "systems")
    choice = fused_choice(prepared, (START, start), {run.name: run.encoder for run in trained}, seed)
    listener.advance(len(trained) + 1)
    runs = {run.name: run for run in trained}
    run = runs.get(choice.system, trained[0])
    return Selection(
        run=run,
        start=start,
        encoder=start if choice.system == START else run.encoder,
        reason=choice.sentence,
        saved=choice.system,
        probe=choice,
        fusion=Fusion(dense=choice.weight, passages=_passages(prepared), reason=choice.weight_reason),
    )


def _select_guarded(start: Encoder, run: Trained, prepared: Prepared, listener: Listener, seed: int) -> Selection:
    found = candidates(start, run.encoder)
    choice = guarded(prepared, (START, start), found, seed, listener)
    made = {one.name: one.encoder for one in found}
    return Selection(
        run=run,
        start=start,
        encoder=start if choice.system == START else made[choice.system](),
        reason=choice.sentence,
        saved=choice.system,
        probe=choice,
        fusion=Fusion(dense=choice.weight, reason=choice.weight_reason),
    )


def fused_choice(prepared: Prepared, start: tuple[str, Encoder], trained: Mapping[str, Encoder], seed: int) -> Choice:
    """Choose by the fused probe which of several encoders adds most to BM25 on held-out documents.

    Args:
        prepared: the documents, which were held out, and the tokenizer of all encoders.
        start: name and encoder of the starting model.
        trained: the others by name; on a tie, the first one is chosen.
        seed: of the probe.
    """
    options = FusedProbeOptions(seed=seed, languages=languages(prepared.documents))
    probe = FusedProbe(prepared.documents, prepared.held_out, options)
    tokens = SharedTokens(prepared.store.tokenizer)
    name, encoder = start
    found = probe({name: tokens.encoding(encoder)}, {key: tokens.encoding(other) for key, other in trained.items()})
    return choose(found, name, list(trained), START_WEIGHT)


def _passages(prepared: Prepared) -> float:
    """Weight of BM25's best passage: none where most documents are one passage."""
    return PASSAGES if np.median(np.diff(prepared.store.documents)) >= ONE_PASSAGE else 0.0


def select_transformer(start: Encoder, run: Trained, prepared: Prepared, listener: Listener, seed: int) -> Selection:
    """Evaluate with the dense probe; a trained model must be significantly above its start.

    Args:
        start: the encoder before training.
        run: trained run.
        prepared: the documents, held-out ones included.
        listener: receives progress.
        seed: of the probe.
    """
    step = max(1, len(prepared.documents) // 200)
    language = majority(prepared.documents[index].text for index in range(0, len(prepared.documents), step))
    options = ProbeOptions(seed=seed, languages=(language,), queries=100, distractors=200)
    listener.stage("select", 3, "systems")
    tokenizer = prepared.store.tokenizer
    found = Probe(prepared.documents, prepared.held_out, options)(
        {START: _sides(start, tokenizer), TRAINED: _sides(run.encoder, tokenizer)}
    )
    listener.advance(3)
    if not found.values[START]:
        reason = (
            f"no query could be taken from the {len(prepared.held_out)} held-out documents: not compared with its start"
        )
        return Selection(run=run, start=start, encoder=run.encoder, reason=reason, saved=run.name)
    saved, reason = above_start(found)
    encoder = run.encoder if saved == TRAINED else start
    return Selection(run=run, start=start, encoder=encoder, reason=reason, saved=saved, probe=found)


def above_start(found: ProbeResult) -> tuple[str, str]:
    """Name of the system to save, and why: the trained one if it is significantly above its start."""
    if standard_errors(found, TRAINED, START) < ABOVE_CHANCE:
        return START, "training did not help on held-out documents: the start is saved"
    return TRAINED, f"nDCG@10 on held-out documents: {found.mean(START):.3f} before, {found.mean(TRAINED):.3f} after"


def standard_errors(found: ProbeResult, a: str, b: str) -> float:
    """Mean difference of two systems, in paired standard errors; each kind of query counts the same."""
    gain, error = mean_gain([found.values[a][kind] - found.values[b][kind] for kind in found.values[a]])
    return gain / error if error > 0 else 0.0


def _encode(encoder: Encoder, tokenizer: Tokenizer) -> Encode:
    return lambda texts: encode(encoder, tokenizer, texts)


def _sides(encoder: Encoder, tokenizer: Tokenizer) -> Encode | Sides:
    """The encoder as the probe uses it: cosine, except that several vectors per document are scored as in search."""
    if encoder.vectors_per_document == 1:
        return _encode(encoder, tokenizer)
    return Sides(
        queries=lambda texts: encode(encoder, tokenizer, texts, queries=True),
        documents=lambda texts: encode(encoder, tokenizer, texts),
    )
