"""The workflow of ``pretrieve finetune``: labels and a starting model in, a fine-tuned retriever out."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import files
from pretrieve.core.config import options_of
from pretrieve.core.errors import ExtensionError, UsageError
from pretrieve.core.extensions import place
from pretrieve.core.rng import shuffled
from pretrieve.core.types import IntArray, TextEncoder
from pretrieve.finetuning.contrastive import Contrastive
from pretrieve.finetuning.labelled import Labelled
from pretrieve.models import lora
from pretrieve.models.bag import Bag
from pretrieve.models.export import save_model
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.finetune import negatives as strategies
from pretrieve.pipeline.finetune.base_model import Start, open_start
from pretrieve.pipeline.finetune.card import finetuned_card
from pretrieve.pipeline.finetune.held_out_queries import evaluate_finetuned
from pretrieve.pipeline.finetune.label_report import LabelReport
from pretrieve.pipeline.finetune.read_labels import LabelSource, read_and_report
from pretrieve.pipeline.finetune.report import MODEL, REPORT, FinetuneReport, open_report
from pretrieve.pipeline.finetune.request import FinetuneRequest, Values, values_of
from pretrieve.pipeline.finetune.sampler import sampler_of
from pretrieve.pipeline.finetune.task import Task, contrastive
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.arguments import output_of, path_of
from pretrieve.pipeline.run.fit import Training, fit
from pretrieve.pipeline.run.memory_labels import labels_of
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.run import Run, begin
from pretrieve.pipeline.run.settings import precision_set
from pretrieve.pipeline.run.training_queries import TrainingQueries, write_training_queries
from pretrieve.pipeline.run.usage_warnings import before_use
from pretrieve.pipeline.run.workspace import beside
from pretrieve.sampling.batches import Batches
from pretrieve.sampling.labels import Labels
from pretrieve.text.named import is_named
from pretrieve.training.held_out import held_out

HELD_OUT_SHARE, HELD_OUT_MOST, FEWEST = 0.1, 500, 200  # fraction and bounds of held-out queries; none below the last
_HELD_OUT_BATCHES = 8  # maximum number of queries for the held-out loss


def finetune(request: FinetuneRequest, listener: Listener | None = None, *, evaluate: bool = True) -> FinetuneReport:
    """Fine-tune a model on labels, evaluate it on held-out queries, and save it as a stock model.

    Args:
        request: arguments of the run.
        listener: receives progress.
        evaluate: hold queries out, and evaluate start and model on them.

    Raises:
        PretrieveError: any error that a user can fix: labels, model, options, disk, an interrupted or diverged run.
    """
    listener = listener or Silent()
    for line in before_use(request.model, request.described):
        listener.note(line)
    return _finetune(request, listener, hold_out=evaluate, evaluate=evaluate)


def finetune_for(
    labels: object, output: str | Path | None, values: Mapping[str, Any], options: Mapping[str, Any], listener: Listener
) -> str:
    """The same for ``Retriever``.

    Args:
        labels: a path, or records in memory.
        output: folder for the model; a temporary one if None.
        values: arguments of ``FinetuneRequest`` that the retriever gives.
        options: others, of the user.
        listener: receives progress.

    Returns:
        The model's folder.

    Raises:
        UsageError: an argument does not fit, or the retriever gives it.
        PretrieveError: as ``finetune``.
    """
    named = values["negatives_file"]
    own = {**values, "negatives_file": None if named is None else path_of(named, "negatives_file")}
    if twice := options.keys() & {*own, "labels", "output"}:
        raise UsageError(f"finetune: {', '.join(sorted(twice))} is given by this retriever; leave it out.")
    with output_of(output) as folder:
        given = {**options, **own, "labels": folder, "output": folder}
        request = options_of(FinetuneRequest, given, where="finetune")
        with labels_of(labels) as path:
            finetune(replace(request, labels=path, negatives=own["negatives"]), listener)  # "none" is a name here
    return str(folder)


def _finetune(
    request: FinetuneRequest, listener: Listener, *, hold_out: bool, evaluate: bool, first: bool = False
) -> FinetuneReport:
    """Fine-tune; a model that only mines negatives is not evaluated, but does not see held-out queries either."""
    request.check()
    with begin(
        "finetune",
        request,
        listener,
        inputs=("model", "negatives_file"),
        without=("labels", "documents"),
        precision=precision_set(request.settings),
        attention=not Bag.readable(Path(request.model)),
    ) as run:
        start = open_start(request.model, request.described, seed=request.seed)
        labels, found = _read(run, request, Silent() if first else run.listener)
        run.same_data("labels", labels.fingerprint)
        learn, held_out = _divide(len(labels), request, hold_out=hold_out)
        held, labels = labels.select(held_out), labels.select(learn)
        negatives = request.negatives or _usual(request, labels)
        if not first:
            _say_negatives(request, negatives, labels, run.listener)
        strategy = strategies.find(negatives)
        untied = start.query_encoder is not None
        values = values_of(request, negatives, width=start.width, queries=len(labels), untied=untied)
        processes.current().check_batch(values.training.batch_size)
        run.same("values", values.to_json())
        if run.finished:
            run.say_finished()
            return open_report(request.output)
        _check_scores(request, values, strategy, labels)

        def first_model(file: Path) -> TextEncoder:
            return _first_model(run, request, file, hold_out=hold_out)

        task = Task(run=run, request=request, values=values, labels=labels, first_model=first_model)
        labels = _with_negatives(strategy, task)
        objective = _trained(run, request, values, labels, held, start)
        return processes.current().first(
            lambda: _publish(run, request, values, objective, start, labels, held, found, evaluate=evaluate),
            lambda: open_report(request.output),
        )


def _read(run: Run, request: FinetuneRequest, listener: Listener) -> tuple[Labels, LabelReport]:
    """Read the labels in the first process, and then in every other one, which writes to a folder of its own."""
    source = _source(request)

    def again() -> tuple[Labels, LabelReport]:
        folder = Path(tempfile.mkdtemp(prefix="pretrieve-labels-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        on_bad = "skip" if source.on_bad == "quarantine" else source.on_bad
        return read_and_report(replace(source, on_bad=on_bad), folder / "records", listener)

    return processes.current().first(lambda: read_and_report(source, run.workspace / "records", listener), again)


def _publish(
    run: Run,
    request: FinetuneRequest,
    values: Values,
    objective: Contrastive,
    start: Start,
    labels: Labels,
    held: Labels,
    found: LabelReport,
    *,
    evaluate: bool,
) -> FinetuneReport:
    """Evaluate the model on the held-out queries, and publish it with its recipe, report and card."""
    meta: dict[str, Any] = {"recipe": files.fingerprint(values.to_json()), "weight": None}
    with run.publishing(MODEL, meta) as folder:
        _save(folder, objective, start)
        report = FinetuneReport(
            values=values.to_json(),
            queries={"trained_on": len(labels), "held_out": len(held)},
            documents=labels.size,
            negatives=len(labels.negatives.tokens),
            evaluation=evaluate_finetuned(request, folder.path, held, run.listener) if evaluate and len(held) else None,
            labels={**found.to_json(), **_trained_with(values, labels)},
            device=run.device,
        )
        folder.json(REPORT, report.to_json())
        folder.json("recipe.json", {"model": request.model, "command": request.command(), **values.to_json()})
        own = TrainingQueries.of(request.labels, request.split, labels.texts(), held.texts())
        write_training_queries(folder, request.model, own)
        folder.write("README.md", finetuned_card(request, report.to_json()).encode())
        meta["weight"] = report.evaluation["weights"]["model"] if report.evaluation else None
    return report


def _source(request: FinetuneRequest) -> LabelSource:
    """Where the labels of a run are, and how they are read."""
    return LabelSource(
        path=request.labels,
        split=request.split,
        documents=request.documents,
        on_bad=request.on_bad,
        quarantine=beside(request.output, ".quarantine.jsonl"),
    )


def _divide(count: int, request: FinetuneRequest, *, hold_out: bool) -> tuple[IntArray, IntArray]:
    """Queries to train on and held-out queries; a smaller limit takes the first of a larger one."""
    order = shuffled(np.arange(count), count, request.seed, "labels")
    held = min(HELD_OUT_MOST, int(count * HELD_OUT_SHARE)) if hold_out and count >= FEWEST else 0
    return order[held:][: request.limit], np.sort(order[:held])


def _usual(request: FinetuneRequest, labels: Labels) -> str:
    """The negatives of a file, if it has any; those of a folder, if most of its queries have some."""
    enough = 2 * _with_some(labels) > len(labels) if _is_folder(request.labels) else _with_some(labels) > 0
    return "given" if enough or request.negatives_file is not None else "bm25"


def _is_folder(labels: Path) -> bool:
    """Whether labels are of a BEIR folder, or of a named collection, which is read as one."""
    return labels.is_dir() or is_named(str(labels))


def _with_some(labels: Labels) -> int:
    """Number of queries with negatives."""
    return int((labels.negatives.lengths > 0).sum())


def _trained_with(values: Values, labels: Labels) -> dict[str, int]:
    """Number of training queries with negatives, where the strategy finds them before training."""
    before = values.draw.negatives and not hasattr(strategies.find(values.negatives), "objective")
    return {"trained_with_negatives": _with_some(labels)} if before else {}


def _say_negatives(request: FinetuneRequest, negatives: str, labels: Labels, listener: Listener) -> None:
    """Report negatives of the labels that are not used, and queries that have none."""
    some = _with_some(labels)
    if not some or request.negatives_file is not None:
        return
    if negatives != "given":
        listener.note(
            f"negatives: {negatives}; the labels have some for {some:,} of {len(labels):,} queries, not used."
        )
    elif some < len(labels):
        listener.note(
            f"negatives: given; {len(labels) - some:,} of {len(labels):,} queries have none, and get random documents. "
            "--negatives bm25 mines some for all."
        )


def _check_scores(request: FinetuneRequest, values: Values, strategy: strategies.Strategy, labels: Labels) -> None:
    """Refuse a loss on a teacher's scores where the labels have none; mined negatives have no scores."""
    brought = labels.teacher if getattr(strategy, "SCORED", False) and request.negatives_file is None else None
    known = brought is not None and all(np.isfinite(side).any() for side in brought)
    if values.loss.loss != "softmax" and not hasattr(strategy, "objective") and not known:
        raise UsageError(
            f"loss={values.loss.loss} needs a teacher's scores of positives and negatives: positive_scores and "
            "negative_scores in the labels, with --negatives given."
        )


