"""The workflow of ``pretrieve report``: a model, a comparison or an evaluation in, one HTML file and its JSON out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, DataError, UsageError
from pretrieve.core.extras import require
from pretrieve.pipeline.compare.request import SAID
from pretrieve.pipeline.finetune.report import open_report as open_finetuned
from pretrieve.pipeline.pretrain.report import MODEL, REPORT
from pretrieve.pipeline.pretrain.report import open_report as open_trained
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.reporting.evaluation_page import evaluation_page, read_evaluation
from pretrieve.reporting.page import Page
from pretrieve.reporting.render import html

LARGEST = 2_000_000  # bytes of a report
_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """Arguments of ``report``; see the options of the command."""

    source: Path
    output: Path
    evaluations: tuple[Path, ...] = ()
    benchmark: Path | None = None
    examples: int | None = None


def write_report(
    request: ReportRequest, listener: Listener | None = None, evaluation: Mapping[str, Any] | None = None
) -> tuple[Page, Path]:
    """Write a report and its data.

    Args:
        request: arguments.
        listener: receives progress.
        evaluation: JSON of a further evaluation of a model, at hand already.

    Returns:
        The report, and the JSON file beside the HTML.

    Raises:
        UsageError: there is nothing to report on, or an option that does not fit it.
        DataError: a file is no evaluation; or the report would be larger than a page may be.
        CorruptError: a file is damaged.
        MissingExtraError: the extra ``report`` is not installed.
    """
    require("report", "pretrieve report")
    if request.output.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"-o {request.output}: a report is an HTML file: give a name that ends in .html.")
    page = _page(request, listener or Silent(), evaluation)
    text = html(page).encode()
    if len(text) > LARGEST:
        raise DataError(f"the report has {len(text):,} bytes, more than {LARGEST:,}: give fewer --examples.")
    data = data_path(request.output)
    files.write_file(data, files.to_json(page.to_json()))
    files.write_file(request.output, text)
    return page, data


def data_path(output: Path) -> Path:
    """The JSON file of a report: ``report.data.json`` beside ``report.html``; ``report.json`` is a model's own."""
    return output.with_suffix(".data.json")


def _page(request: ReportRequest, listener: Listener, evaluation: Mapping[str, Any] | None) -> Page:
    source = request.source
    if not source.exists():
        raise UsageError(f"{source}: no such folder or file.")
    is_model = (source / files.MANIFEST).is_file()
    is_comparison = not is_model and (source / SAID).is_file()
    if request.benchmark is not None and not is_comparison:
        raise UsageError("--benchmark is for a comparison: leave it out.")
    if (request.evaluations or request.examples is not None) and not is_model:
        raise UsageError("--evaluation and --examples are for a model: leave them out.")
    if source.is_file():
        return evaluation_page(read_evaluation(source))
    if is_comparison:
        from pretrieve.reporting.comparison_page import comparison_page

        return comparison_page(source, request.benchmark)
    if not is_model:
        raise UsageError(f"{source}: no model, comparison or evaluation that is finished.")
    evaluations = [*([evaluation] if evaluation else []), *(read_evaluation(path) for path in request.evaluations)]
    return _model(source, request, evaluations, listener)


def _model(source: Path, request: ReportRequest, evaluations: list[Mapping[str, Any]], listener: Listener) -> Page:
    """The report of a model, by what its ``report.json`` is of."""
    files.read_manifest(source, MODEL)
    if not (source / REPORT).is_file():
        raise UsageError(f"{source} has no {REPORT}: only models of `pretrieve train` and `finetune` have reports.")
    try:
        facts = orjson.loads((source / REPORT).read_bytes())
    except orjson.JSONDecodeError as error:
        raise CorruptError(f"{source / REPORT} is damaged ({error}): restore it from a copy.") from None
    from pretrieve.reporting.run_page import (
        trained_page,
        tuned_page,
    )  # they read runs, which need more than evaluations

    if isinstance(facts, dict) and "saved" in facts:
        return trained_page(source, open_trained(source), evaluations, request.examples, listener)
    if isinstance(facts, dict) and {"values", "queries"} <= facts.keys():
        if request.examples is not None:
            raise UsageError("--examples is for a model of `pretrieve train`: leave it out.")
        return tuned_page(source, open_finetuned(source), evaluations)
    raise UsageError(f"{source}: only models of `pretrieve train` and `pretrieve finetune` have reports.")
