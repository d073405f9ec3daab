"""The report of generated queries: the facts that ``pretrieve generate`` writes beside its file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import CorruptError
from pretrieve.reporting.page import Page, Section, Table
from pretrieve.reporting.provenance import made_by

_SUFFIX = ".report.json"
_NEEDED = ("values", "prompt", "documents", "counts", "queries", "negatives", "examples")


def facts_of(source: Path) -> Path | None:
    """The file of facts on generated queries: ``FILE.report.json`` beside FILE; None where there is none.

    Args:
        source: the file of queries, or that of their facts.
    """
    found = source if source.name.endswith(_SUFFIX) else source.with_name(f"{source.name}{_SUFFIX}")
    return found if found.is_file() else None


def generated_page(path: Path) -> Page:
    """The report of generated queries.

    Args:
        path: of their facts.

    Raises:
        CorruptError: it is damaged, or something else.
    """
    try:
        facts = orjson.loads(path.read_bytes())
        if not isinstance(facts, dict) or not all(name in facts for name in _NEEDED):
            raise ValueError("it has not all of " + ", ".join(_NEEDED))
        return _page(path, facts)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptError(
            f"{path}: no facts of generated queries ({error!s:.120}): give what `pretrieve generate` wrote."
        ) from None


def _page(path: Path, facts: Mapping[str, Any]) -> Page:
    counts, documents, values = facts["counts"], facts["documents"], facts["values"]
    dropped = [[_words(name), f"{number:,}"] for name, number in counts["dropped"].items()]
    rows = [["generated", f"{counts['generated']:,}"], *dropped, ["kept", f"{counts['kept']:,}"],
            ["different queries in the file", f"{facts['queries']:,}"],
            ["negatives in the file", f"{facts['negatives']:,}"]]  # fmt: skip
    lines = [[_words(name), f"{number:,}"] for name, number in documents.items()]
    tables = [Table(title="Queries", head=["what became of them", "number"], rows=rows),
              Table(title="Documents", head=["of them", "number"], rows=lines)]  # fmt: skip
    examples = [[one["query"], one["document"], one["title"]] for one in facts["examples"]]
    shown = Table(title="Some queries of the file", head=["query", "document", "title"], rows=examples)
    return Page(
        kind="queries",
        title=f"{path.name.removesuffix(_SUFFIX)}: generated queries",
        verdict=_verdict(facts),
        sections=[
            Section(title="What was kept", tables=tables),
            Section(
                title="Examples", notes=[] if examples else ["None were kept."], tables=[shown] if examples else []
            ),
            Section(title="Prompt", texts=[facts["prompt"]] if facts["prompt"] else []),
            made_by("", recipe=values, environment={}, fingerprints={}),
        ],
    )


def _verdict(facts: Mapping[str, Any]) -> list[str]:
    counts, documents, values = facts["counts"], facts["documents"], facts["values"]
    share = counts["kept"] / counts["generated"] if counts["generated"] else 0.0
    first = (
        f"{counts['kept']:,} of {counts['generated']:,} generated queries were kept ({share:.0%}); "
        f"{documents['with_queries']:,} of {documents['prompted']:,} documents that were asked for have one."
    )
    by = values.get("generator") or values.get("endpoint") or "a generator"
    scored = f" and scored by {values['cross_encoder']}" if values.get("cross_encoder") else ""
    done = (
        f"What was done: {by} wrote queries for {documents['prompted']:,} of {documents['collection']:,} documents; "
        f"those that find their own document among the first {values['keep_within']:,} were kept{scored}, with "
        f"{facts['negatives']:,} negatives."
    )
    lines = [first, done]
    worst = max(counts["dropped"].items(), key=lambda one: int(one[1]), default=("", 0))
    if worst[1]:
        lines.append(f"Most were dropped as {_words(worst[0])}: {worst[1]:,}.")
    if documents["refused"]:
        lines.append(f"The endpoint refused {documents['refused']:,} documents.")
    return [*lines, (
        "How sure: whether these queries train a better model is not known; `pretrieve finetune` on them, and "
        "`pretrieve evaluate` on labelled queries, tell."
    )]  # fmt: skip


def _words(name: str) -> str:
    return name.replace("_", " ")