def _with_negatives(strategy: strategies.Strategy, task: Task) -> Labels:
    """The labels with the negatives of a strategy."""
    labels = strategy.find(task)
    if not isinstance(labels, Labels) or len(labels) != len(task.labels):
        raise ExtensionError(f"{place(strategy.find)}: find has to give the labels of its task, with negatives.")
    return labels


def _first_model(run: Run, request: FinetuneRequest, file: Path, *, hold_out: bool) -> TextEncoder:
    """A model of the same labels and values with the negatives of a file; it is not evaluated."""
    output = run.workspace / "first"
    first = replace(request, output=output, negatives="given", negatives_file=file, overwrite=False, resume=True)
    first = replace(first, on_bad="skip" if request.on_bad == "quarantine" else request.on_bad)
    _finetune(first, run.listener, hold_out=hold_out, evaluate=False, first=True)
    return open_encoder(str(output))


def _trained(
    run: Run, request: FinetuneRequest, values: Values, labels: Labels, held: Labels, start: Start
) -> Contrastive:
    """Train from the start, or resume."""
    sampler = sampler_of(labels, start, values.draw, run.workspace / "store", run.listener, shared=request.shared)
    for number, encoder in enumerate((start.documents, start.query_encoder)):
        if encoder is not None:
            lora.adapt(encoder, values.encoder, request.seed, f"lora-{number}")
    make = getattr(strategies.find(values.negatives), "objective", contrastive)
    objective: Contrastive = make(start, values, sampler, request.seed)
    chosen = any(name.rpartition(".")[2] == "learning_rate" for name in request.settings)
    rate = values.training.learning_rate
    for line in lora.notes(objective, values.encoder, learning_rate=rate, chosen=chosen):
        run.listener.note(line)
    training = Training(
        name="finetune",
        objective=objective,
        batches=Batches(sampler=sampler, batch_size=values.training.batch_size, seed=request.seed),
        options=values.training,
        seed=request.seed,
        fingerprints={"labels": labels.fingerprint, "start": start.fingerprint},
        tracker=request.tracker,
        values=asdict(values.training),
        figures=("accuracy",),
        held_out=_held_out_loss(objective, sampler, held, values, request.seed),
    )
    fit(run, training)
    return objective


