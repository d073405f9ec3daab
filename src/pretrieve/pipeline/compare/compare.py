"""The workflow of ``pretrieve compare``: every method from one base, on the same documents, tokens and seeds.

Each model is evaluated as it is, and after fine-tuning with few and with all labels; BM25 and the untrained base are
baselines. Finished parts are saved, so an interrupted comparison resumes, and methods, labels and seeds can be added
later. Several processes that run the same command share the work.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core import files
from pretrieve.core.config import options_of as values_of
from pretrieve.core.errors import DataError, LockedError, LostRankError, UsageError
from pretrieve.core.extras import install_command, is_installed
from pretrieve.evaluation.fair import FairTable
from pretrieve.models.devices import using
from pretrieve.pipeline.compare.base_model import save_base
from pretrieve.pipeline.compare.evaluator import Evaluator, Scores, model_name
from pretrieve.pipeline.compare.report import note_on_rankings, report
from pretrieve.pipeline.compare.request import FORERUNNERS, NONE, CompareRequest, options_of
from pretrieve.pipeline.finetune.finetune import finetune
from pretrieve.pipeline.finetune.mine import MineOptions, mine_source
from pretrieve.pipeline.finetune.request import FinetuneRequest
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain.data import split
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.arguments import names_of, path_of
from pretrieve.pipeline.run.memory_sources import SOURCE, sources_of
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.run import saying_device
from pretrieve.pipeline.run.sources import DOCUMENTS
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.tokens import store_of
from pretrieve.pipeline.run.workspace import hold_parts
from pretrieve.text import tokenizer
from pretrieve.text.beir import read_qrels
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.training.signals import StoppedError

_FEWEST = 20  # steps of training below which a warning is given
_ADVICE = "finished parts are saved; run the same command again to resume"
_PAUSE = 0.2  # seconds between two tries of a part that another process holds


def compare(request: CompareRequest, listener: Listener | None = None) -> Scores:
    """Train, fine-tune and evaluate everything that is missing.

    Args:
        request: arguments of the comparison.
        listener: receives progress.

    Returns:
        A score of every system: method, seed, labels (None: not fine-tuned), mode, values by query, seconds.

    Raises:
        PretrieveError: any error that a user can fix.
    """
    try:
        listener = listener or Silent()
        with using(request.device), stoppable(_ADVICE), saying_device(listener, attention=request.base != "static"):
            return _compare(request, listener)
    except (StoppedError, LostRankError) as error:
        raise error.advising(_ADVICE) from None


def compare_into(
    output: str | Path, sources: object, methods: Sequence[str], benchmark: str | Path, options: Mapping[str, Any],
    listener: Listener,
) -> FairTable:  # fmt: skip
    """The same for ``Retriever``, with its table.

    Args:
        output: folder for models, scores and report.
        sources: sources, or documents in memory.
        methods: presets.
        benchmark: BEIR folder.
        options: other arguments of ``CompareRequest`` by name.
        listener: receives progress.

    Raises:
        PretrieveError: as ``compare``.
    """
    folder, names = path_of(output, "output"), names_of(methods, "methods")
    given = {"sources": (SOURCE,), "methods": names, "benchmark": path_of(benchmark, "benchmark"), "output": folder}
    request = values_of(CompareRequest, {**options, **given}, where="compare")
    request.check()
    with sources_of(sources, listener, output=folder, on_bad=request.on_bad, fields=request.fields) as named:
        request = replace(request, sources=named)
        scores = compare(request, listener)
        return report(request, processes.current().of_first(lambda: scores))


def _compare(request: CompareRequest, listener: Listener) -> Scores:
    request.check()
    listener = listener if processes.current().leads else Silent()
    if processes.current().world > 1:
        _check_batches(request)
    request = _with_what_there_is(request, listener)
    if not is_installed("matplotlib"):
        listener.note(f"there will be no picture: {install_command('pictures')} first, if it is wanted.")
    evaluator = Evaluator(request, listener)
    processes.current().alone(lambda: _prepare(request, evaluator, listener))
    parts = [(method, seed) for seed in range(request.seeds) for method in request.methods]
    _share(request, parts, lambda method, seed: _part(request, evaluator, method, seed, listener), listener)
    scores: Scores = processes.current().first(
        lambda: [
            *evaluator.lexical(),
            *(score for part in parts for score in _part(request, evaluator, *part, listener)),
        ],
        list,
    )
    note_on_rankings(request, scores, listener)
    return scores


def _prepare(request: CompareRequest, evaluator: Evaluator, listener: Listener) -> None:
    """Record the comparison, and make what all its parts use."""
    with hold_parts(request.output, wait=True):
        request.begin()
        evaluator.lexical()
        _pretrained(request, NONE, 0, listener)
        _rehearse(request, listener)
        if request.finetune and request.labels and request.negatives == "bm25":
            _negatives(request, listener)


def _check_batches(request: CompareRequest) -> None:
    """Check that the batches of all methods divide by the processes."""
    for method in request.methods:
        if method != NONE:
            choices = planning.choose(_request(request, method, 0, Path(request.base), request.output))
            processes.current().check_batch(choices.training.batch_size)


def _with_what_there_is(request: CompareRequest, listener: Listener) -> CompareRequest:
    """Replace numbers of labels above the available ones, which would all mean "all labels"."""
    if not request.finetune or not request.labels:
        return request
    grades = read_qrels(request.benchmark, request.finetune).values()
    count = sum(any(grade > 0 for grade in found.values()) for found in grades)
    for number in (number for number in request.labels if number >= count):
        listener.note(f"{number:,} labels: split {request.finetune!r} has {count:,} labelled queries; all are used.")
    labels = dict.fromkeys(0 if number >= count else number for number in request.labels)
    return replace(request, labels=tuple(labels))


def _share(
    request: CompareRequest, parts: list[tuple[str, int]], work: Callable[[str, int], object], listener: Listener
) -> None:
    """Compute every part that no other process holds, until all are done."""
    while parts:
        left = []
        for method, seed in parts:
            with contextlib.ExitStack() as held:
                if _held(request.place("locks", method, seed), held):
                    work(method, seed)
                else:
                    left.append((method, seed))
        if len(left) == len(parts):
            processes.current().alone(lambda: _wait(request, left, listener))  # noqa: B023 - called at once
        parts = left


def _held(place: Path, held: contextlib.ExitStack) -> bool:
    """Hold the lock of a part in the first process, unless the processes of another command hold it."""

    def hold() -> bool:
        try:
            held.enter_context(files.lock(place))
        except LockedError:
            return False
        return True

    return processes.current().of_first(hold)


def _wait(request: CompareRequest, left: list[tuple[str, int]], listener: Listener) -> None:
    """Wait until one of the parts is released."""
    listener.note("waiting for other processes: " + "; ".join(f"{part[0]}, seed {part[1]}" for part in left))
    with files.lock(request.place("locks", *left[0]), wait=True):
        time.sleep(_PAUSE)


def _part(request: CompareRequest, evaluator: Evaluator, method: str, seed: int, listener: Listener) -> Scores:
    """The scores of a method with one seed at all stages; finished ones are read from disk."""
    model = _pretrained(request, method, seed, listener)
    found = evaluator.scores(model, method, seed, None)
    for labels in request.labels if request.finetune else ():
        found += evaluator.scores(_tuned(request, model, method, seed, labels, listener), method, seed, labels)
    return found


def _pretrained(request: CompareRequest, method: str, seed: int, listener: Listener, *, after: str = "") -> Path:
    """Folder of a method's model; of the base for ``none``.

    With ``after``, a method that starts from this one: the two share the budget, so that both get half of what this one
    gets where it is compared itself.
    """
    target = request.place("runs", *model_name(method, after), seed)
    base = request.place("runs", NONE, seed)
    if method == NONE:
        processes.current().alone(lambda: _base(request, seed, target, listener))
    if _there(target):
        return target
    _pretrained(request, NONE, seed, listener)
    forerunner = FORERUNNERS.get(method)
    origin = _pretrained(request, forerunner, seed, listener, after=method) if forerunner else base
    train_request = _request(request, method, seed, origin, target)
    listener.note(f"{method}, seed {seed}")
    seen = processes.current().of_first(lambda: _seen(train_request, base))
    train_request = replace(train_request, steps=_steps(request, seen, 2 if forerunner or after else 1))
    spent = request.place("costs", *model_name(method, after), f"{seed}.json")
    before = orjson.loads(spent.read_bytes())["seconds"] if spent.is_file() else 0.0
    began = time.perf_counter()
    try:
        train(train_request, listener)
    finally:  # includes the time before an interruption
        seconds = round(before + time.perf_counter() - began, 1)
        cost = {"seconds": seconds, "steps": train_request.steps, "tokens": round(seen * (train_request.steps or 0))}
        if processes.current().leads:
            files.write_file(spent, files.to_json(cost))
    return target


def _there(target: Path) -> bool:
    """Whether a model is finished, as the first process sees it."""
    return processes.current().of_first((target / files.MANIFEST).is_file)


def _base(request: CompareRequest, seed: int, target: Path, listener: Listener) -> None:
    """Save the base, if it is not there."""
    if not (target / files.MANIFEST).is_file():
        with files.lock(request.place("locks", "base", seed), wait=True):
            if not (target / files.MANIFEST).is_file():
                save_base(_base_request(request, seed, target), listener)


def _base_request(request: CompareRequest, seed: int, target: Path) -> TrainRequest:
    """The base as a run of its own."""
    return TrainRequest(
        output=target, base=request.base, settings=request.own(NONE), seed=seed, resume=True, **_reading(request)
    )


def _request(request: CompareRequest, method: str, seed: int, origin: Path, target: Path) -> TrainRequest:
    """The request of a method's run, without its number of steps."""
    return TrainRequest(
        output=target,
        method=method,
        base=str(origin),
        settings={"save_every": 0, **request.own(method)},
        seed=seed,
        resume=True,
        tracker="none",
        select=False,
        steps=1,
        **_reading(request),
    )


