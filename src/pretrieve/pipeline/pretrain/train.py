"""The steps of ``pretrieve train``: prepare, train every variant, select without labels, save."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import orjson

from pretrieve.core import files
from pretrieve.core.errors import FingerprintError
from pretrieve.core.types import IntArray
from pretrieve.models.build import named_base
from pretrieve.models.encoder import Encoder
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain import data as prepare
from pretrieve.pipeline.pretrain import third_ranker
from pretrieve.pipeline.pretrain import warm_start as warm
from pretrieve.pipeline.pretrain.build import Choices, Plan
from pretrieve.pipeline.pretrain.data import Prepared
from pretrieve.pipeline.pretrain.held_out_loss import gain, signal_of
from pretrieve.pipeline.pretrain.publish import keep
from pretrieve.pipeline.pretrain.report import Report, open_finished
from pretrieve.pipeline.pretrain.request import DEFAULT_MINUTES, Request
from pretrieve.pipeline.pretrain.selection import Trained, select, too_little, untrained
from pretrieve.pipeline.pretrain.stop_words import scale_stop_words
from pretrieve.pipeline.run import recipe
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.workspace import CHECKPOINTS, WORKSPACE, hold
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer
from pretrieve.training.calibration import steps_for_minutes
from pretrieve.training.checkpoint import Checkpoints
from pretrieve.training.trackers import Tracker, default_tracker
from pretrieve.training.trainer import Progress, Trainer

_RECIPE, _VARIANTS = "recipe.json", "variants.json"
_ADVICE = "what is finished is kept; go on with --resume"


def train(request: Request, listener: Listener | None = None, *, command: str = "") -> Report:
    """Train a retriever on documents, and save what the label-free selection finds best: a variant, or the start.

    Args:
        request: what is asked.
        listener: hears of progress.
        command: for the model card.

    Returns:
        What was done and found; the model is at ``request.output``.

    Raises:
        PretrieveError: whatever a user can fix: sources, options, disk, an interrupted or diverged run.
    """
    listener = listener or Silent()
    request.check()
    if (folder := third_ranker.retrieval_model(request)) is not None:
        return _train_beside(request, folder, listener, command)
    choices = planning.choose(request)
    variants = planning.variants(request, choices)
    with stoppable(_ADVICE), hold(request.output, overwrite=request.overwrite and not request.resume):
        _check_variants(request, variants)
        if request.resume and (request.output / files.MANIFEST).is_file():
            wanted = {"method": choices.method, "base": request.base, "seed": request.seed}
            return open_finished(request.output, wanted, listener)
        prepared = prepare_documents(request, choices, listener)
        if reason := too_little(request, prepared):
            return keep(request.output, untrained(_made(request, variants[0], prepared, listener), reason), prepared)
        start, trained = train_variants(request, variants, prepared, listener, command=command)
        selection = select(request, start, trained, prepared, listener)
        report = keep(request.output, selection, prepared)
        _remove_others(request.output, variants, selection.saved)
        return report


def _remove_others(output: Path, variants: Sequence[Choices], saved: str) -> None:
    """Remove the checkpoints of variants that were not saved: nothing is made of them any more."""
    for variant in variants:
        if variant.variant and variant.variant != saved:
            shutil.rmtree(output / CHECKPOINTS / variant.variant, ignore_errors=True)


def _train_beside(request: Request, folder: Path, listener: Listener, command: str) -> Report:
    """Keep a retrieval model, and train a static model as a third ranker beside it."""
    third_ranker.check(folder)
    with hold(request.output, overwrite=request.overwrite and not request.resume):
        static = train(third_ranker.beside(request), listener, command=command)
        return third_ranker.publish(request, folder, static, listener)


def train_variants(
    request: Request, variants: Sequence[Choices], prepared: Prepared, listener: Listener, *, command: str = ""
) -> tuple[Encoder, list[Trained]]:
    """Train every variant, one after another, for the same number of steps.

    Args:
        request: what is asked.
        variants: from ``plan.variants``; at least one.
        prepared: the documents.
        listener: hears of progress.
        command: for the model card.

    Returns:
        The encoder before training, and the runs.

    Raises:
        PretrieveError: as ``train``.
    """
    steps: int | None = None
    start: Encoder | None = None
    trained: list[Trained] = []
    for variant in variants:
        made = _made(request, variant, prepared, listener, quiet=bool(trained))
        start = start or deepcopy(made.objective.encoder)
        made = _with_steps(request, variant, made, listener, steps, len(variants))
        if steps is None:
            _say_coverage(made, variant, len(prepared.store), listener)
        steps = made.training.steps
        made = replace(made, recipe=replace(made.recipe, command=command))
        trained.append(_run_measured(request, variant, made, prepared, listener))
    assert start is not None
    return start, trained


def _made(request: Request, choices: Choices, prepared: Prepared, listener: Listener, *, quiet: bool = False) -> Plan:
    """Build a variant's encoder, objective and batches; what there is to note of them is the same for all variants."""
    begin = partial(warm.start_words, request, store=prepared.store, listener=listener)
    made = planning.make(request, choices, prepared.store, begin)
    for note in (*made.objective.notes, *_towers_note(made)) if not quiet else ():
        listener.note(note)
    return made


