"""The workflow of ``pretrieve generate``: documents in, labels out, with the user's own generator and cross-encoder.

Wang et al., *GPL: generative pseudo labeling for unsupervised domain adaptation of dense retrieval*, NAACL 2022, arXiv
2112.07577: queries are generated for documents, hard negatives are mined for them, and a cross-encoder scores both, so
that a false negative gets a small margin. Every stage saves its progress in ``FILE.parts``; FILE is published whole.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from pretrieve.core import files
from pretrieve.core.config import options_of
from pretrieve.core.errors import DataError, UsageError
from pretrieve.core.rng import shuffled
from pretrieve.core.types import Document, IntArray, TextEncoder
from pretrieve.generation.asking import Generator, write_queries
from pretrieve.generation.endpoint import MOST
from pretrieve.generation.prompts import Prompt
from pretrieve.index.index import Index
from pretrieve.models.devices import using
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.finetune.mine import MineOptions, load_negatives, mine
from pretrieve.pipeline.generate.request import GenerateRequest, plain_values
from pretrieve.pipeline.generate.round_trip import Kept, labels_of, round_trip
from pretrieve.pipeline.generate.scored import CrossEncoderScorer, examples_of, write_scored
from pretrieve.pipeline.generate.write_beir import write_beir
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.arguments import path_of
from pretrieve.pipeline.run.blocks import Blocks
from pretrieve.pipeline.run.memory_sources import sources_of
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.recipe import check_same, plain
from pretrieve.pipeline.run.sources import read_request
from pretrieve.pipeline.run.stopping import stoppable
from pretrieve.pipeline.run.usage_warnings import before_search
from pretrieve.pipeline.run.workspace import hold_parts
from pretrieve.sampling.labels import Labels
from pretrieve.text.documents import Documents


@dataclass(frozen=True, kw_only=True)
class GenerateReport:
    """The report of a run, as saved beside the file.

    Attributes:
        values: arguments of the run.
        prompt: the template.
        documents: number read, prompted with, refused by the endpoint, and with at least one kept query.
        counts: number of queries generated, kept, and dropped by reason.
        queries: number of queries in the file; one made from two documents counts once.
        negatives: number of negatives in the file.
        examples: some queries with their documents.
    """

    values: dict[str, Any]
    prompt: str
    documents: dict[str, int]
    counts: dict[str, Any]
    queries: int
    negatives: int
    examples: list[dict[str, str]]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dict(vars(self))


def generate(
    request: GenerateRequest,
    listener: Listener | None = None,
    *,
    model: TextEncoder | None = None,
    documents: Iterable[Document] | None = None,
) -> GenerateReport:
    """Generate queries for documents, filter them, mine hard negatives, and score both.

    Args:
        request: arguments of the run.
        listener: receives progress.
        model: the retriever, if it is already open.
        documents: in place of ``request.sources``.

    Raises:
        PretrieveError: any error that a user can fix: documents, models, endpoint, options, disk, an interrupted run.
    """
    listener = listener or Silent()
    request.check()
    if request.resume and request.output.is_file() and not request.parts.is_dir():
        return _finished(request, listener)
    advice = f"progress is saved in {request.parts}; add --resume to continue"
    with (
        stoppable(advice),
        hold_parts(request.parts, clear=request.overwrite and not request.resume),
        using(request.device),
    ):
        report = _Run(request, listener, model).execute(documents)
    shutil.rmtree(request.parts)
    return report


def generate_for(
    model: TextEncoder,
    location: str,
    own: Iterable[Document] | None,
    output: str | Path,
    sources: object,
    options: Mapping[str, Any],
    listener: Listener,
) -> GenerateReport:
    """Generate for an open retriever.

    Args:
        model: searches beside BM25.
        location: its name.
        own: the retriever's documents, if any.
        output: the file of labels.
        sources: sources, or documents in memory, in place of its own; ``()`` for its own.
        options: other arguments of ``GenerateRequest`` by name.
        listener: receives progress.

    Raises:
        PretrieveError: as ``generate``.
    """
    processes.current().check_first("Retriever.generate")
    values = {"model": location, "output": path_of(output, "output"), "sources": ()}
    request = options_of(GenerateRequest, {**options, **values}, where="generate")
    if isinstance(sources, tuple) and not sources:
        return generate(request, listener, model=model, documents=own)
    request.check()
    with sources_of(sources, listener, output=request.output, on_bad=request.on_bad, fields=request.fields) as named:
        return generate(replace(request, sources=named), listener, model=model)


def _finished(request: GenerateRequest, listener: Listener) -> GenerateReport:
    """The report of a finished run.

    Raises:
        FingerprintError: it belongs to another command.
    """
    report = GenerateReport(**orjson.loads(request.report.read_bytes()))
    check_same(report.values, plain(plain_values(request)))
    listener.note(f"{request.output} is already finished.")
    return report


class _Run:
    """One run: its models, opened once, and its stages."""

    def __init__(self, request: GenerateRequest, listener: Listener, model: TextEncoder | None) -> None:
        self.request, self.listener, self.parts = request, listener, request.parts
        self.generator: Generator = request.open_generator()
        self.prompt: Prompt = request.asked_as(self.generator.kind)
        self.scorer = CrossEncoderScorer.open(request.cross_encoder, listener)
        self.model = model
        if model is None and request.model is not None:
            for line in before_search(request.model, ModelOptions()):
                listener.note(line)
            self.model = open_encoder(request.model)

    def execute(self, given: Iterable[Document] | None) -> GenerateReport:
        """Execute all stages; each resumes from what an earlier run finished."""
        documents = self._documents(given)
        self._check_same(documents)
        chosen = _chosen(len(documents), self.request.max_documents, self.request.seed)
        written = self._generated(documents, chosen)
        index = self._index(documents)
        kept = self._filtered(documents, written, index)
        labels = labels_of(kept, documents, self.parts / "records")
        if self.request.negatives:
            labels = self._with_negatives(labels, index)
        report = self._report(labels, kept, documents=len(documents), prompted=len(chosen))
        scored = write_scored(labels, self.parts / "scored.jsonl.parts", self.scorer, self.listener)
        if self.request.beir is not None:
            write_beir(self.request.beir, labels, replace=self.request.overwrite or self.request.resume)
        files.write_file(self.request.report, files.to_json(report.to_json()))
        with files.create_file(self.request.output) as file:
            for block in scored.data():
                file.write(block)
        return report

    def _documents(self, given: Iterable[Document] | None) -> Documents:
        target, request = self.parts / "documents", self.request
        if given is not None:
            return Documents.write(target, given, replace=True)
        if not request.sources:
            raise UsageError("there are no documents: give sources.")
        return read_request(request, target, self.listener)

    def _check_same(self, documents: Documents) -> None:
        """Record what the parts belong to, or refuse those of another run.

        Raises:
            FingerprintError: names what differs.
        """
        facts = self.request.facts(
            documents=documents.fingerprint,
            generator=self.generator.fingerprint,
            prompt=self.prompt.template,
            model=self.model.fingerprint if self.model is not None else "",
            cross_encoder=self.scorer.fingerprint,
        )
        said = self.parts / "run.json"
        if said.is_file():
            check_same(orjson.loads(said.read_bytes()), plain(facts))
        files.write_file(said, files.to_json(facts))

    def _generated(self, documents: Documents, chosen: IntArray) -> Blocks:
        """Call the generator; a block holds the documents of one batch.

        The size of a block does not depend on ``concurrency``, which may change when a run resumes.
        """
        size = self.request.batch_size if self.request.endpoint is None else MOST
        blocks = Blocks(self.parts / "queries.jsonl.parts", len(chosen), size)
        self.listener.stage("generate", len(chosen), "documents")

        def make(items: range) -> Iterator[object]:
            numbers = chosen[items.start : items.stop].tolist()
            batch = [(number, documents[number]) for number in numbers]
            for number, queries in zip(numbers, write_queries(self.generator, self.prompt, batch), strict=True):
                yield {"document": number, "queries": queries}

        blocks.run(make, self.listener)
        return blocks

    def _index(self, documents: Documents) -> Index:
        """Index the documents; vectors are stored on disk and reused when a run resumes."""
        self.listener.stage("index", len(documents), "documents")
        target = self.parts / "index"
        if self.model is None:
            index = Index.of(documents)
        elif (target / files.MANIFEST).is_file():
            index = Index.open(target, self.model)
        else:
            index = Index.build(target, iter(documents), self.model, replace=True)
        self.listener.advance(len(documents))
        return index

    def _filtered(self, documents: Documents, written: Blocks, index: Index) -> Kept:
        self.listener.stage("filter", written.total, "documents")
        found = ((line["document"], documents[line["document"]], line["queries"]) for line in written.values())
        request = self.request
        kept = round_trip(
            found, index, self.listener, keep_within=request.keep_within, copied_words=request.copied_words
        )
        if not kept.queries:
            counts = ", ".join(
                f"{number:,} {reason.replace('_', ' ')}"
                for reason, number in kept.to_json()["dropped"].items()
                if number
            )
            raise DataError(
                f"no query was kept of {kept.counts['generated']:,} ({counts or 'the generator wrote none'}): look at "
                f"{written.folder}, and restart with --overwrite and another --generator, --prompt or --keep-within."
            )
        return kept

    def _with_negatives(self, labels: Labels, index: Index) -> Labels:
        request, target = self.request, self.parts / "negatives.jsonl"
        if not target.is_file():
            options = MineOptions(
                by="bm25" if self.model is None else "both",
                number=request.negatives,
                depth=request.depth,
                seed=request.seed,
            )
            mine(labels, self.model, target, options, self.listener, index=index)
        return labels.with_negatives(load_negatives(labels, target))

    def _report(self, labels: Labels, kept: Kept, *, documents: int, prompted: int) -> GenerateReport:
        answered = {document for _, numbers in kept.queries.values() for document in numbers}
        return GenerateReport(
            values=plain_values(self.request),
            prompt=self.prompt.template,
            documents={
                "collection": documents,
                "prompted": prompted,
                "refused": kept.refused,
                "with_queries": len(answered),
            },
            counts=kept.to_json(),
            queries=len(labels),
            negatives=len(labels.negatives.tokens),
            examples=examples_of(labels),
        )


def _chosen(count: int, most: int | None, seed: int) -> IntArray:
    """Numbers of the documents to generate queries for, ascending."""
    if most is None or most >= count:
        return np.arange(count)
    return np.sort(shuffled(np.arange(most), count, seed, "generate/documents"))
