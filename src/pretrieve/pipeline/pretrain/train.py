"""The steps of ``pretrieve train``: prepare, train every variant, select without labels, save."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pretrieve.core import files
from pretrieve.core.config import options_of
from pretrieve.core.types import IntArray
from pretrieve.models import devices, lora
from pretrieve.models.build import is_static, named_base
from pretrieve.models.encoder import Encoder
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain import data, third_ranker
from pretrieve.pipeline.pretrain import warm_start as warm
from pretrieve.pipeline.pretrain.build import Choices, Plan
from pretrieve.pipeline.pretrain.data import Prepared
from pretrieve.pipeline.pretrain.held_out_loss import comparable, gain, signal_of
from pretrieve.pipeline.pretrain.publish import publish
from pretrieve.pipeline.pretrain.report import Report, open_report
from pretrieve.pipeline.pretrain.request import DEFAULT_MINUTES, TrainRequest, train_command
from pretrieve.pipeline.pretrain.selection import START, Selection, Trained, select, too_little, untrained
from pretrieve.pipeline.pretrain.stop_words import scale_stop_words
from pretrieve.pipeline.run import processes, recipe, sources
from pretrieve.pipeline.run.arguments import output_of
from pretrieve.pipeline.run.fit import Training, fit
from pretrieve.pipeline.run.kept_documents import run_and_keep
from pretrieve.pipeline.run.memory_sources import SOURCE
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.run import Run, begin
from pretrieve.pipeline.run.tokens import store_of
from pretrieve.text import store_shards, tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.text.tokenizer import Tokenizer
from pretrieve.training.calibration import steps_for_minutes
from pretrieve.training.ranks import Ranks
from pretrieve.training.sharding import Sharding

_RECIPE = "recipe.json"


def train(request: TrainRequest, listener: Listener | None = None) -> Report:
    """Train a retriever on documents, and save what the label-free selection chooses: a variant, or the start.

    Args:
        request: arguments of the run.
        listener: receives progress.

    Returns:
        What was done and found; the model is at ``request.output``.

    Raises:
        PretrieveError: any error that a user can fix: sources, options, disk, an interrupted or diverged run.
    """
    listener = listener or Silent()
    request.check()
    if (folder := third_ranker.retrieval_model(request)) is not None:
        return _train_beside(request, folder, listener)
    choices = planning.choose(request)
    variants = planning.variants(request, choices)
    for variant in variants:
        processes.current().check_batch(variant.training.batch_size)
    planning.check_base(request)
    precision, attention = choices.training.precision, not is_static(request.base)
    with begin(
        "train", request, listener, inputs=("base",), without=("sources",), precision=precision, attention=attention
    ) as run:
        run.same("variants", [variant.facts() for variant in variants])
        if run.finished:
            return _finished(run, request)
        return _train(run, request, variants, sources.documents_of(run, request))


def _finished(run: Run, request: TrainRequest) -> Report:
    """The report of a finished run, once it is known that its documents are the same."""
    processes.current().alone(lambda: sources.documents_of(run, request))
    run.say_finished()
    return open_report(request.output)


def train_into(
    output: str | Path | None, sources: object, options: Mapping[str, Any], listener: Listener
) -> tuple[str, Documents]:
    """The same for ``Retriever``.

    Args:
        output: folder for the model; a temporary one if None.
        sources: sources, or documents in memory.
        options: other arguments of ``TrainRequest`` by name.
        listener: receives progress.

    Returns:
        The model's folder, and the documents.

    Raises:
        PretrieveError: as ``train``.
    """
    with output_of(output) as folder:
        values = {"sources": (SOURCE,), "output": folder}
        request = options_of(TrainRequest, {**options, **values}, where="train")
        request.check()
        return run_and_keep(_train_and_say, request, sources, listener)


def _train_and_say(request: TrainRequest, listener: Listener) -> Report:
    """Train, and note why nothing trained is saved: a program sees no table of results."""
    report = train(request, listener)
    if report.saved == START:
        listener.note(report.reason)
    return report


def _train(run: Run, request: TrainRequest, variants: Sequence[Choices], documents: Documents) -> Report:
    """Train and select on documents that are read, and publish."""
    prepared = prepare_documents(run, request, variants[0], documents)
    if reason := too_little(request, prepared):
        made = _with_command(_made(request, variants[0], prepared, run.listener), request)
        lora.merge(made.objective)
        return _published(run, request, lambda: untrained(made, reason), prepared)
    start, trained = train_variants(run, request, variants, prepared)
    return _published(run, request, lambda: select(request, start, trained, prepared, run.listener), prepared)


def _published(run: Run, request: TrainRequest, selected: Callable[[], Selection], prepared: Prepared) -> Report:
    """Select and publish in the first process."""
    return processes.current().first(lambda: publish(run, selected(), prepared), lambda: open_report(request.output))


def _train_beside(request: TrainRequest, folder: Path, listener: Listener) -> Report:
    """Train a static model as a third ranker beside a retrieval model."""
    third_ranker.check(folder)
    with begin("train", request, listener, inputs=("base",), without=("sources",), attention=False) as run:
        if run.finished:
            return _finished(run, request)
        static = train(third_ranker.beside(request, run.workspace), listener)
        return processes.current().first(
            lambda: third_ranker.publish(run, request, folder, static), lambda: open_report(request.output)
        )


def train_variants(
    run: Run, request: TrainRequest, variants: Sequence[Choices], prepared: Prepared
) -> tuple[Encoder, list[Trained]]:
    """Train every variant, one after another, for the same number of steps.

    Args:
        run: the run.
        request: arguments of the run.
        variants: from ``build.variants``; at least one.
        prepared: the documents.

    Returns:
        The encoder before training, and the runs.

    Raises:
        PretrieveError: as ``train``.
    """
    steps: int | None = None
    start: Encoder | None = None
    trained: list[Trained] = []
    for variant in variants:
        made = _made(request, variant, prepared, run.listener, quiet=bool(trained))
        start = start or deepcopy(made.objective.encoder)
        made = _with_steps(run, request, variant, made, steps, len(variants))
        if steps is None:
            _say_coverage(made, variant, len(prepared.store), run.listener)
        steps = made.training.steps
        trained.append(_run_measured(run, request, variant, _with_command(made, request), prepared))
    assert start is not None
    lora.merge(start)
    return start, trained


def _made(
    request: TrainRequest, choices: Choices, prepared: Prepared, listener: Listener, *, quiet: bool = False
) -> Plan:
    """Build a variant's encoder, objective and batches; notes on them are the same for all variants."""
    encoder = planning.encoder_of(request, choices, prepared.store)
    warm.start_words(request, encoder, prepared.store, listener)
    made = planning.make(request, choices, prepared.store, encoder)
    if not Sharding.of(made.objective, made.training, Ranks.current()).full:
        devices.place(made.objective)  # after all weights are drawn on the CPU: they are the same on every device
    lora.check_adapted(made.objective)
    rate, chosen = made.training.learning_rate, "learning_rate" in choices.given_training
    adapters = lora.notes(made.objective, choices.encoder, learning_rate=rate, chosen=chosen)
    found = (*made.objective.notes, *_untied_note(made), *_decoder_note(made, prepared.store), *adapters)
    for note in found if not quiet else ():
        listener.note(note)
    return made


