"""The scores of a comparison, evaluated once and kept on disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.types import FloatArray
from pretrieve.index.index import Mode
from pretrieve.pipeline.compare.request import BM25, FORERUNNERS, CompareRequest
from pretrieve.pipeline.compare.scores import CollectionEvaluator
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.progress import Listener

Scores = list[dict[str, Any]]
RANKINGS = "rankings"  # folder of the runs


class Evaluator:
    """Evaluates models; scores are saved to disk."""

    def __init__(self, request: CompareRequest, listener: Listener) -> None:
        self._request, self._listener = request, listener
        self._collection = CollectionEvaluator(request.benchmark, request.split, request.metric)

    def lexical(self) -> Scores:
        """The score of BM25."""
        path = self._request.place("scores", f"{BM25}.json")
        if not path.is_file():
            self._keep(path, BM25, 0, None, None)
        return list(orjson.loads(path.read_bytes()))

    def scores(self, model: Path, method: str, seed: int, labels: int | None) -> Scores:
        """The scores of a model, alone and fused with BM25; none in other processes than the first."""
        return processes.current().first(lambda: self._scores(model, method, seed, labels), list)

    def _scores(self, model: Path, method: str, seed: int, labels: int | None) -> Scores:
        stage = stage_name(labels)
        path = self._request.place("scores", method, seed, f"{stage}.json")
        if not path.is_file():
            self._listener.stage(f"evaluate {method} ({stage})", unit="systems")
            values = self._keep(path, method, seed, labels, model)
            self._listener.advance(len(values), f"{values['dense'].mean():.3f}")
        return list(orjson.loads(path.read_bytes()))

    def _keep(
        self, path: Path, method: str, seed: int, labels: int | None, model: Path | None
    ) -> dict[Mode, FloatArray]:
        """Evaluate a model, or BM25, and write rankings, then scores, which name them."""
        began = time.perf_counter()
        modes: tuple[Mode, ...] = ("lexical",) if model is None else ("dense", "hybrid")
        rankings = {mode: self._request.output / RANKINGS / f"{path.stem}.{mode}.run.gz" for mode in modes}
        values = self._collection.evaluate(model, rankings)
        seconds = round(time.perf_counter() - began, 2)
        took = _costs(self._request, method, seed)
        facts = {"method": method, "seed": seed, "labels": labels, "seconds": seconds,
                 "trained": took["seconds"], "steps": took["steps"], "tokens": took["tokens"]}  # fmt: skip
        scores = [
            {**facts, "mode": mode, "values": found.tolist(), "ranking": f"{RANKINGS}/{rankings[mode].name}"}
            for mode, found in values.items()
        ]
        files.write_file(path, files.to_json(scores))
        return values


def model_name(method: str, after: str) -> list[str]:
    """The parts of a model's name: the method, and which other method starts from it."""
    return [method, "for", after] if after else [method]


def stage_name(labels: int | None) -> str:
    """The name of a stage: not fine-tuned, or fine-tuned with a number of labels."""
    return "zero" if labels is None else str(labels or "all")


def _costs(request: CompareRequest, method: str, seed: int) -> dict[str, float]:
    """Seconds, steps and tokens of a method's training, with its forerunner's."""
    names = [model_name(method, "")] + ([model_name(FORERUNNERS[method], method)] if method in FORERUNNERS else [])
    paths = [request.place("costs", *name, f"{seed}.json") for name in names]
    parts = [orjson.loads(path.read_bytes()) for path in paths if path.is_file()]
    return {name: float(sum(part[name] for part in parts)) for name in ("seconds", "steps", "tokens")}
