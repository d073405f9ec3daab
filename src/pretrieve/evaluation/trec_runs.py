"""Rankings of an evaluation as TREC runs, and runs of other systems as rows of it.

A run that is written gives the figures of its row when trec_eval or ir-measures reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pretrieve.core.types import FloatArray
from pretrieve.text.beir import Collection
from pretrieve.text.trec_runs import TrecRun
from pretrieve.text.trec_writing import create_run, run_stem

ScoredRanking = tuple[str, list[str], FloatArray]  # a query's id, the ids of its hits, best first, and their scores


@dataclass
class RunFiles:
    """Files that rankings are written to as they are evaluated.

    Attributes:
        paths: the files by system and mode.
        written: those that are there, by the name of their row.
        escaped: ids in them whose white space is written as ``%20``.
    """

    paths: Mapping[tuple[str, str], Path]
    written: dict[str, str] = field(default_factory=dict)
    escaped: set[str] = field(default_factory=set)

    def keep(self, system: str, mode: str, rankings: Iterator[ScoredRanking]) -> Iterator[ScoredRanking]:
        """Pass rankings on, and write them where they have a file; it appears when all have passed.

        Raises:
            DataError: two ids would be one in a run.
            StorageError: writing to disk failed.
        """
        path = self.paths.get((system, mode))
        if path is None:
            yield from rankings
            return
        with create_run(path, _safe(run_stem(path)[0])) as run:
            for query, hits, scores in rankings:
                run.add(query, hits, scores)
                yield query, hits, scores
        self.written[f"{system} ({mode})"] = str(path)
        self.escaped |= run.escaped


def run_paths(
    target: Path, lexical: Sequence[str], models: Sequence[str], modes: Sequence[str]
) -> dict[tuple[str, str], Path]:
    """The files of rankings, by system and mode.

    Args:
        target: a folder, or a name without a suffix, gets a file for every ranking, BM25's included. A file is the
            ranking of the one model, or of BM25 where there is no model; of several, model and mode are put into its
            name.
        lexical: names of BM25's rows.
        models: names of the models.
        modes: their modes.
    """
    in_folder = target.is_dir() or not target.suffix
    of_models = [(name, mode) for name in models for mode in dict.fromkeys(modes) if mode != "lexical"]
    rows = [(name, "lexical") for name in lexical]
    chosen = rows + of_models if in_folder else of_models or rows
    if in_folder:
        return {row: target / f"{name}.run" for row, name in _file_names(chosen).items()}
    if len(chosen) == 1:
        return {chosen[0]: target}
    named = _file_names(chosen)
    stem, suffix = run_stem(target)
    return {row: target.with_name(f"{stem}.{name}{suffix}") for row, name in named.items()}


def run_rankings(run: TrecRun, queries: Iterable[str], depth: int, *, drop_same_id: bool) -> Iterator[ScoredRanking]:
    """The rankings of a run that was read, for all queries; one that it lacks has no hits."""
    for query in queries:
        hits = [hit for hit in run.hits.get(query, ()) if not (drop_same_id and hit == query)][:depth]
        yield query, hits, -np.arange(len(hits), dtype=np.float64)


def run_facts(run: TrecRun, collection: Collection, limit: int) -> dict[str, int]:
    """Count what a run and a collection do not share, and what its order leaves open.

    Args:
        run: what was read.
        collection: documents and queries.
        limit: number of hits that a metric without a cut-off sees; 0 where there is no such metric.
    """
    known = {document.id for document in collection.documents}
    listed = {hit for hits in run.hits.values() for hit in hits}
    return {
        "lines": run.lines,
        "queries": len(collection.queries),
        "limit": limit,
        "unknown_documents": len(listed - known),
        "unknown_queries": run.unknown_queries,
        "queries_without_hits": sum(query not in run.hits for query in collection.queries),
        "queries_cut": sum(len(hits) > limit for hits in run.hits.values()) if limit else 0,
        "tied_hits": run.tied,
        "queries_with_other_ranks": run.other_ranks,
        "repeated_documents": run.repeated,
        "escaped_ids": run.escaped,
    }


def run_warnings(name: str, facts: Mapping[str, int]) -> list[str]:
    """Say what a run's figures do not say, one line for each kind that is there; ``facts`` are of ``run_facts``."""
    lines = {
        "unknown_documents": "{unknown_documents:,} documents are not in the corpus; they keep their places.",
        "unknown_queries": "{unknown_queries:,} queries have no qrels; they are left out.",
        "queries_without_hits": "no hits for {queries_without_hits:,} of {queries:,} queries; they count 0.",
        "queries_cut": "{queries_cut:,} queries have more than {limit:,} hits; metrics without a cut-off see these.",
        "tied_hits": "{tied_hits:,} hits have the score of another; they are ordered by id, as in trec_eval.",
        "queries_with_other_ranks": "ranks give another order than scores in {queries_with_other_ranks:,} queries; "
        "scores count, as in trec_eval.",
        "repeated_documents": "{repeated_documents:,} lines repeat a document of their query; its best place counts.",
        "escaped_ids": "{escaped_ids:,} ids stand in it with %20 for white space.",
    }
    return [f"{name}: {line.format(**facts)}" for fact, line in lines.items() if facts[fact]]


def _file_names(rows: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A name for the file of each row: the last part of the system's name, or all of it where that is not enough."""
    systems = dict.fromkeys(system for system, _ in rows)
    short = {system: _safe(Path(system).name or system) for system in systems}
    shared = {name for name in short.values() if [*short.values()].count(name) > 1}
    names: dict[tuple[str, str], str] = {}
    for system, mode in rows:
        name = _safe(system) if short[system] in shared else short[system]
        name += "" if mode == "lexical" else f".{mode}"
        number = 1
        while (made := name if number == 1 else f"{name}-{number}") in names.values():
            number += 1
        names[system, mode] = made
    return names


def _safe(name: str) -> str:
    return re.sub(r"[^\w+.-]+", "_", name).strip("._") or "model"
