"""``pretrieve train --base MODEL`` with a retrieval model: a static model joins it as a third ranker.

A downloaded retriever fused with BM25 is ahead of what minutes of training on one machine's processors give, and a few
thousand steps on a small collection make it worse as often as better. A static model of the user's documents knows
their words and topics, which neither of the other two does: it costs seconds, and is added to their fusion. A method
given by name trains the model itself, under a guard (``pipeline/pretrain/guard.py``).
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretrieve.core import files
from pretrieve.core.disk import storage
from pretrieve.models.build import retrieval_folder
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.pretrain.report import MODEL, REPORT, Report
from pretrieve.pipeline.pretrain.request import TrainRequest, train_command
from pretrieve.pipeline.run.recipe import Recipe
from pretrieve.pipeline.run.run import Run
from pretrieve.pipeline.run.workspace import STATIC

WEIGHT = 0.5  # of the static model beside BM25 (1) and the retriever; docs/log.md
_KEPT_OUT = (
    files.MANIFEST,
    "*.md",
    ".git*",
    "onnx",
    "openvino",
    "*.onnx",
    "*.bin",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "*.py",
)


def retrieval_model(request: TrainRequest) -> Path | None:
    """The folder of the retrieval model that a request starts from without naming a method; None for other requests.

    Raises:
        UsageError: there is no such folder or model.
    """
    return None if request.method is not None else retrieval_folder(request.base)


def beside(request: TrainRequest, workspace: Path) -> TrainRequest:
    """The request for the static model that is trained beside a retrieval model, in the workspace of the whole run."""
    return replace(request, base="static", output=workspace / STATIC, overwrite=False)


def check(folder: Path) -> None:
    """Open the retrieval model, so that errors are reported before anything is read.

    Raises:
        UsageError: it cannot be used for search.
    """
    open_encoder(str(folder))


def publish(run: Run, request: TrainRequest, folder: Path, static: Report) -> Report:
    """Copy the retrieval model to the output, with the static model named in its MANIFEST.

    Args:
        run: the run.
        request: arguments of the run.
        folder: folder of the retrieval model.
        static: report of the static model, which is at ``STATIC`` in the workspace.

    Raises:
        StorageError: writing to disk failed.
    """
    run.listener.note(
        f"{request.base} is a retrieval model: it is left unchanged, and the static model is a third ranker beside it "
        "and BM25. Name a --method to train it."
    )
    reason = f"{request.base} with a third ranker (weight {WEIGHT:g}). The static model alone: {static.reason}"
    command = train_command(request, static.recipe["training"]["steps"])
    values = {name: value for name, value in static.recipe.items() if name != "fingerprint"}
    recipe = Recipe(**{**values, "base": request.base, "command": command, "sources": request.sources})
    report = replace(static, recipe=recipe.to_json(), reason=reason, fusion=None)
    meta: dict[str, Any] = {"recipe": report.recipe["fingerprint"], "third": {"path": STATIC, "weight": WEIGHT}}
    with run.publishing(MODEL, meta) as target:
        with storage(target.path):
            shutil.copytree(folder, target.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_KEPT_OUT))
        target.adopt()
        target.json("recipe.json", report.recipe)
        target.json(REPORT, report.to_json())
        files.put(run.workspace / STATIC, target.path / STATIC)
    return report
