"""The workflow of ``pretrieve read``: documents, questions and a retriever in; retriever and reader out."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import safetensors.torch

from pretrieve.core import files
from pretrieve.core.config import Value, options_of
from pretrieve.core.errors import UsageError
from pretrieve.core.rng import shuffled
from pretrieve.finetuning.open_qa import Answers, OpenQuestionAnswering, ReadingOptions
from pretrieve.models import devices
from pretrieve.models.encoder import Encoder
from pretrieve.models.export import save_model
from pretrieve.models.heads import HEADS, Projected
from pretrieve.models.pretrained import resolve
from pretrieve.models.restore import load_encoder, load_encoders
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.pipeline.qa.request import ReadRequest
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.fit import Training, fit
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.run import Run, begin
from pretrieve.pipeline.run.settings import sort_settings
from pretrieve.pipeline.run.sources import DOCUMENTS, read_request
from pretrieve.pipeline.run.tokens import store_of
from pretrieve.pipeline.run.workspace import beside
from pretrieve.sampling.batches import Batches
from pretrieve.sampling.question_files import Question, QuestionReport, read_questions
from pretrieve.sampling.questions import QuestionRows, SomeQuestions
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.documents import Documents
from pretrieve.text.tokenizer import Tokenizer
from pretrieve.training.held_out import held_out
from pretrieve.training.options import TrainingOptions
from pretrieve.training.ranks import Ranks

KIND, RETRIEVER, READER, VECTORS = "reader", "retriever", "reader", "vectors"
STORE, REPORT = "store", "report.json"
EPOCHS = 20
_HELD_OUT_MOST, _HELD_OUT_BATCHES = 200, 32  # maximum number of held-out questions and batches, for the held-out loss
LONGEST_QUESTION = 64  # tokens; ORQA cuts none

TRAINING: Mapping[str, Value] = {
    "batch_size": Value(1, "code", "orqa/experiments/orqa_experiment.py"),
    "learning_rate": Value(1e-5, "code", "orqa/experiments/orqa_experiment.py; small models want 1e-4 to 1e-3"),
    "warmup": Value(0.1, "code", "min(10000, max(100, steps / 10)) steps"),
    "schedule": Value("linear", "code", "BERT's optimizer"),
    "beta1": Value(0.9, "code", "BERT's optimizer"),
    "beta2": Value(0.999, "code", "BERT's optimizer"),
    "epsilon": Value(1e-6, "code", "BERT's optimizer"),
    "weight_decay": Value(0.01, "code", "BERT's optimizer"),
    "clip": Value(1.0, "code", "BERT's optimizer"),
}


def train_reader(request: ReadRequest, listener: Listener | None = None) -> dict[str, Any]:
    """Fine-tune a retriever's question encoder and a reader together; the vectors of the blocks are fixed.

    Returns:
        The report, as saved in ``report.json``.

    Raises:
        UsageError: options or models do not fit, the output is taken, or no answer occurs in the documents.
        PretrieveError: any other error that a user can fix: files, the disk, an interrupted run.
    """
    listener = listener or Silent()
    request.check()
    questions = _questions(request, listener)
    options, training = _options(request, len(questions))
    processes.current().check_batch(training.batch_size)
    encoders, reader, vocabulary = open_models(resolve(request.model), request.reader, request.seed)
    inputs = ("questions", "model", "reader")
    with begin("read", request, listener, inputs=inputs, without=("sources",), precision=training.precision) as run:
        for part in (*encoders, reader):
            devices.place(part)
        run.same("values", {"options": dataclasses.asdict(options), "training": training.facts()})
        documents = _documents(run, request)
        if run.finished:
            run.say_finished()
            return open_report(request.output)
        store = store_of(documents, vocabulary, run.listener, folder=run.workspace / STORE)
        run.listener.stage("index blocks", unit="blocks")
        sampler = QuestionRows(
            questions, vocabulary, encoders[0].specials, min(LONGEST_QUESTION, encoders[0].max_length)
        )
        answers = Answers(questions, vocabulary, store)
        objective = OpenQuestionAnswering(
            encoders, reader, store, sampler, answers, options, request.seed, together=Ranks.current()
        )
        run.listener.advance(len(objective.search_blocks))
        found = sum(len(answers.held(number, objective.search_blocks)) > 0 for number in range(len(questions)))
        if not found:
            raise UsageError(f"no answer of {request.questions} occurs in the documents: there is nothing to train on.")
        report = {
            "model": request.model,
            "options": dataclasses.asdict(options),
            "training": training.facts(),
            "seed": request.seed,
            "questions": {"read": len(questions), "answered_in_documents": found},
            "documents": len(documents),
            "blocks": len(objective.search_blocks),
            "device": run.device,
        }
        fingerprints = {
            "corpus": documents.fingerprint,
            "tokenizer": vocabulary.fingerprint,
            "questions": sampler.fingerprint,
            "recipe": files.fingerprint([report["options"], report["training"], report["seed"]]),
        }
        report["last_step"] = fit(run, _training(request, objective, sampler, training, fingerprints))
        processes.current().alone(lambda: _publish(run, objective, vocabulary, report))
    return report


def _questions(request: ReadRequest, listener: Listener) -> list[Question]:
    """The questions of a request; what is not used of their file is told."""
    report, quarantine = QuestionReport(), beside(request.output, ".questions.quarantine.jsonl")
    leads, on_bad = processes.current().leads, request.on_bad
    if on_bad == "quarantine" and not leads:
        on_bad = "skip"
    found = read_questions(request.questions, on_bad=on_bad, quarantine=quarantine, report=report)
    for line in report.lines(request.questions) if leads else ():
        listener.note(line)
    return found


def open_models(
    folder: Path, reader: str | None, seed: int = 0
) -> tuple[tuple[Encoder, Encoder], TransformerEncoder, Tokenizer]:
    """Load a retriever's two encoders, the reader's transformer, and the tokenizer of all three.

    Args:
        folder: the retriever.
        reader: folder or hub name of the reader's starting model; None: a copy of the retriever's transformer.
        seed: seed of weights that a checkpoint lacks.

    Raises:
        UsageError: there is no transformer to read with, or its tokenizer is another one.
        CorruptError: weights are damaged.
    """
    encoders = load_encoders(folder)
    inner = _transformer_of(encoders[1])
    vocabulary = tokenizers.load(inner.source if inner is not None and inner.source is not None else folder)
    if reader is None:
        if inner is None:
            raise UsageError(
                f"{folder} is not a transformer, so it cannot be a reader: start from one, such as a model of orqa-ict."
            )
        return encoders, _whole(deepcopy(inner)), vocabulary
    found = _transformer_of(load_encoder(resolve(reader), seed=seed))
    if found is None:
        raise UsageError(f"{reader} is not a transformer, so it cannot be a reader: give another --reader.")
    assert found.source is not None
    if tokenizers.load(found.source).fingerprint != vocabulary.fingerprint:
        raise UsageError(
            f"{reader} and {folder} have other vocabularies: give a reader with the retriever's tokenizer."
        )
    return encoders, _whole(found), vocabulary


def _transformer_of(encoder: Encoder) -> TransformerEncoder | None:
    inner = encoder.encoder if isinstance(encoder, Projected) else encoder
    return inner if isinstance(inner, TransformerEncoder) else None


def _whole(reader: TransformerEncoder) -> TransformerEncoder:
    """All weights of a transformer are trained, except the unused pooler."""
    reader.requires_grad_(True)
    pooler = getattr(reader.model, "pooler", None)
    if pooler is not None:
        pooler.requires_grad_(False)
    return reader


def _options(request: ReadRequest, questions: int) -> tuple[ReadingOptions, TrainingOptions]:
    own = sort_settings(request.settings, {"reading": ReadingOptions, "training": TrainingOptions})
    training = {name: value.value for name, value in TRAINING.items()} | own["training"]
    if request.steps is not None:
        training["steps"] = request.steps
    elif "steps" not in own["training"]:
        size = options_of(TrainingOptions, training).batch_size
        training["steps"] = math.ceil(EPOCHS * questions / size)
    return options_of(ReadingOptions, own["reading"]), options_of(TrainingOptions, training)


def _documents(run: Run, request: ReadRequest) -> Documents:
    """Documents, which are moved to the output to answer from; those of a finished run are only compared."""
    documents = processes.current().opened(
        lambda: read_request(request, run.workspace / DOCUMENTS, run.listener), Documents.open
    )
    run.same_data("documents", documents.fingerprint)
    return documents


def _training(
    request: ReadRequest,
    objective: OpenQuestionAnswering,
    sampler: QuestionRows,
    training: TrainingOptions,
    fingerprints: Mapping[str, str],
) -> Training:
    """The training, for ``fit``; a tenth of the questions is held out if the held-out loss is measured."""
    count = len(sampler.bare)
    held = min(_HELD_OUT_MOST, count // 10) if training.evaluate_every else 0
    order = shuffled(np.arange(count), count, request.seed, "questions")
    learn = SomeQuestions(sampler, np.sort(order[held:])) if held else sampler
    return Training(
        name="train reader",
        objective=objective,
        batches=Batches(sampler=learn, batch_size=training.batch_size, seed=request.seed),
        options=training,
        seed=request.seed,
        fingerprints=fingerprints,
        tracker=request.tracker,
        values=dataclasses.asdict(training),
        figures=("exact_span",),
        held_out=_held_out_loss(objective, SomeQuestions(sampler, np.sort(order[:held])), held, request)
        if held
        else None,
    )


def _held_out_loss(
    objective: OpenQuestionAnswering, sampler: SomeQuestions, count: int, request: ReadRequest
) -> Callable[[], float]:
    """The loss on held-out questions."""
    batches = Batches(sampler=sampler, batch_size=1, seed=request.seed)
    steps = range(min(_HELD_OUT_BATCHES, count))
    return lambda: held_out(objective, batches, steps)["loss"]


def _publish(run: Run, objective: OpenQuestionAnswering, vocabulary: Tokenizer, report: Mapping[str, Any]) -> None:
    """Write retriever and reader, with the documents and tokens to answer from."""
    with run.publishing(KIND, {"options": report["options"], "seed": report["seed"]}) as whole:
        with files.create(whole.path / RETRIEVER, "model") as folder:
            save_model(folder, objective.query_encoder, vocabulary, documents=objective.encoder)
        with files.create(whole.path / READER, "model") as folder:
            save_model(folder, objective.reader, vocabulary)
            heads = {f"spans.{name}": values.detach().cpu() for name, values in objective.spans.state_dict().items()}
            folder.write(HEADS, safetensors.torch.save(heads))
        whole.array(VECTORS, objective.vectors.cpu().numpy())
        whole.json(REPORT, report)
        for name in (DOCUMENTS, STORE):
            files.put(run.workspace / name, whole.path / name)


def open_report(output: Path) -> dict[str, Any]:
    """Read the report of a finished run.

    Raises:
        UsageError: there is no finished reader.
        CorruptError: it is damaged.
    """
    files.read_manifest(output, KIND)
    report: dict[str, Any] = orjson.loads((output / REPORT).read_bytes())
    return report
