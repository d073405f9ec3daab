"""Evaluates systems on a collection: the ranking of the index, the arithmetic of trec_eval through ir-measures.

Ties are broken by id, as everywhere in this package: trec_eval is given ranks as scores, so that it does not break ties
by itself. A query without hits counts as 0. Where documents share an id, the best place counts (MaxP; Dai and Callan,
*Deeper text understanding for IR*, SIGIR 2019). A metric sees the hits down to its own cut-off, or 1,000, so that its
value does not depend on the metrics beside it.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, groupby, islice
from types import MappingProxyType
from typing import Any

import numpy as np

from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.types import FloatArray, TextEncoder
from pretrieve.evaluation.data_facts import data_facts, data_warnings
from pretrieve.evaluation.result import Result, Row, RowMode, Test
from pretrieve.evaluation.significance import holm, paired_permutation
from pretrieve.evaluation.trec_runs import (
    RunFiles,
    ScoredRanking,
    run_facts,
    run_rankings,
    run_warnings,
)
from pretrieve.index.index import Index, IndexOptions, Mode
from pretrieve.index.pseudo import full_text
from pretrieve.index.ranking import groups_of
from pretrieve.index.settings import Setting, usual_settings
from pretrieve.text.beir import Collection, check_ids
from pretrieve.text.trec_runs import TrecRun

DEFAULT_METRICS = ("nDCG@10", "R@100", "RR@10")
BASELINE = "BM25"  # name of the default setting's row
_DEPTH = 1000  # depth of metrics without a cut-off
_CHUNK = 1000  # queries evaluated at once
_NONE: Mapping[str, TrecRun] = MappingProxyType({})

Ranking = tuple[str, list[str]]  # a query's id and the ids of its hits, best first


def evaluate(
    collection: Collection,
    models: Mapping[str, TextEncoder],
    *,
    modes: Sequence[Mode] = ("dense", "hybrid"),
    lexical: Sequence[str] = (),
    metrics: Sequence[str] = DEFAULT_METRICS,
    drop_same_id: bool = False,
    max_passage: bool = False,
    options: IndexOptions = IndexOptions(),  # noqa: B008 - frozen
    runs: Mapping[str, TrecRun] = _NONE,
    files: RunFiles | None = None,
) -> Result:
    """Rank a collection by BM25, and by every model in every mode, and evaluate all rankings.

    Args:
        collection: documents, queries and qrels.
        models: encoders by display name.
        modes: search modes of the models; BM25 is always included.
        lexical: names of further settings of BM25 to evaluate (``index.settings``).
        metrics: names that ir-measures knows.
        drop_same_id: drop hits with the id of the query (ArguAna, Quora).
        max_passage: documents may share an id: the best place of an id counts.
        options: options of the index; the fusion weight is chosen from the documents alone.
        runs: rankings of other systems, by display name.
        files: where rankings are written; metrics fit (``check_one_depth``).

    Raises:
        UsageError: unknown metric, mode or setting.
        DataError: documents share an id, and ``max_passage`` is not given.
        StorageError: a run cannot be written.
    """
    measures = parse_metrics(metrics)
    if not max_passage:
        check_ids(collection.documents)
    facts = data_facts(collection)
    warnings = data_warnings(facts, drop_same_id=drop_same_id)
    files = files or RunFiles({})
    indices = _lexical_indices(collection, usual_settings(lexical), options)
    rows, notes = [], dict[str, Any]()
    for system, mode, index in _systems(collection, models, modes, indices, options, notes):
        found = rank_scored(index, collection, depth_of(measures), mode, drop_same_id=drop_same_id)
        rows.append(_row(system, mode, files.keep(system, mode, found), collection, measures))
    for name, run in runs.items():
        found = run_rankings(run, collection.queries, depth_of(measures), drop_same_id=drop_same_id)
        rows.append(_row(name, "run", found, collection, measures))
        notes[name] = {"run": run_facts(run, collection, _limit(measures))}
        warnings += run_warnings(name, notes[name]["run"])
    return Result(
        collection=collection.name,
        split=collection.split,
        queries=list(collection.qrels),
        rows=rows,
        tests=compare(rows),
        drop_same_id=drop_same_id,
        lexical={name: index.lexical.describe() for name, index in indices.items()},
        notes=notes,
        data=facts,
        warnings=warnings,
    )


def _systems(
    collection: Collection,
    models: Mapping[str, TextEncoder],
    modes: Sequence[Mode],
    lexical: Mapping[str, Index],
    options: IndexOptions,
    notes: dict[str, Any],
) -> Iterator[tuple[str, Mode, Index]]:
    """Each system and mode with its index; that of a model is built, and entered in ``notes``, when its turn comes."""
    for name, index in lexical.items():
        yield name, "lexical", index
    for name, encoder in models.items():
        index = Index.of(collection.documents, encoder, options, lexical=lexical[BASELINE].lexical)
        notes[name] = {"fusion": index.fusion.facts(), "fingerprint": encoder.fingerprint}
        for mode in modes:
            if mode != "lexical":
                yield name, mode, index


def _row(
    system: str, mode: RowMode, rankings: Iterator[ScoredRanking], collection: Collection, measures: Mapping[str, Any]
) -> Row:
    ranked = ((query, hits) for query, hits, _ in rankings)
    return Row(system=system, mode=mode, values=evaluate_rankings(ranked, collection, measures))


def _lexical_indices(collection: Collection, settings: Sequence[Setting], options: IndexOptions) -> dict[str, Index]:
    """An index without vectors for the default BM25 and for each other setting, by the name of its row."""
    found = {BASELINE: Index.of(collection.documents, None, options)}
    for setting in settings:
        lexical = setting.build(map(full_text, collection.documents))
        found[setting.title] = Index.of(collection.documents, None, options, lexical=lexical)
    return found


def rank(index: Index, collection: Collection, depth: int, mode: Mode, *, drop_same_id: bool) -> Iterator[Ranking]:
    """Yield the ids of each query's best ``depth`` documents; those that share an id are one, at the best place."""
    for query, hits, _ in rank_scored(index, collection, depth, mode, drop_same_id=drop_same_id):
        yield query, hits


