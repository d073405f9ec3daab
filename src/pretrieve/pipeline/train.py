"""The road of ``pretrieve train``: prepare, plan, train, judge without labels, keep."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

from pretrieve.core import files
from pretrieve.core.errors import FingerprintError
from pretrieve.core.types import IntArray
from pretrieve.models.build import is_static, named_base
from pretrieve.pipeline import plan as planning
from pretrieve.pipeline import prepare, recipe, warm
from pretrieve.pipeline.keep import Report, keep, open_report
from pretrieve.pipeline.listener import Listener, Silent
from pretrieve.pipeline.place import hold
from pretrieve.pipeline.plan import Choices, Plan
from pretrieve.pipeline.prepare import Prepared
from pretrieve.pipeline.request import CHECKPOINTS, DEFAULT_MINUTES, WORKSPACE, Request
from pretrieve.pipeline.signal import Gain, gain, signal_of
from pretrieve.pipeline.verdict import judge, too_short, unjudged, untrained
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer
from pretrieve.training.calibration import steps_for_minutes
from pretrieve.training.checkpoint import Checkpoints
from pretrieve.training.trackers import Tracker, default_tracker
from pretrieve.training.trainer import Progress, Trainer

_RECIPE = "recipe.json"


def train(request: Request, listener: Listener | None = None, *, command: str = "") -> Report:
    """Train a retriever on documents, judge it without labels, and keep the better of it and its start.

    Args:
        request: what is asked.
        listener: hears of progress.
        command: for the model card.

    Returns:
        What was done and found; the model is at ``request.output``.

    Raises:
        PretrieveError: whatever a user can mend: sources, options, disk, an interrupted or diverged run.
    """
    listener = listener or Silent()
    request.check()
    choices = planning.choose(request)
    with hold(request.output, overwrite=request.overwrite and not request.resume):
        if request.resume and (request.output / files.MANIFEST).is_file():
            return _finished(request, choices, listener)
        prepared = _prepare(request, choices, listener)
        begin = partial(warm.start_words, request, store=prepared.store, listener=listener)
        made = planning.make(request, choices, prepared.store, begin)
        made = replace(made, recipe=replace(made.recipe, command=command))
        for note in (*made.objective.notes, *_towers_note(made)):
            listener.note(note)
        start = deepcopy(made.objective.encoder)
        if request.method is None and is_static(request.base) and (reason := too_short(prepared)):
            return keep(request.output, made, start, untrained(start, reason), prepared)
        made = _with_steps(request, made, listener)
        found = _run_measured(request, choices, made, prepared, listener)
        if request.judge:
            verdict = judge(
                start,
                made.objective.encoder,
                prepared,
                listener,
                request.seed,
                initialiser=choices.module.CARD.initialiser,
                signal="" if found is None else found.line(),
            )
        else:
            verdict = unjudged(made.objective.encoder)
        return keep(request.output, made, start, verdict, prepared, found)


def _finished(request: Request, choices: Choices, listener: Listener) -> Report:
    """The report of a run that is done, if it is this one."""
    report = open_report(request.output)
    for name, value in (("method", choices.method), ("base", request.base), ("seed", request.seed)):
        if report.recipe[name] != value:
            raise FingerprintError(
                f"cannot resume: {request.output} is finished, and its {name} was {report.recipe[name]}: choose "
                "another --output."
            )
    listener.note(f"{request.output} is finished already.")
    return report


def _towers_note(made: Plan) -> list[str]:
    if not made.encoder.queries_apart or getattr(made.objective, "query_encoder", None) is not None:
        return []
    return ["the base has separate towers, of which the documents' one is trained; towers=separate keeps both."]


def _prepare(request: Request, choices: Choices, listener: Listener) -> Prepared:
    workspace = request.output / WORKSPACE
    documents = _documents(request, workspace, listener)
    select, held_out = prepare.split(len(documents), request.seed)
    vocabulary = _vocabulary(request, choices, workspace, documents, listener, select)
    store = prepare.build_store(workspace, documents, select, vocabulary, listener)
    if store.dropped:
        listener.note(f"{store.dropped:,} documents have no token in their text and are left out of training.")
    return Prepared(documents=documents, train=select, held_out=held_out, store=store)


def _documents(request: Request, workspace: Path, listener: Listener) -> Documents:
    """Read the sources; a run that goes on reads them again, to be sure that they are the same."""
    target = workspace / "documents"
    before = Documents.open(target) if request.resume and (target / files.MANIFEST).is_file() else None
    quarantine = request.output.with_name(f"{request.output.name}.quarantine.jsonl")
    documents = prepare.read_documents(
        request.sources,
        target if before is None else workspace / "documents-again",
        listener,
        fields=request.fields,
        on_bad=request.on_bad,
        quarantine=quarantine,
        replace=True,
    )
    if before is None:
        return documents
    shutil.rmtree(documents.path)
    if before.fingerprint != documents.fingerprint:
        raise FingerprintError(
            f"cannot resume: the corpus was {before.fingerprint} and is {documents.fingerprint}: "
            "give the same documents as before, or another --output."
        )
    return before


def _vocabulary(
    request: Request, choices: Choices, workspace: Path, documents: Documents, listener: Listener, select: IntArray
) -> Tokenizer:
    """The base's own tokenizer, or one trained on the documents."""
    if (folder := named_base(request.base)) is not None:
        return tokenizer.load(folder)
    if request.resume and (workspace / "store" / files.MANIFEST).is_file():
        return Store.open(workspace / "store").tokenizer
    listener.stage("vocabulary", unit="entries")
    found = prepare.train_tokenizer(documents, select, choices.tokenization)
    listener.advance(found.specials.vocabulary)
    return found


