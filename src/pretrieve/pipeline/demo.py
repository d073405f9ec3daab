"""The demonstration: everything that pretrieve does, on the documentation of the installed packages."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from pretrieve.core import files
from pretrieve.core.model_files import START
from pretrieve.core.types import Document
from pretrieve.evaluation.result import Result
from pretrieve.index.hits import Hit
from pretrieve.index.index import Index
from pretrieve.models.bag import Bag
from pretrieve.pipeline.evaluate import EvaluateRequest, run_evaluation
from pretrieve.pipeline.pretrain.data import split
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.sources import DOCUMENTS
from pretrieve.text.documents import Documents

QUERIES = ("split a string into words", "wait for several threads to finish", "write a table to a file")
_SUMMARY = re.compile(r"\s*(.+?(?:[.!?](?=\s)|(?=\n\s*\n)))", re.DOTALL)
HELD_OUT = 2_000  # documents whose summaries are queries: with fewer, the gain of training is not significant
POOL = 10_000  # documents that the held-out pairs are evaluated on
_FEWEST_WORDS = 3, 8  # of a summary, and of what is left of its document


@dataclass(frozen=True, kw_only=True)
class DemoRequest:
    """Arguments of ``run``; see the options of the command."""

    output: Path
    minutes: float = 0.75
    source: str = "python:"
    seed: int = 0
    overwrite: bool = True


@dataclass(frozen=True, kw_only=True)
class Done:
    """Folders, the evaluation result, and three searches with their hits."""

    model: Path
    index: Path
    result: Result
    searches: list[tuple[str, list[Hit]]]


def run(request: DemoRequest, listener: Listener) -> Done:
    """Train, evaluate on held-out pairs of summary and body, index, and search.

    Raises:
        PretrieveError: as ``train``, ``run_evaluation`` and ``build_index``.
    """
    shared = request.output / "shared"
    shutil.rmtree(shared, ignore_errors=True)  # left by an interrupted demonstration
    try:
        return _run(request, shared, listener)
    finally:
        shutil.rmtree(shared, ignore_errors=True)


def _run(request: DemoRequest, shared: Path, listener: Listener) -> Done:
    """The same, with a folder for documents and tokens that is removed afterwards: the index has its own."""
    model, index, pairs = (request.output / name for name in ("model", "index", "pairs"))
    train_request = TrainRequest(
        sources=(request.source,), output=model, minutes=request.minutes, seed=request.seed,
        overwrite=request.overwrite, on_bad="skip", held_out=HELD_OUT, shared=shared,
    )  # fmt: skip
    train(train_request, listener)
    documents = Documents.open(shared / DOCUMENTS)
    write_pairs(documents, set(split(len(documents), request.seed, HELD_OUT)[1].tolist()), pairs)
    result = run_evaluation(EvaluateRequest(folder=pairs, models=(str(model / START), str(model))), listener)
    assert isinstance(result, Result)
    listener.stage("index", len(documents), "documents")
    built = Index.build(index, documents, Bag.load(model.absolute()), replace=request.overwrite)
    listener.advance(len(documents))
    return Done(
        model=model,
        index=index,
        result=_named(result, model),
        searches=[(query, built.search(query, k=3)) for query in QUERIES],
    )


def write_pairs(documents: Documents, held_out: set[int], target: Path) -> None:
    """Write a BEIR folder: summaries of held-out documents are queries; the rest of their documents is relevant.

    Evenly spaced other documents, without their summary, are distractors.
    """
    corpus, queries, qrels = [], [], ["query-id\tcorpus-id\tscore"]
    spaced = range(0, len(documents), max(1, len(documents) // POOL))
    for index in sorted(held_out.union(spaced)):
        document = documents[index]
        summary, rest = cut_summary(document)
        corpus.append(orjson.dumps({"_id": document.id, "title": document.title, "text": rest}))
        long_enough = len(summary.split()) >= _FEWEST_WORDS[0] and len(rest.split()) >= _FEWEST_WORDS[1]
        if index in held_out and long_enough:
            queries.append(orjson.dumps({"_id": f"q{index}", "text": summary}))
            qrels.append(f"q{index}\t{document.id}\t1")
    with files.create(target, "benchmark", replace=True) as folder:
        folder.write("corpus.jsonl", b"\n".join(corpus) + b"\n")
        folder.write("queries.jsonl", b"\n".join(queries) + b"\n")
        folder.write("qrels/test.tsv", ("\n".join(qrels) + "\n").encode())


def cut_summary(document: Document) -> tuple[str, str]:
    """Divide a document's text into its first sentence and the rest; the first is empty where there is only one."""
    match = _SUMMARY.match(document.text)
    if match is None or not document.text[match.end() :].strip():
        return "", document.text
    return " ".join(match[1].split()), document.text[match.end() :].strip()


def _named(result: Result, model: Path) -> Result:
    """The result with readable names in place of folders."""
    names = {str(model): "trained", str(model / START): "random start"}
    rows = [replace(row, system=names.get(row.system, row.system)) for row in result.rows]
    tests = []
    for test in result.tests:
        a, b = test.a, test.b
        for path in sorted(names, key=len, reverse=True):
            a, b = a.replace(path, names[path]), b.replace(path, names[path])
        tests.append(replace(test, a=a, b=b))
    return replace(result, rows=rows, tests=tests)