def _reading(request: CompareRequest) -> dict[str, Any]:
    """How every run reads the documents of the comparison."""
    names = ("sources", "on_bad", "file_filter", "fields", "shared")
    return {name: getattr(request, name) for name in names}


def _rehearse(request: CompareRequest, listener: Listener) -> None:
    """Draw the first batches of every method still to run, so that invalid settings are reported before training."""
    base = request.place("runs", NONE, 0)
    for method in request.order:
        target = request.place("runs", method, 0)
        if method != NONE and not target.exists():
            train_request = _request(request, method, 0, base, target)
            # a head that the forerunner trains and the base lacks
            head = {"force_new_head": True} if "force_new_head" in options_of(method) else {}
            try:
                seen = _seen(replace(train_request, settings={**train_request.settings, **head}), base)
            except (UsageError, DataError) as error:
                raise type(error)(f"{method}: {error}") from None
            _note_on_budget(request, method, seen, listener)


def _note_on_budget(request: CompareRequest, method: str, seen: float, listener: Listener) -> None:
    """Warn where the budget is only a few steps."""
    steps = _steps(request, seen, 2 if method in FORERUNNERS else 1)
    if steps < _FEWEST:
        listener.note(
            f"{method} gets {steps} steps of {seen:,.0f} tokens, too few to compare: give more --tokens or --steps, "
            f"or a smaller --set {method}.batch_size=."
        )


