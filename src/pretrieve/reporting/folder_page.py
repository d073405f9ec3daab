"""The report of a folder: of a comparison, a reader or a model, by its kind and what its ``report.json`` is of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.core.manifest import load_manifest
from pretrieve.pipeline.compare.request import SAID
from pretrieve.pipeline.finetune.report import open_report as open_finetuned
from pretrieve.pipeline.pretrain.report import MODEL, REPORT
from pretrieve.pipeline.pretrain.report import open_report as open_trained
from pretrieve.pipeline.qa.train_reader import KIND as READER
from pretrieve.pipeline.run.progress import Listener
from pretrieve.reporting.comparison_page import comparison_page
from pretrieve.reporting.page import Page
from pretrieve.reporting.reader_page import reader_page
from pretrieve.reporting.run_page import trained_page, tuned_page

_OTHERS = (
    "Give a model, a reader, a comparison, generated queries, or what `pretrieve evaluate --output-json` wrote, which "
    "measures an index or a model too."
)


def folder_page(
    source: Path,
    benchmark: Path | None,
    evaluations: Sequence[Mapping[str, Any]],
    examples: int | None,
    listener: Listener,
) -> Page:
    """The report of a comparison, a reader or a model.

    Args:
        source: its folder.
        benchmark: BEIR folder of a comparison, for the texts of queries.
        evaluations: JSON of evaluations to show with a model.
        examples: number of training examples of a model; None: the usual one.
        listener: receives progress.

    Raises:
        UsageError: it is none of these, or an option does not fit it.
        CorruptError: a file is damaged.
    """
    is_model = (source / files.MANIFEST).is_file()
    if not is_model and (source / SAID).is_file():
        if evaluations or examples is not None:
            raise UsageError("--evaluation and --examples are for a model: leave them out.")
        return comparison_page(source, benchmark)
    if benchmark is not None:
        raise UsageError("--benchmark is for a comparison: leave it out.")
    if not is_model:
        raise UsageError(f"{source}: no model, comparison or evaluation that is finished.")
    return _model(source, evaluations, examples, listener)


def _model(source: Path, evaluations: Sequence[Mapping[str, Any]], examples: int | None, listener: Listener) -> Page:
    kind = load_manifest(source, None)["kind"]
    if kind == READER:
        if evaluations or examples is not None:
            raise UsageError("--evaluation and --examples are for a model that searches: leave them out.")
        return reader_page(source)
    if kind != MODEL:
        raise UsageError(f"{source} has no report: it is an artefact of kind {kind!r}. {_OTHERS}")
    files.read_manifest(source, MODEL)
    if not (source / REPORT).is_file():
        raise UsageError(f"{source} has no {REPORT}: it was not made by `pretrieve train`, `finetune` or `distill`.")
    try:
        facts = orjson.loads((source / REPORT).read_bytes())
    except orjson.JSONDecodeError as error:
        raise CorruptError(f"{source / REPORT} is damaged ({error}): restore it from a copy.") from None
    if isinstance(facts, dict) and "saved" in facts:
        return trained_page(source, open_trained(source), evaluations, examples, listener)
    if isinstance(facts, dict) and {"values", "queries"} <= facts.keys():
        if examples is not None:
            raise UsageError("--examples is for a model of `pretrieve train`: leave it out.")
        return tuned_page(source, open_finetuned(source), evaluations)
    raise UsageError(f"{source}: only models of `pretrieve train`, `finetune`, `distill` and `read` have reports.")
