"""Which weights are handed out: the start, the trained ones, or a mixture, by what the label-free probe sees."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch

from pretrieve.evaluation.probe import BM25, Encode, Probe, ProbeOptions, ProbeResult, Sides
from pretrieve.index.fuse import Fusion
from pretrieve.models.encoder import Encoder
from pretrieve.models.inference import encode
from pretrieve.models.static import StaticEncoder
from pretrieve.pipeline.listener import Listener
from pretrieve.pipeline.prepare import Prepared
from pretrieve.text.language import majority
from pretrieve.text.tokenizer import Tokenizer

START, TRAINED = "start", "trained"
SHORT = 24  # median tokens of a document below which pseudo-queries say nothing about real ones (docs/log.md)
BLIND = 0.05  # nDCG@10 of BM25 on the probe below which its queries cannot be answered by anything
INITIALISER = "a start for fine-tuning, not for search as it is"
ABOVE_CHANCE = 1.645  # standard errors: one side, 5 %
_MIXTURES = (0.25, 0.5, 0.75)  # part of the trained weights that is tried beside 0 and 1, for static encoders


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is handed out, and why.

    Attributes:
        part: 0 for the start, 1 for the trained weights, between for a mixture of the two.
        reason: in a line, for people.
        probe: what the probe saw of BM25, the start and the trained model; None where nothing was held out.
        encoder: what is handed out.
        fusion: the weight of its vectors beside words, chosen on held-out documents; None where it was not.
    """

    part: float
    reason: str
    probe: ProbeResult | None
    encoder: Encoder
    fusion: Fusion | None = None


def too_short(prepared: Prepared) -> str:
    """Why documents are too short to learn from without labels; empty if they are not."""
    median = float(np.median(np.diff(prepared.store.documents)))
    return f"documents of {median:g} tokens are too short to learn queries from" if median < SHORT else ""


def unjudged(trained: Encoder) -> Verdict:
    """Hand out the trained weights, where nobody asks whether they are better."""
    return Verdict(part=1.0, reason="not judged", probe=None, encoder=trained)


def untrained(start: Encoder, reason: str) -> Verdict:
    """Hand out the start, where nothing was trained."""
    return Verdict(part=0.0, reason=f"{reason}: the start is kept", probe=None, encoder=start)


def judge(
    start: Encoder,
    trained: Encoder,
    prepared: Prepared,
    listener: Listener,
    seed: int,
    *,
    initialiser: bool = False,
    signal: str = "",
) -> Verdict:
    """Ask the probe, and hand out nothing that it finds worse than the start.

    Args:
        start: the encoder before training.
        trained: the encoder after it.
        prepared: the documents, and which were held out.
        listener: hears of progress.
        seed: of the run.
        initialiser: the method makes a start for fine-tuning: its weights are handed out whatever the probe says.
        signal: what it learned by its own measure, in a line.
    """
    if initialiser:
        reason = f"{INITIALISER}; {signal or 'too few documents to hold any out: not judged'}"
        return Verdict(part=1.0, reason=reason, probe=None, encoder=trained)
    if not len(prepared.held_out):
        return Verdict(part=1.0, reason="too few documents to hold any out: not judged", probe=None, encoder=trained)
    static = isinstance(trained, StaticEncoder)
    listener.stage("probe", unit="systems")
    probe = Probe(prepared.documents, prepared.held_out, _options(prepared, static, seed))
    systems = {START: start, **({f"{part:g}": mixed(start, trained, part) for part in _MIXTURES} if static else {})}
    systems[TRAINED] = trained
    tokenizer = prepared.store.tokenizer
    found = probe({name: _sides(system, tokenizer) for name, system in systems.items()})
    listener.advance(len(systems) + 1)
    name, reason = _choose(found, static)
    part = {START: 0.0, TRAINED: 1.0}[name] if name in (START, TRAINED) else float(name)
    shown = {key: found.values[key] for key in (BM25, START, TRAINED)}
    if name not in shown:
        shown["mixture"] = found.values[name]
    return Verdict(
        part=part,
        reason=reason,
        probe=ProbeResult(values=shown, pool=found.pool),
        encoder=systems[name],
        fusion=probe.weigh(lambda texts: encode(systems[name], tokenizer, texts)) if static else None,
    )


def _sides(encoder: Encoder, tokenizer: Tokenizer) -> Encode | Sides:
    """An encoder as the probe asks it: by cosine, but for one with several views, which is asked as it searches."""
    if encoder.views == 1:
        return lambda texts: encode(encoder, tokenizer, texts)
    return Sides(
        queries=lambda texts: encode(encoder, tokenizer, texts, queries=True),
        documents=lambda texts: encode(encoder, tokenizer, texts),
    )


def mixed(start: Encoder, trained: Encoder, part: float) -> Encoder:
    """Weights between two encoders: ``(1 - part) * start + part * trained``."""
    between = deepcopy(trained)
    with torch.no_grad():
        for mine, first in zip(between.parameters(), start.parameters(), strict=True):
            mine.lerp_(first, 1.0 - part)
    return between


def _choose(found: ProbeResult, static: bool) -> tuple[str, str]:
    """Name of the system to hand out, and why.

    The system nearest to the trained one within a standard error of the best is taken, as small probes pick the very
    best by chance; it has to be above the start by more than chance.
    """
    if static and found.mean(BM25) < BLIND:
        return START, "the probe's queries cannot be answered by anything: the start is kept"
    names = [name for name in found.values if name not in (BM25, START)]  # from the start towards the trained one
    best = max([START, *names], key=found.mean)
    chosen = next((name for name in reversed(names) if _standard_errors(found, name, best) >= -1.0), START)
    if chosen == START or _standard_errors(found, chosen, START) < ABOVE_CHANCE:
        return START, "training did not help on held-out documents: the start is kept"
    reason = f"nDCG@10 on held-out documents: {found.mean(START):.3f} before, {found.mean(chosen):.3f} after"
    return chosen, reason if chosen == TRAINED else f"{reason}, {float(chosen):.0%} of the way to the trained weights"


def _standard_errors(found: ProbeResult, a: str, b: str) -> float:
    """Mean difference of two systems, in paired standard errors; each kind of query counts the same."""
    gaps = [found.values[a][kind] - found.values[b][kind] for kind in found.values[a]]
    error = float(np.sqrt(sum(gap.var() / len(gap) for gap in gaps)) / len(gaps))
    return float(np.mean([gap.mean() for gap in gaps])) / error if error > 0 else 0.0


def _options(prepared: Prepared, static: bool, seed: int) -> ProbeOptions:
    """A transformer encodes a few thousand tokens a second: its probe is smaller."""
    step = max(1, len(prepared.documents) // 200)
    language = majority(prepared.documents[index].text for index in range(0, len(prepared.documents), step))
    if static:
        return ProbeOptions(seed=seed, languages=(language,))
    return ProbeOptions(seed=seed, languages=(language,), queries=100, distractors=200)
