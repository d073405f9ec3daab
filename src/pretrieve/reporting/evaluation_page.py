"""The report of an evaluation: the JSON of ``pretrieve evaluate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from pretrieve.core.errors import DataError, UsageError
from pretrieve.reporting.crosslingual_page import is_crosslingual
from pretrieve.reporting.evaluation_runs import run_sections
from pretrieve.reporting.page import Page, Section
from pretrieve.reporting.provenance import made_by
from pretrieve.reporting.scores import evaluation_verdict, scores_section

_NO_QUERIES = (
    "An evaluation's JSON has no values of single queries. `pretrieve evaluate --run FOLDER` keeps the rankings: two "
    "of them as --run, and the folder that was evaluated on as --benchmark, show wins, losses and both lists."
)
_NEEDED = {"collection": str, "split": str, "queries": int, "rows": list, "tests": list}


def evaluation_page(facts: Mapping[str, Any], runs: Sequence[Path] = (), benchmark: Path | None = None) -> Page:
    """The report of an evaluation.

    Args:
        facts: its JSON.
        runs: two of its runs, to be shown query by query.
        benchmark: BEIR folder that was evaluated on, for the runs.

    Raises:
        UsageError: runs without a benchmark, or not two of them.
        DataError: the benchmark is another one, or a line of a run cannot be read.
    """
    if bool(runs) != (benchmark is not None):
        raise UsageError("--run and --benchmark belong together: give both, or neither.")
    models = {name: notes for name, notes in facts.get("notes", {}).items() if isinstance(notes, Mapping)}
    prints = {name: notes["fingerprint"] for name, notes in models.items() if "fingerprint" in notes}
    values = {
        name: {key: value for key, value in notes.items() if key != "fingerprint"} for name, notes in models.items()
    }
    data = {"data": facts["data"]} if facts.get("data") else {}
    queries = run_sections(facts, runs, benchmark) if benchmark else [Section(title="Queries", notes=[_NO_QUERIES])]
    made = made_by(
        "",
        recipe={"drop_same_id": facts.get("drop_same_id", False), **values, **data},
        environment={},
        fingerprints=prints,
    )
    title = f"Evaluation on {facts['collection']} ({facts['split']})"
    return Page(kind="evaluation", title=title, verdict=evaluation_verdict(facts),
                sections=[scores_section(facts), *queries, made])  # fmt: skip


def read_evaluation(path: Path) -> dict[str, Any]:
    """Read the JSON of an evaluation.

    Args:
        path: as ``evaluate --output-json`` writes it.

    Raises:
        UsageError: there is no such file.
        DataError: it is something else, or an evaluation across languages.
    """
    return evaluation_of(path, read_json(path))


def evaluation_of(path: Path, facts: Any) -> dict[str, Any]:
    """The evaluation that a file of JSON holds.

    Args:
        path: of the file, for messages.
        facts: its JSON.

    Raises:
        DataError: it is something else, or an evaluation across languages.
    """
    if is_crosslingual(facts):
        raise DataError(f"{path}: an evaluation across languages has a report of its own: pretrieve report {path}")
    if not _is_evaluation(facts):
        raise DataError(f"{path}: not an evaluation: give what `pretrieve evaluate --output-json` writes.")
    return dict(facts)


def read_json(path: Path) -> Any:
    """Read a file of JSON, whatever it holds.

    Raises:
        UsageError: there is no such file.
        DataError: it is no JSON.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file.")
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: no JSON ({error}): give what `pretrieve evaluate --output-json` writes.") from None


def _is_evaluation(facts: object) -> bool:
    """Whether a report can be made of it."""
    if not isinstance(facts, dict) or not all(isinstance(facts.get(name), kind) for name, kind in _NEEDED.items()):
        return False
    try:
        for row in facts["rows"]:
            for metric, value in row["metrics"].items():
                low, high = row["ci95"][metric]
                _ = f"{row['system']}{row['mode']}{value:.4f}{low:.3f}{high:.3f}"
        for test in facts["tests"]:
            _ = f"{test['a']}{test['b']}{test['metric']}{test['difference']:.4f}{test['p']:.4f}{test['p_holm']:.4f}"
    except (KeyError, TypeError, ValueError, AttributeError):
        return False
    return bool(facts["rows"]) and all(
        facts["rows"][0]["metrics"].keys() == row["metrics"].keys() for row in facts["rows"]
    )
