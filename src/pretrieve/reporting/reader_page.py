"""The report of a reader of ``pretrieve read``: what it was trained on, and with what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import CorruptError
from pretrieve.core.shown import shown
from pretrieve.pipeline.qa.train_reader import open_report
from pretrieve.pipeline.run.run import RECORD
from pretrieve.reporting.curves import curves_section
from pretrieve.reporting.page import Page, Section, Table
from pretrieve.reporting.provenance import made_by


def reader_page(folder: Path) -> Page:
    """The report of a reader.

    Args:
        folder: of the reader.

    Raises:
        CorruptError: a file of it is damaged.
    """
    try:
        facts = open_report(folder)
        record = orjson.loads((folder / RECORD).read_bytes()) if (folder / RECORD).is_file() else {}
        verdict, asked = _verdict(folder, facts), _asked(facts)
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise CorruptError(f"{folder}: its report is damaged ({error!s:.80}): restore it from a copy.") from None
    request = record.get("request", {})
    names = {"documents": record.get("documents"), "questions": request.get("questions"), "model": request.get("model")}
    made = made_by(
        "", recipe={name: facts[name] for name in ("seed", "options", "training")},
        environment={"device": facts.get("device", "")}, fingerprints=names,
    )  # fmt: skip
    sections = [asked, _last_step(facts), curves_section(folder), made]
    return Page(kind="reader", title=f"{shown(folder.absolute().name)}: a reader", verdict=verdict, sections=sections)


def _verdict(folder: Path, facts: Mapping[str, Any]) -> list[str]:
    questions, steps = facts["questions"], facts["training"]["steps"]
    return [
        "Whether it answers well is not known: a reader keeps no scores on held-out questions.",
        f"What was done: a retriever and a reader were trained from {facts['model']} for {steps:,} "
        f"step{'' if steps == 1 else 's'} on {questions['answered_in_documents']:,} questions whose answer is in "
        f"{facts['blocks']:,} blocks of {facts['documents']:,} documents.",
        f"How sure: not at all, nothing was measured. `pretrieve answer {shown(str(folder))} --questions FILE` gives "
        "exact match and answer recall.",
    ]


def _asked(facts: Mapping[str, Any]) -> Section:
    read, found = facts["questions"]["read"], facts["questions"]["answered_in_documents"]
    rows = [["read", f"{read:,}"], ["with an answer in the documents", f"{found:,}"],
            ["without one, which teach nothing", f"{read - found:,}"]]  # fmt: skip
    return Section(title="Questions", tables=[Table(title="Questions", head=["of them", "number"], rows=rows)])


def _last_step(facts: Mapping[str, Any]) -> Section:
    rows = [[name.replace("_", " "), f"{value:.4f}"] for name, value in (facts.get("last_step") or {}).items()]
    note = "Of one batch of training questions: no measure of how well others are answered."
    table = Table(title="Losses and rates", head=["of the last step", "value"], rows=rows)
    return Section(title="The last step", notes=[note], tables=[table] if rows else [])
