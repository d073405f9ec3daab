"""The road of ``pretrieve compare``: every method from one base, on the same documents, tokens and seeds.

Each model is judged as it is, and after fine-tuning with few and with all labels; BM25 and the untouched base stand
beside. Every part is kept when it is done, so a comparison that was stopped goes on, and can be widened by methods,
labels and seeds; several processes that are given the same command share the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core import files
from pretrieve.core.errors import DataError, LockedError, UsageError
from pretrieve.core.types import FloatArray
from pretrieve.evaluation.fair import FairTable, fair_table
from pretrieve.index.index import Mode
from pretrieve.pipeline.compare.base_model import save_base
from pretrieve.pipeline.compare.plot import draw
from pretrieve.pipeline.compare.request import BM25, FORERUNNERS, NONE, CompareRequest, options_of
from pretrieve.pipeline.compare.scores import CollectionEvaluator
from pretrieve.pipeline.finetune.finetune import finetune
from pretrieve.pipeline.finetune.mine import MineOptions, mine_source
from pretrieve.pipeline.finetune.request import FinetuneRequest
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain.data import shared_store, split
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.sources import DOCUMENTS
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.workspace import hold_parts
from pretrieve.text import tokenizer
from pretrieve.text.beir import read_qrels
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.training.signals import StoppedError

Scores = list[dict[str, Any]]
_FEWEST = 20  # steps of training, below which a method is said to have too few
_ADVICE = "what is done is kept; give the same command again to continue"
_PAUSE = 0.2  # seconds, before a part is tried again that another process had


def compare(asked: CompareRequest, listener: Listener | None = None) -> Scores:
    """Train, fine-tune and judge everything that is not there yet.

    Args:
        asked: what is compared.
        listener: hears of progress.

    Returns:
        A score of every system: method, seed, labels (None: not fine-tuned), mode, values by query, seconds.

    Raises:
        PretrieveError: whatever a user can mend.
    """
    try:
        with stoppable(_ADVICE):
            return _compare(asked, listener or Silent())
    except StoppedError as error:
        raise error.advising(_ADVICE) from None


def _compare(asked: CompareRequest, listener: Listener) -> Scores:
    asked.check()
    asked = _with_what_there_is(asked, listener)
    with hold_parts(asked.output, wait=True):
        asked.begin()
        evaluator = _Evaluator(asked, listener)
        evaluator.words()
        _pretrained(asked, NONE, 0, listener)
        _rehearse(asked, listener)
        if asked.finetune and asked.labels and asked.negatives == "bm25":
            _negatives(asked, listener)
    parts = [(method, seed) for seed in range(asked.seeds) for method in asked.methods]
    _share(asked, parts, lambda method, seed: _part(asked, evaluator, method, seed, listener), listener)
    return [*evaluator.words(), *(score for part in parts for score in _part(asked, evaluator, *part, listener))]


def _with_what_there_is(asked: CompareRequest, listener: Listener) -> CompareRequest:
    """Without numbers of labels that there are not: they would be all labels, twice."""
    if not asked.finetune or not asked.labels:
        return asked
    grades = read_qrels(asked.benchmark, asked.finetune).values()
    count = sum(any(grade > 0 for grade in found.values()) for found in grades)
    for number in (number for number in asked.labels if number >= count):
        listener.note(f"{number:,} labels: split {asked.finetune!r} has {count:,} labelled queries; all are taken.")
    labels = dict.fromkeys(0 if number >= count else number for number in asked.labels)
    return replace(asked, labels=tuple(labels))


def _share(
    asked: CompareRequest, parts: list[tuple[str, int]], work: Callable[[str, int], object], listener: Listener
) -> None:
    """Do every part that no other process is doing, until all are done: several may work on one comparison."""
    while parts:
        left = []
        for method, seed in parts:
            try:
                with files.lock(asked.place("locks", method, seed)):
                    work(method, seed)
            except LockedError:
                left.append((method, seed))
        if len(left) == len(parts):
            listener.note("waiting for other processes: " + "; ".join(f"{part[0]}, seed {part[1]}" for part in left))
            with files.lock(asked.place("locks", *left[0]), wait=True):
                time.sleep(_PAUSE)
        parts = left


def _part(asked: CompareRequest, evaluator: _Evaluator, method: str, seed: int, listener: Listener) -> Scores:
    """The scores of a method with one seed at all stages; what is done already is only read."""
    model = _pretrained(asked, method, seed, listener)
    found = evaluator.scores(model, method, seed, None)
    for labels in asked.labels if asked.finetune else ():
        found += evaluator.scores(_tuned(asked, model, method, seed, labels, listener), method, seed, labels)
    return found


def report(asked: CompareRequest, scores: Scores) -> FairTable:
    """Write the report: ``report.md``, ``report.json`` and, where matplotlib is installed, ``report.svg``.

    Raises:
        StorageError: the disk refused.
    """
    seeds = f"{asked.seeds} seeds" if asked.seeds > 1 else "one seed"
    title = f"{asked.benchmark.name} ({asked.split}), {asked.budget} from {asked.base}, {seeds}"
    if NONE not in asked.methods:  # what all are compared with, if it was judged when there was more to do
        scores = [*_kept(asked, NONE, {score["labels"] for score in scores}), *scores]
    table = fair_table(scores, title=title, metric=asked.metric, base=NONE)
    text, picture = table.markdown(), draw(table)
    if picture is not None:
        files.write_file(asked.output / "report.svg", picture)
        text += f"\n![{table.metric} against the number of labels, a line a method](report.svg)\n"
    files.write_file(asked.output / "report.md", text.encode())
    files.write_file(asked.output / "report.json", files.to_json(table.to_json()))
    return table


def _kept(asked: CompareRequest, method: str, stages: Collection[int | None]) -> Scores:
    """The scores of a method that are on disk already, at some stages."""
    paths = [
        asked.place("scores", method, seed, f"{_stage(labels)}.json")
        for seed in range(asked.seeds)
        for labels in stages
    ]
    return [score for path in paths if path.is_file() for score in orjson.loads(path.read_bytes())]


def _stage(labels: int | None) -> str:
    return "zero" if labels is None else str(labels or "all")


def _pretrained(asked: CompareRequest, method: str, seed: int, listener: Listener, *, after: str = "") -> Path:
    """Folder of a method's model; of the base for ``none``.

    With ``after``, a method that starts from this one: the two share the budget, so that both get half of what this one
    gets where it is compared itself.
    """
    target = asked.place("runs", *_name(method, after), seed)
    if (target / files.MANIFEST).is_file():
        return target
    base = asked.place("runs", NONE, seed)
    if method == NONE:
        with files.lock(asked.place("locks", "base", seed), wait=True):
            if not (target / files.MANIFEST).is_file():
                save_base(_base_request(asked, seed, target), listener)
        return target
    _pretrained(asked, NONE, seed, listener)
    forerunner = FORERUNNERS.get(method)
    origin = _pretrained(asked, forerunner, seed, listener, after=method) if forerunner else base
    request = _request(asked, method, seed, origin, target)
    listener.note(f"{method}, seed {seed}")
    seen = _seen(request, base)
    request = replace(request, steps=_steps(asked, seen, 2 if forerunner or after else 1))
    spent = asked.place("costs", *_name(method, after), f"{seed}.json")
    before = orjson.loads(spent.read_bytes())["seconds"] if spent.is_file() else 0.0
    began = time.perf_counter()
    try:
        train(request, listener)
    finally:  # what a run took before it was stopped counts
        seconds = round(before + time.perf_counter() - began, 1)
        cost = {"seconds": seconds, "steps": request.steps, "tokens": round(seen * (request.steps or 0))}
        files.write_file(spent, files.to_json(cost))
    return target


def _base_request(asked: CompareRequest, seed: int, target: Path) -> TrainRequest:
    """The base as a run of its own."""
    return TrainRequest(
        sources=asked.sources, output=target, base=asked.base, settings=asked.own(NONE), seed=seed,
        shared=asked.shared, resume=True,
    )  # fmt: skip


def _request(asked: CompareRequest, method: str, seed: int, origin: Path, target: Path) -> TrainRequest:
    """A run of a method; its steps are still to be set."""
    return TrainRequest(
        sources=asked.sources,
        output=target,
        method=method,
        base=str(origin),
        settings={"save_every": 0, **asked.own(method)},
        seed=seed,
        resume=True,
        tracker="none",
        select=False,
        steps=1,
        shared=asked.shared,
    )


def _rehearse(asked: CompareRequest, listener: Listener) -> None:
    """Draw the first batches of every method still to run: a setting that does not fit is told now, not in hours."""
    base = asked.place("runs", NONE, 0)
    for method in asked.order:
        target = asked.place("runs", method, 0)
        if method != NONE and not target.exists():
            request = _request(asked, method, 0, base, target)
            # what a forerunner will bring, and the base has not
            head = {"force_new_head": True} if "force_new_head" in options_of(method) else {}
            try:
                seen = _seen(replace(request, settings={**request.settings, **head}), base)
            except (UsageError, DataError) as error:
                raise type(error)(f"{method}: {error}") from None
            _note_on_budget(asked, method, seen, listener)


def _note_on_budget(asked: CompareRequest, method: str, seen: float, listener: Listener) -> None:
    """Warn where the budget is a handful of steps, which neither train nor meet it."""
    steps = _steps(asked, seen, 2 if method in FORERUNNERS else 1)
    if steps < _FEWEST:
        listener.note(
            f"{method} gets {steps} steps of {seen:,.0f} tokens, too few to compare by: give more --tokens or --steps, "
            f"or a smaller --set {method}.batch_size=."
        )


def _name(method: str, after: str) -> list[str]:
    return [method, "for", after] if after else [method]


def _costs(asked: CompareRequest, method: str, seed: int) -> dict[str, float]:
    """Seconds, steps and tokens of a method's training, with its forerunner's."""
    names = [_name(method, "")] + ([_name(FORERUNNERS[method], method)] if method in FORERUNNERS else [])
    paths = [asked.place("costs", *name, f"{seed}.json") for name in names]
    parts = [orjson.loads(path.read_bytes()) for path in paths if path.is_file()]
    return {name: float(sum(part[name] for part in parts)) for name in ("seconds", "steps", "tokens")}


def _steps(asked: CompareRequest, seen: float, parts: int) -> int:
    """A part of the budget in steps: as many as see so many tokens, by the method's first batches."""
    if asked.steps is not None:
        return max(1, asked.steps // parts)
    return max(1, round(asked.tokens // parts / seen))


def _store_of(request: TrainRequest, base: Path) -> Store:
    """The tokens that a run will train on."""
    assert request.shared is not None
    documents = Documents.open(request.shared / DOCUMENTS)
    select, _ = split(len(documents), request.seed, request.held_out)
    return shared_store(request.shared, documents, select, tokenizer.load(base), Silent())


def _seen(request: TrainRequest, base: Path) -> float:
    """Tokens of a step, by the first batches; what a method looks up for them (REALM's blocks) is read too."""
    made = planning.make(request, planning.choose(request), _store_of(request, base))
    return float(np.mean([len(made.objective.prepare(made.batches(step), step).rows.tokens) for step in range(4)]))


def _tuned(asked: CompareRequest, model: Path, method: str, seed: int, labels: int, listener: Listener) -> Path:
    """Folder of a fine-tuned model."""
    target = asked.place("tuned", method, seed, labels or "all")
    if not (target / files.MANIFEST).is_file():
        by_words = _negatives(asked, listener) if asked.negatives == "bm25" else None
        listener.note(f"{method}, seed {seed}, {labels or 'all'} labels")
        finetune(
            FinetuneRequest(
                model=str(model),
                labels=asked.benchmark,
                output=target,
                split=asked.finetune,
                negatives="given" if by_words else asked.negatives,
                negatives_file=by_words,
                limit=labels or None,
                settings=asked.tuning,
                seed=seed,
                resume=True,
                shared=asked.shared,
            ),
            listener,
            evaluate=False,
        )
    return target


def _negatives(asked: CompareRequest, listener: Listener) -> Path:
    """File of BM25's negatives for every label, mined once: they depend on no model."""
    path = asked.output / "negatives-bm25.jsonl"
    if not path.is_file():
        mine_source(asked.benchmark, None, path, MineOptions(), listener, split=asked.finetune)
    return path


class _Evaluator:
    """Judges models; scores are kept on disk."""

    def __init__(self, asked: CompareRequest, listener: Listener) -> None:
        self._asked, self._listener = asked, listener
        self._collection = CollectionEvaluator(asked.benchmark, asked.split, asked.metric)

    def words(self) -> Scores:
        """The score of BM25."""
        path = self._asked.place("scores", f"{BM25}.json")
        if not path.is_file():
            self._keep(path, BM25, 0, None, self._collection.words)
        return list(orjson.loads(path.read_bytes()))

    def scores(self, model: Path, method: str, seed: int, labels: int | None) -> Scores:
        """The scores of a model, alone and beside words."""
        stage = _stage(labels)
        path = self._asked.place("scores", method, seed, f"{stage}.json")
        if not path.is_file():
            self._listener.stage(f"evaluate {method} ({stage})", unit="systems")
            values = self._keep(path, method, seed, labels, lambda: self._collection.model(model))
            self._listener.advance(len(values), f"{values['dense'].mean():.3f}")
        return list(orjson.loads(path.read_bytes()))

    def _keep(
        self, path: Path, method: str, seed: int, labels: int | None, values_of: Callable[[], dict[Mode, FloatArray]]
    ) -> dict[Mode, FloatArray]:
        began = time.perf_counter()
        values = values_of()
        seconds = round(time.perf_counter() - began, 2)
        took = _costs(self._asked, method, seed)
        facts = {"method": method, "seed": seed, "labels": labels, "seconds": seconds,
                 "trained": took["seconds"], "steps": took["steps"], "tokens": took["tokens"]}  # fmt: skip
        scores = [{**facts, "mode": mode, "values": found.tolist()} for mode, found in values.items()]
        files.write_file(path, files.to_json(scores))
        return values
