"""The report of a comparison: ``report.md``, ``report.json`` and ``report.svg``."""

from __future__ import annotations

from collections.abc import Collection

import orjson

from pretrieve.core import files
from pretrieve.evaluation.fair import FairTable, fair_table
from pretrieve.pipeline.compare.evaluator import RANKINGS, Scores, stage_name
from pretrieve.pipeline.compare.plot import draw
from pretrieve.pipeline.compare.request import NONE, CompareRequest
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.progress import Listener


def report(request: CompareRequest, scores: Scores) -> FairTable:
    """Write the report: ``report.md``, ``report.json`` and, where matplotlib is installed, ``report.svg``.

    Of several processes the first one writes it.

    Raises:
        StorageError: writing to disk failed.
    """
    seeds = f"{request.seeds} seeds" if request.seeds > 1 else "one seed"
    title = f"{request.benchmark.name} ({request.split}), {request.budget} from {request.base}, {seeds}"
    table = fair_table(reported(request, scores), title=title, metric=request.metric, base=NONE)
    if not processes.current().leads:
        return table
    text, picture = table.markdown(), draw(table)
    if picture is not None:
        files.write_file(request.output / "report.svg", picture)
        text += f"\n![{table.metric} against the number of labels, one line for each method](report.svg)\n"
    files.write_file(request.output / "report.md", text.encode())
    files.write_file(request.output / "report.json", files.to_json(table.to_json()))
    return table


def reported(request: CompareRequest, scores: Scores) -> Scores:
    """The scores of a table: with those of the base, if it was evaluated by an earlier command."""
    if any(score["method"] == NONE for score in scores):
        return scores
    return [*_kept(request, NONE, {score["labels"] for score in scores}), *scores]


def _kept(request: CompareRequest, method: str, stages: Collection[int | None]) -> Scores:
    """The scores of a method that are on disk already, at some stages."""
    paths = [
        request.place("scores", method, seed, f"{stage_name(labels)}.json")
        for seed in range(request.seeds)
        for labels in stages
    ]
    return [score for path in paths if path.is_file() for score in orjson.loads(path.read_bytes())]


def note_on_rankings(request: CompareRequest, scores: Scores, listener: Listener) -> None:
    """Say where scores have no ranking beside them: they are of an earlier version, or it was removed."""
    without = sum(not (request.output / score.get("ranking", "-")).is_file() for score in scores)
    if without:
        listener.note(
            f"{without:,} of {len(scores):,} scores have no ranking in {request.output / RANKINGS}: to write them, "
            f"remove {request.output}/scores and run the same command again; models stay."
        )