def rank_scored(
    index: Index, collection: Collection, depth: int, mode: Mode, *, drop_same_id: bool
) -> Iterator[ScoredRanking]:
    """As ``rank``, with scores."""
    ids = [document.id for document in collection.documents]
    found = index.rank(list(collection.queries.values()), depth + drop_same_id, mode, groups=groups_of(ids))
    for query, (numbers, scores) in zip(collection.queries, found, strict=True):
        hits = [ids[number] for number in numbers.tolist()]
        if drop_same_id and query in hits:
            place = hits.index(query)
            hits, scores = hits[:place] + hits[place + 1 :], np.delete(scores, place)
        yield query, hits[:depth], scores[:depth]


def evaluate_rankings(
    rankings: Iterator[Ranking], collection: Collection, measures: Mapping[str, Any]
) -> dict[str, FloatArray]:
    """Return each metric's value for every query, (Q,) in the collection's order.

    Raises:
        UsageError: ir-measures needs another package for a metric.
    """
    import ir_measures

    position = {query: place for place, query in enumerate(collection.qrels)}
    values: dict[str, FloatArray] = {name: np.zeros(len(position)) for name in measures}
    names = {measure: name for name, measure in measures.items()}
    rankings = iter(rankings)
    while part := {query: list(dict.fromkeys(hits)) for query, hits in islice(rankings, _CHUNK)}:
        qrels = {query: dict(collection.qrels[query]) for query in part}
        try:
            for depth, same in groupby(sorted(names, key=_own_depth), key=_own_depth):
                run = {query: {hit: float(-place) for place, hit in enumerate(hits[:depth])}
                       for query, hits in part.items()}  # fmt: skip
                for found in ir_measures.iter_calc(list(same), qrels, run):
                    values[names[found.measure]][position[found.query_id]] = found.value
        except ValueError as error:
            raise UsageError(f"{', '.join(measures)}: a metric cannot be computed here ({error}).") from None
    return values