def _check_variants(request: Request, variants: Sequence[Choices]) -> None:
    """Refuse to go on with other variants than a run began with: what is saved is chosen among all of them.

    Raises:
        FingerprintError: they are others.
    """
    path = request.output / WORKSPACE / _VARIANTS
    now = [choices.variant for choices in variants]
    if request.resume and path.is_file():
        before = orjson.loads(path.read_bytes())
        if before != now:
            said = [", ".join(names) or "none" for names in (before, now)]
            raise FingerprintError(
                f"cannot resume: the variants to train were {said[0]} and are {said[1]}. Give the same command as "
                "before, or another --output."
            )
    elif not (request.output / files.MANIFEST).is_file():
        files.write_file(path, files.to_json(now))


def _towers_note(made: Plan) -> list[str]:
    if not made.encoder.queries_apart or getattr(made.objective, "query_encoder", None) is not None:
        return []
    return ["the base has separate towers, of which the documents' one is trained; towers=separate keeps both."]


def prepare_documents(request: Request, choices: Choices, listener: Listener) -> Prepared:
    """Read the sources, train or load the vocabulary, and tokenize all documents but those held out.

    Raises:
        PretrieveError: as ``train``.
    """
    workspace = request.output / WORKSPACE
    documents = _documents(request, workspace, listener)
    select, held_out = prepare.split(len(documents), request.seed, request.held_out)
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


def _with_steps(
    request: Request, choices: Choices, made: Plan, listener: Listener, known: int | None, variants: int
) -> Plan:
    """Fix the number of steps: as given, as an earlier part of the run had, or as many as the minutes hold.

    Args:
        request: what was asked.
        choices: the variant.
        made: its plan.
        listener: hears of progress.
        known: steps of the variants before.
        variants: number of variants that share the minutes.
    """
    path = _own(request.output / WORKSPACE, choices) / _RECIPE
    before = recipe.load(path) if request.resume and path.is_file() else None
    steps = made.training.steps
    if request.steps is None and before is not None:
        steps = int(before.training["steps"])
    elif known is not None:
        steps = known
    elif request.steps is None and "steps" not in request.settings:
        steps = _affordable(request, choices, made, listener, variants)
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


def _affordable(request: Request, choices: Choices, made: Plan, listener: Listener, variants: int) -> int:
    """Steps that the minutes hold, at most those of the preset where it says how many are enough."""
    enough = made.training.steps
    if choices.fixed_length and request.minutes is None:
        return enough
    minutes = (request.minutes or DEFAULT_MINUTES) / variants
    listener.stage("calibrate", unit="steps")
    steps = steps_for_minutes(made.objective, made.batches, made.training, minutes, request.seed)
    if choices.fixed_length and steps >= enough:
        listener.advance(enough, "more do not help: see docs/log.md; --steps sets another number")
        return enough
    listener.advance(steps, f"fill {minutes:g} minutes")
    return steps


def _own(folder: Path, choices: Choices) -> Path:
    """A variant's own part of a folder; the folder where the preset has no variants."""
    return folder / choices.variant if choices.variant else folder


def _say_coverage(made: Plan, choices: Choices, documents: int, listener: Listener) -> None:
    """Say that a run of fixed length sees a part of a large collection only."""
    pairs = made.training.steps * made.training.batch_size
    if choices.fixed_length and pairs < documents:
        listener.note(
            f"{made.training.steps} steps of {made.training.batch_size} see {pairs:,} of {documents:,} documents; "
            "--steps sets another number."
        )


def _warn_of_noise(made: Plan, listener: Listener) -> None:
    """Say that a run is too short for its queue, whose first negatives are random vectors."""
    queue, keys = int(made.recipe.options.get("queue", 0)), made.training.steps * made.training.batch_size
    if made.recipe.options.get("loss") == "moco" and keys < 2 * queue:
        listener.note(
            f"the queue holds {queue:,} keys and this run makes {keys:,}: most negatives are noise. "
            f"Set a smaller queue (a multiple of batch_size={made.training.batch_size}), or take contriever-inbatch."
        )


def _run_measured(request: Request, choices: Choices, made: Plan, prepared: Prepared, listener: Listener) -> Trained:
    """Train a variant, and measure the method's own signal on held-out documents before and after."""
    signal = signal_of(_own(request.output / WORKSPACE, choices), choices, made, prepared, listener)
    before = signal(made.objective) if signal is not None else {}
    _run(request, choices, made, listener)
    factor = choices.encoder.stop_word_scale
    scale_stop_words(made.objective.encoder, prepared.store.tokenizer, prepared.documents, factor)
    found = gain(signal, before, made.objective) if signal is not None else None
    return Trained(name=choices.variant or made.recipe.method, plan=made, gain=found)


def _run(request: Request, choices: Choices, made: Plan, listener: Listener) -> None:
    checkpoints = Checkpoints(
        folder=_own(request.output / CHECKPOINTS, choices),
        keep=made.training.keep,
        fingerprints={
            "corpus": made.recipe.corpus,
            "tokenizer": made.recipe.tokenizer,
            "recipe": made.recipe.fingerprint,
        },
    )
    name = f"{made.recipe.method}: {choices.variant}" if choices.variant else made.recipe.method
    listener.stage(f"train {name}", made.training.steps, "steps")
    with _tracker(request, choices, made) as track:
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
def _tracker(request: Request, choices: Choices, made: Plan) -> Iterator[Callable[[Progress], None]]:
    """Where curves go besides the screen; nowhere if nothing is installed or wanted."""
    name = default_tracker() if request.tracker == "auto" else request.tracker
    if name in (None, "none"):
        yield lambda progress: None
        return
    tracker = Tracker(
        name, _own(request.output / WORKSPACE / "curves", choices), values=_flat(made), every=made.training.log_every
    )
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