def _with_steps(request: Request, made: Plan, listener: Listener) -> Plan:
    """Fix the number of steps: as given, as an earlier part of the run had, or as many as the minutes hold."""
    path = request.output / WORKSPACE / _RECIPE
    before = recipe.load(path) if request.resume and path.is_file() else None
    steps = made.training.steps
    if before is not None and request.steps is None:
        steps = int(before.training["steps"])
    elif request.steps is None and "steps" not in request.settings:
        minutes = request.minutes or DEFAULT_MINUTES
        listener.stage("calibrate", unit="steps")
        steps = steps_for_minutes(made.objective, made.batches, made.training, minutes, request.seed)
        listener.advance(steps, f"fill {minutes:g} minutes")
    made = replace(
        made,
        training=replace(made.training, steps=steps),
        recipe=replace(made.recipe, training={**made.recipe.training, "steps": steps}),
    )
    _warn_of_noise(made, listener)
    if before is not None:
        recipe.check_same(before, made.recipe)
    files.write_file(path, files.to_json(made.recipe.to_json()))
    return made


def _warn_of_noise(made: Plan, listener: Listener) -> None:
    """Say that a run is too short for its queue, whose first negatives are random vectors."""
    queue, keys = int(made.recipe.options.get("queue", 0)), made.training.steps * made.training.batch_size
    if made.recipe.options.get("loss") == "moco" and keys < 2 * queue:
        listener.note(
            f"the queue holds {queue:,} keys and this run makes {keys:,}: most negatives are noise. "
            f"Set a smaller queue (a multiple of batch_size={made.training.batch_size}), or take contriever-inbatch."
        )


def _run_measured(
    request: Request, choices: Choices, made: Plan, prepared: Prepared, listener: Listener
) -> Gain | None:
    """Train, and measure the method's own signal on held-out documents before and after."""
    signal = signal_of(request.output / WORKSPACE, choices, made, prepared, listener)
    before = signal(made.objective) if signal is not None else {}
    _run(request, made, listener)
    return gain(signal, before, made.objective) if signal is not None else None


def _run(request: Request, made: Plan, listener: Listener) -> None:
    checkpoints = Checkpoints(
        folder=request.output / CHECKPOINTS,
        keep=made.training.keep,
        fingerprints={
            "corpus": made.recipe.corpus,
            "tokenizer": made.recipe.tokenizer,
            "recipe": made.recipe.fingerprint,
        },
    )
    listener.stage(f"train {made.recipe.method}", made.training.steps, "steps")
    with _tracker(request, made) as track:
        trainer = Trainer(
            objective=made.objective,
            batches=made.batches,
            options=made.training,
            seed=request.seed,
            checkpoints=checkpoints,
            on_step=_watcher(listener, track),
        )
        if request.resume:
            listener.advance(trainer.resume())
        trainer.run()


@contextmanager
def _tracker(request: Request, made: Plan) -> Iterator[Callable[[Progress], None]]:
    """Where curves go besides the screen; nowhere if nothing is installed or wanted."""
    name = default_tracker() if request.tracker == "auto" else request.tracker
    if name in (None, "none"):
        yield lambda progress: None
        return
    tracker = Tracker(name, request.output / WORKSPACE / "curves", values=_flat(made), every=made.training.log_every)
    try:
        yield tracker
    finally:
        tracker.close()


def _flat(made: Plan) -> dict[str, str | int | float | bool]:
    """The recipe's values in a form that every tracker keeps."""
    parts = {"options": made.recipe.options, "training": made.recipe.training, "encoder": made.recipe.encoder}
    return {f"{part}.{key}": str(value) for part, values in parts.items() for key, value in values.items()}


def _watcher(listener: Listener, track: Callable[[Progress], None]) -> Callable[[Progress], None]:
    smooth: dict[str, float] = {}

    def watch(progress: Progress) -> None:
        for name in ("loss", "tokens_per_second", "real_share"):
            value = getattr(progress, name)
            smooth[name] = value if name not in smooth else 0.95 * smooth[name] + 0.05 * value
        listener.advance(
            1,
            f"loss {smooth['loss']:.3f}, {smooth['tokens_per_second'] / 1000:,.0f}k tokens/s, "
            f"{smooth['real_share']:.0%} real tokens",
        )
        track(progress)

    return watch