def _with_command(made: Plan, request: TrainRequest) -> Plan:
    """Record the command that repeats the run, now that the number of steps is known."""
    return replace(made, recipe=replace(made.recipe, command=train_command(request, made.training.steps)))


def _untied_note(made: Plan) -> list[str]:
    if made.encoder.query_encoder is None or getattr(made.objective, "query_encoder", None) is not None:
        return []
    return ["the base has untied encoders; only the document encoder is trained. Set encoders=untied to train both."]


def _decoder_note(made: Plan, store: Store) -> list[str]:
    if getattr(made.encoder, "pooling", "") != "lasttoken":
        return []
    end = made.encoder.specials.sep
    ends = "" if end is None else f", which is {store.tokenizer.backend.id_to_token(end)}"
    return [
        f"the base is a decoder: the vector of a text is that of its last token{ends}. Set pooling=mean to average."
    ]


def prepare_documents(run: Run, request: TrainRequest, choices: Choices, documents: Documents) -> Prepared:
    """Train or load the vocabulary, and tokenize all documents but those held out.

    Raises:
        PretrieveError: as ``train``.
    """
    select, held_out = data.split(len(documents), request.seed, request.held_out)

    def built() -> Store:
        vocabulary = _vocabulary(run, request, choices, documents, select)
        return store_of(
            documents, vocabulary, run.listener, folder=run.workspace / "store", shared=request.shared, select=select
        )

    store = processes.current().opened(built, Store.open)
    if store.dropped:
        run.listener.note(f"{store.dropped:,} documents have no token in their text and are left out of training.")
    return Prepared(documents=documents, train=select, held_out=held_out, store=store)