def parse_metrics(names: Sequence[str]) -> dict[str, Any]:
    """Turn names such as ``nDCG@10`` into measures of ir-measures.

    Raises:
        UsageError: unknown name, with a suggestion.
    """
    import ir_measures

    measures: dict[str, Any] = {}
    for name in names:
        try:
            measure = ir_measures.parse_measure(name)
        except (NameError, ValueError, SyntaxError, KeyError):
            known = [*DEFAULT_METRICS, *ir_measures.measures.registry]
            raise UsageError(f"unknown metric {name!r}.{suggest(name, known)}") from None
        _try(name, measure)
        if measure in measures.values():
            raise UsageError(f"metric {name!r} is another name of a metric that is already given: leave it out.")
        measures[name] = measure
    return measures


def _try(name: str, measure: Any) -> None:
    """Refuse a metric that cannot be computed: its cut-off or a required tool is missing."""
    import ir_measures

    if measure.params.get("cutoff", 1) < 1:
        raise UsageError(f"metric {name!r}: its cut-off is at least 1.")
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            list(ir_measures.iter_calc([measure], {"q": {"d": 1}}, {"q": {"d": 1.0}}))
    except Exception as error:  # various errors of several packages
        reason = str(error).strip().splitlines()
        raise UsageError(
            f"metric {name!r} cannot be computed here ({reason[0] if reason else 'it needs a cut-off, such as @10'})."
        ) from None


def depth_of(measures: Mapping[str, Any]) -> int:
    """Number of documents to rank per query so that all measures are exact."""
    return max(map(_own_depth, measures.values()), default=_DEPTH)


def _own_depth(measure: Any) -> int:
    """Number of hits that a metric sees: its cut-off, unless it has none or passes over documents without qrels."""
    cutoff = int(measure.params.get("cutoff") or 0)
    return max(cutoff, _DEPTH) if _sees_all(measure) else cutoff


def _sees_all(measure: Any) -> bool:
    """Whether a metric depends on all hits of a ranking."""
    return not measure.params.get("cutoff") or bool(measure.params.get("judged_only"))


def _limit(measures: Mapping[str, Any]) -> int:
    """Number of hits that metrics of all hits see; 0 where there is none."""
    return max((_own_depth(measure) for measure in measures.values() if _sees_all(measure)), default=0)


def check_one_depth(measures: Mapping[str, Any]) -> None:
    """Refuse metrics whose figures are not those of one and the same run.

    Raises:
        UsageError: a metric without a cut-off sees fewer hits than another one.
    """
    deepest = depth_of(measures)
    for name, measure in measures.items():
        if _sees_all(measure) and _own_depth(measure) < deepest:
            raise UsageError(
                f"--run: {name} sees {_own_depth(measure):,} hits and another metric {deepest:,}, so that one file "
                "cannot give both figures: evaluate them one by one."
            )


def compare(rows: Sequence[Row]) -> list[Test]:
    """Test each row against the first lexical one, systems against each other in a mode, and runs against all."""
    first = next((row for row in rows if row.mode == "lexical"), None)
    pairs = [
        (a, b)
        for b, a in combinations(rows, 2)
        if b is first or a.mode == "run" or (a.mode == b.mode and a.system != b.system)
    ]
    tests: list[Test] = []
    for metric in rows[0].values:
        differences = [(a.values[metric], b.values[metric]) for a, b in pairs]
        p_values = [paired_permutation(a, b) for a, b in differences]
        for (a, b), p, p_holm in zip(pairs, p_values, holm(p_values), strict=True):
            difference = a.mean(metric) - b.mean(metric)
            tests.append(Test(a=a.name, b=b.name, metric=metric, difference=difference, p=p, p_holm=p_holm))
    return tests