def _steps(request: CompareRequest, seen: float, parts: int) -> int:
    """A part of the budget in steps, by the tokens of the method's first batches."""
    if request.steps is not None:
        return max(1, request.steps // parts)
    return max(1, round(request.tokens // parts / seen))


def _store_of(request: TrainRequest, base: Path) -> Store:
    """The tokens that a run will train on."""
    assert request.shared is not None
    documents = Documents.open(request.shared / DOCUMENTS)
    select, _ = split(len(documents), request.seed, request.held_out)
    return store_of(
        documents, tokenizer.load(base), Silent(), folder=request.output, shared=request.shared, select=select
    )


def _seen(request: TrainRequest, base: Path) -> float:
    """Tokens of a step, averaged over the first batches, including blocks that the method retrieves (REALM)."""
    made = planning.make(request, planning.choose(request), _store_of(request, base))
    return float(np.mean([len(made.objective.prepare(made.batches(step), step).rows.tokens) for step in range(4)]))


def _tuned(request: CompareRequest, model: Path, method: str, seed: int, labels: int, listener: Listener) -> Path:
    """Folder of a fine-tuned model."""
    target = request.place("tuned", method, seed, labels or "all")
    if not _there(target):
        by_words = _negatives(request, listener) if request.negatives == "bm25" else None
        listener.note(f"{method}, seed {seed}, {labels or 'all'} labels")
        finetune(
            FinetuneRequest(
                model=str(model),
                labels=request.benchmark,
                output=target,
                split=request.finetune,
                negatives="given" if by_words else request.negatives,
                negatives_file=by_words,
                limit=labels or None,
                settings=request.tuning,
                seed=seed,
                resume=True,
                shared=request.shared,
            ),
            listener,
            evaluate=False,
        )
    return target


def _negatives(request: CompareRequest, listener: Listener) -> Path:
    """File of BM25's negatives for every label, mined once: they depend on no model."""
    path = request.output / "negatives-bm25.jsonl"

    def missing() -> None:
        if not path.is_file():
            mine_source(request.benchmark, None, path, MineOptions(), listener, split=request.finetune)

    processes.current().alone(missing)
    return path