def _vocabulary(run: Run, request: TrainRequest, choices: Choices, documents: Documents, select: IntArray) -> Tokenizer:
    """The base's own tokenizer, or one trained on the documents."""
    if (folder := named_base(request.base)) is not None:
        return tokenizer.load(folder)
    if run.resume and (run.workspace / "store" / files.MANIFEST).is_file():
        return Store.open(run.workspace / "store").tokenizer
    if run.resume and (planned := store_shards.planned_tokenizer(run.workspace / "store")) is not None:
        return planned
    run.listener.stage("vocabulary", unit="entries")
    found = data.train_tokenizer(documents, select, choices.tokenization)
    run.listener.advance(found.specials.vocabulary)
    return found


def _with_steps(
    run: Run, request: TrainRequest, choices: Choices, made: Plan, known: int | None, variants: int
) -> Plan:
    """Set the number of steps: as given, as in an earlier part of the run, or as many as fit the minutes.

    Args:
        run: the run.
        request: arguments of the run.
        choices: the variant.
        made: its plan.
        known: steps of the earlier variants.
        variants: number of variants that share the minutes.
    """
    path = run.workspace / choices.variant / _RECIPE
    known_recipe = processes.current().of_first(lambda: run.resume and path.is_file())
    before = recipe.load(path) if known_recipe else None
    steps = made.training.steps
    if request.steps is None and before is not None:
        steps = int(before.training["steps"])
    elif known is not None:
        steps = known
    elif request.steps is None and "steps" not in choices.given_training:
        steps = _affordable(request, choices, made, run.listener, variants)
    made = replace(
        made,
        training=replace(made.training, steps=steps),
        recipe=replace(made.recipe, training={**made.recipe.training, "steps": steps}),
    )
    _warn_of_noise(made, run.listener)
    if before is not None:
        made.recipe.check_same(before)
    processes.current().alone(lambda: files.write_file(path, files.to_json(made.recipe.to_json())))
    return made


def _affordable(request: TrainRequest, choices: Choices, made: Plan, listener: Listener, variants: int) -> int:
    """Steps that fit the minutes, at most those of the preset where it fixes them."""
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


def _say_coverage(made: Plan, choices: Choices, documents: int, listener: Listener) -> None:
    """Note that a run of fixed length sees only a part of a large collection."""
    pairs = made.training.steps * made.training.batch_size
    if choices.fixed_length and pairs < documents:
        listener.note(
            f"{made.training.steps} steps of {made.training.batch_size} see {pairs:,} of {documents:,} documents; "
            "--steps sets another number."
        )


def _warn_of_noise(made: Plan, listener: Listener) -> None:
    """Note that a run is too short for its queue, whose first negatives are random vectors."""
    queue, keys = int(made.recipe.options.get("queue", 0)), made.training.steps * made.training.batch_size
    if made.recipe.options.get("loss") == "moco" and keys < 2 * queue:
        listener.note(
            f"the queue holds {queue:,} keys and this run makes {keys:,}: most negatives are noise. "
            f"Set a smaller queue (a multiple of batch_size={made.training.batch_size}), or take contriever-inbatch."
        )


def _run_measured(run: Run, request: TrainRequest, choices: Choices, made: Plan, prepared: Prepared) -> Trained:
    """Train a variant, and measure the method's own loss on held-out documents before and after."""
    folder, compared = run.workspace / choices.variant, comparable(choices, made)
    every = made.training.evaluate_every
    name, signal = choices.variant or made.recipe.method, None
    if compared or every:
        signal = processes.current().alone(
            lambda: signal_of(folder, choices, made, prepared, run.listener, shared=request.shared)
        )
    before = signal(made.objective) if signal is not None and compared else {}
    held_out = partial(signal.loss, made.objective) if signal is not None and every else None
    fit(run, replace(_training(request, choices, made), held_out=held_out))
    if not processes.current().leads:
        return Trained(name=name, plan=made)
    factor = choices.encoder.stop_word_scale
    scale_stop_words(made.objective.encoder, prepared.store.tokenizer, prepared.documents, factor)
    found = gain(signal, before, made.objective) if signal is not None and compared else None
    return Trained(name=name, plan=made, gain=found)


def _training(request: TrainRequest, choices: Choices, made: Plan) -> Training:
    """The training of a variant, for ``fit``."""
    parts = {"options": made.recipe.options, "training": made.recipe.training, "encoder": made.recipe.encoder}
    name = f"{made.recipe.method}: {choices.variant}" if choices.variant else made.recipe.method
    return Training(
        name=f"train {name}",
        objective=made.objective,
        batches=made.batches,
        options=made.training,
        seed=request.seed,
        fingerprints={
            "corpus": made.recipe.corpus,
            "tokenizer": made.recipe.tokenizer,
            "recipe": made.recipe.fingerprint,
        },
        part=choices.variant,
        tracker=request.tracker,
        values={f"{part}.{key}": value for part, values in parts.items() for key, value in values.items()},
    )
