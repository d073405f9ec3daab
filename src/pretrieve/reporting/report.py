"""The workflow of ``pretrieve report``: a model, a comparison, an evaluation or the like in, HTML and JSON out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core import files
from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.extras import require
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.reporting.crosslingual_page import crosslingual_page, is_crosslingual
from pretrieve.reporting.evaluation_page import evaluation_of, evaluation_page, read_evaluation, read_json
from pretrieve.reporting.generated_page import facts_of, generated_page
from pretrieve.reporting.page import SUFFIXES, Page
from pretrieve.reporting.pictures import write_pictures
from pretrieve.reporting.render import html

LARGEST = 2_000_000  # bytes of a report
_TWO = 2  # runs that are shown query by query


@dataclass(frozen=True, kw_only=True)
class ReportRequest:
    """Arguments of ``report``; see the options of the command."""

    source: Path
    output: Path
    evaluations: tuple[Path, ...] = ()
    benchmark: Path | None = None
    runs: tuple[Path, ...] = ()
    examples: int | None = None
    pictures: Path | None = None


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
    check_output(request.output, "-o")
    page = _page(request, listener or Silent(), evaluation)
    data = _write(page, request.output)
    if request.pictures is not None:
        write_pictures(page, request.pictures)
    return page, data


def write_evaluation_report(
    facts: Mapping[str, Any], output: Path, benchmark: Path, runs: Sequence[Path] = ()
) -> tuple[Page, Path]:
    """Write the report of an evaluation that is at hand.

    Args:
        facts: its JSON.
        output: HTML file to write.
        benchmark: collection that was evaluated on.
        runs: files of its rankings; two are shown query by query.

    Returns:
        As ``write_report``.

    Raises:
        PretrieveError: as ``write_report``.
    """
    facts = orjson.loads(files.to_json(facts))  # as a file of it is read
    if is_crosslingual(facts):
        page = crosslingual_page(benchmark, facts)
    elif len(runs) == _TWO:
        page = evaluation_page(facts, runs, benchmark)
    else:
        page = evaluation_page(facts)
    return page, _write(page, output)


def check_output(output: Path, option: str) -> None:
    """Refuse a report that cannot be written, before the work.

    Args:
        output: HTML file to write.
        option: that names it.

    Raises:
        UsageError: its name is that of another kind of file.
        MissingExtraError: the extra ``report`` is not installed.
    """
    require("report", "pretrieve report")
    if output.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{option} {output}: a report is an HTML file: give a name that ends in .html.")


def _write(page: Page, output: Path) -> Path:
    """Write a report, and its data beside it."""
    text = html(page).encode()
    if len(text) > LARGEST:
        raise DataError(f"the report has {len(text):,} bytes, more than {LARGEST:,}: give fewer --examples.")
    data = data_path(output)
    files.write_file(data, files.to_json(page.to_json()))
    files.write_file(output, text)
    return data


def data_path(output: Path) -> Path:
    """The JSON file of a report: ``report.data.json`` beside ``report.html``; ``report.json`` is a model's own."""
    return output.with_suffix(".data.json")


def _page(request: ReportRequest, listener: Listener, evaluation: Mapping[str, Any] | None) -> Page:
    source = request.source
    if not source.exists():
        raise UsageError(f"{source}: no such folder or file.")
    if source.is_file():
        if request.evaluations or request.examples is not None:
            raise UsageError("--evaluation and --examples are for a model: leave them out.")
        return _page_of_file(request)
    if request.runs:
        raise UsageError("--run is for an evaluation: leave it out; a comparison keeps its own.")
    from pretrieve.reporting.folder_page import folder_page  # what it reads needs torch; an evaluation does not

    evaluations = [*([evaluation] if evaluation else []), *(read_evaluation(path) for path in request.evaluations)]
    return folder_page(source, request.benchmark, evaluations, request.examples, listener)


def _page_of_file(request: ReportRequest) -> Page:
    source, beside = request.source, request.runs or request.benchmark is not None
    if (path := facts_of(source)) is not None:
        if beside:
            raise UsageError("--run and --benchmark are for an evaluation: leave them out.")
        return generated_page(path)
    facts = read_json(source)
    if is_crosslingual(facts):
        if beside:
            raise UsageError("--run and --benchmark are for an evaluation in one language: leave them out.")
        return crosslingual_page(source, facts)
    return evaluation_page(evaluation_of(source, facts), request.runs, request.benchmark)