def _held_out_loss(
    objective: Contrastive, sampler: Labelled, held: Labels, values: Values, seed: int
) -> Callable[[], float] | None:
    """The loss of the encoders on held-out queries, against each other's documents; None without any."""
    if not len(held):
        return None
    held_sampler = sampler.of(held, negatives=0)
    options = replace(values.loss, loss="softmax")
    measured = Contrastive(objective.encoder, options, held_sampler.positive, objective.query_encoder)
    size = min(values.training.batch_size, len(held))
    batches = Batches(sampler=held_sampler, batch_size=size, seed=seed)
    steps = range(min(_HELD_OUT_BATCHES, len(held) // size))
    return lambda: held_out(measured, batches, steps)["loss"]


def _save(folder: files.Folder, objective: Contrastive, start: Start) -> None:
    queries, shorter = objective.query_encoder, start.longest_query < objective.encoder.max_length
    if queries is not None:
        queries.max_length = min(queries.max_length, start.longest_query)
    save_model(
        folder,
        objective.encoder if queries is None else queries,
        start.tokenizer,
        prompts={"query": start.prompts[0], "document": start.prompts[1]},
        separator=start.separator,
        documents=None if queries is None else objective.encoder,
        query_length=start.longest_query if shorter and queries is None else None,
    )
