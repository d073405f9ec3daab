"""The workflow of ``pretrieve evaluate``: a labelled collection and models in, one table out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pretrieve.core.errors import UsageError
from pretrieve.core.files import check_apart
from pretrieve.core.types import TextEncoder
from pretrieve.evaluation.benchmark import BASELINE, check_one_depth, evaluate, parse_metrics
from pretrieve.evaluation.crosslingual import Languages, evaluate_pairs, is_cross_lingual, load_languages
from pretrieve.evaluation.crosslingual_result import CrossLingualResult
from pretrieve.evaluation.result import Result
from pretrieve.evaluation.trec_runs import RunFiles, run_paths
from pretrieve.index.settings import usual_settings
from pretrieve.models.devices import inference_lines
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.training_queries import seen_queries
from pretrieve.pipeline.run.usage_warnings import before_search
from pretrieve.text.beir import Collection, load_collection
from pretrieve.text.named import collection_folder
from pretrieve.text.qrels import binary
from pretrieve.text.trec_runs import is_trec_run, read_trec_run

_Result = TypeVar("_Result", Result, CrossLingualResult)
_Labelled = TypeVar("_Labelled", Collection, Languages)


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """Arguments of ``evaluate``; see the options of the command."""

    folder: Path
    models: tuple[str, ...] = ()
    modes: tuple[Literal["hybrid", "dense", "lexical"], ...] = ("dense", "hybrid")
    lexical: tuple[str, ...] = ()
    split: str = "test"
    metrics: tuple[str, ...] = ("nDCG@10", "R@100", "RR@10")
    pooling: Literal["mean", "cls", "lasttoken", "max"] | None = None
    similarity: Literal["dot", "cosine"] | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    max_length: int | None = None
    like: str | None = None
    drop_same_id: bool = False
    max_passage: bool = False
    use_titles: bool = True
    run: Path | None = None
    relevant_from: int | None = None


def run_evaluation(
    request: EvaluateRequest, listener: Listener | None = None, opened: Mapping[str, TextEncoder] | None = None
) -> Result | CrossLingualResult:
    """Evaluate models on a labelled collection, or on every pair of languages of a cross-lingual one.

    Args:
        request: arguments of the evaluation.
        listener: receives progress.
        opened: models in memory, by name, evaluated in addition to those that ``request`` names.

    Raises:
        UsageError: the folder, a split, a metric, a setting of BM25 or a model does not exist.
        DataError: a line of the collection cannot be read, or an id is given twice.
        CorruptError: what a model's folder says about its training queries cannot be read.
        StorageError: a run cannot be written.
        MissingExtraError: the folder is the name of a collection, and ir_datasets is not installed.
    """
    with collection_folder(request.folder, request.split) as folder:
        return _run(replace(request, folder=folder), listener or Silent(), opened or {})


def _run(
    request: EvaluateRequest, listener: Listener, opened: Mapping[str, TextEncoder]
) -> Result | CrossLingualResult:
    _check_grades(request.relevant_from, parse_metrics(request.metrics))
    usual_settings(request.lexical)
    if len(set(request.models)) != len(request.models):
        raise UsageError("--model: the same model was given twice.")
    described = ModelOptions(
        pooling=request.pooling,
        similarity=request.similarity,
        query_prompt=request.query_prompt,
        document_prompt=request.document_prompt,
        max_length=request.max_length,
        like=request.like,
    )
    runs = [name for name in request.models if is_trec_run(Path(name))]
    models = [name for name in request.models if name not in runs]
    for name in models:
        if Path(name).is_file():
            raise UsageError(
                f"--model {name}: a file that is no TREC run (query, Q0, document, rank, score and tag in its first "
                "line); a model is a folder."
            )
    for line in (line for model in models for line in before_search(model, described)):
        listener.note(line)
    if is_cross_lingual(request.folder):
        return _evaluate_pairs(request, described, opened, listener)
    return _evaluate_one(request, models, runs, described, opened, listener)


def _check_grades(relevant_from: int | None, measures: Mapping[str, Any]) -> None:
    """Check that grades can be made binary."""
    if relevant_from is None:
        return
    if relevant_from < 1:
        raise UsageError(f"--relevant-from {relevant_from}: a grade of at least 1.")
    for name, measure in measures.items():
        if measure.params.get("rel", 1) > 1:
            raise UsageError(f"--relevant-from {relevant_from}: grades are 0 and 1 then; leave rel= out of {name}.")


def _evaluate_one(
    request: EvaluateRequest,
    models: Sequence[str],
    runs: Sequence[str],
    described: ModelOptions,
    opened: Mapping[str, TextEncoder],
    listener: Listener,
) -> Result:
    listener.stage("read", unit="documents and queries")
    collection = load_collection(
        request.folder, request.split, titles=request.use_titles, max_passage=request.max_passage
    )
    collection, said = _binary(collection, request.relevant_from)
    ids = [document.id for document in collection.documents]
    read = {
        name: read_trec_run(Path(name), collection.queries, documents=ids, max_passage=request.max_passage)
        for name in runs
    }
    listener.advance(len(collection.documents) + len(collection.queries))
    if request.run is not None:
        check_one_depth(parse_metrics(request.metrics))  # before models are opened
    files = _run_files(request, [*models, *opened])
    encoders = _open(models, described, listener) | dict(opened)
    listener.stage("evaluate", unit="systems")
    result = evaluate(
        collection,
        encoders,
        modes=request.modes,
        lexical=request.lexical,
        metrics=request.metrics,
        drop_same_id=request.drop_same_id,
        max_passage=request.max_passage,
        runs=read,
        files=files,
    )
    listener.advance(len(result.rows))
    if files.escaped:
        listener.note(f"--run: {len(files.escaped):,} ids hold white space, which is written as %20; trec_eval's qrels "
                      "need it too.")  # fmt: skip
    result = replace(result, runs=files.written, warnings=[*said, *result.warnings])
    return _with_training(result, encoders, list(collection.queries.values()))


def _binary(collection: _Labelled, relevant_from: int | None) -> tuple[_Labelled, list[str]]:
    """A collection with binary grades, and what that changed."""
    if relevant_from is None:
        return collection, []
    qrels, said = binary(collection.qrels, relevant_from)
    return replace(collection, qrels=qrels), [said]


def _run_files(request: EvaluateRequest, models: Sequence[str]) -> RunFiles:
    """The files of rankings; none of them is a run that is read."""
    if request.run is None:
        return RunFiles({})
    lexical = [BASELINE, *(setting.title for setting in usual_settings(request.lexical))]
    paths = run_paths(request.run, lexical, models, request.modes)
    for path in paths.values():
        check_apart(path, [request.folder, *request.models])
    return RunFiles(paths)


def _open(models: Iterable[str], described: ModelOptions, listener: Listener) -> dict[str, TextEncoder]:
    found = {name: open_encoder(name, described) for name in models}
    for line in dict.fromkeys(line for encoder in found.values() for line in inference_lines(encoder)):
        listener.note(line)
    return found


def _evaluate_pairs(
    request: EvaluateRequest, described: ModelOptions, opened: Mapping[str, TextEncoder], listener: Listener
) -> CrossLingualResult:
    if request.drop_same_id:
        raise UsageError("--drop-same-id is for one language: leave it out.")
    if request.run is not None:
        raise UsageError("--run is for one language: leave it out.")
    if any(is_trec_run(Path(name)) for name in request.models):
        raise UsageError("--model: a run is evaluated in one language, not across several: leave it out.")
    if request.lexical:
        raise UsageError("--lexical is for one language: leave it out.")
    listener.stage("read", unit="languages")
    collection = load_languages(
        request.folder, request.split, titles=request.use_titles, max_passage=request.max_passage
    )
    listener.advance(len(collection.codes))
    collection, said = _binary(collection, request.relevant_from)
    encoders = _open(request.models, described, listener) | dict(opened)
    listener.stage("evaluate", len(collection.codes) + 1, "corpora")
    result = evaluate_pairs(
        collection,
        encoders,
        modes=request.modes,
        metrics=request.metrics,
        max_passage=request.max_passage,
        on_progress=lambda code: listener.advance(1, code),
    )
    result = replace(result, warnings=[*said, *result.warnings])
    return _with_training(result, encoders, [text for texts in collection.queries.values() for text in texts.values()])


def _with_training(result: _Result, encoders: Mapping[str, TextEncoder], texts: Sequence[str]) -> _Result:
    """The result, with what the models' folders say about training on its queries."""
    notes, warnings = dict(result.notes), list(result.warnings)
    for name, encoder in encoders.items():
        seen = seen_queries(encoder.location, texts)
        if seen is not None:
            notes[name] = {**notes[name], "fine_tuned_on": seen.facts()}
            warnings.append(seen.warning(name))
    return replace(result, notes=notes, warnings=warnings)
