"""``Retriever``: the Python interface."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pretrieve.core.config import options_of
from pretrieve.core.errors import UsageError
from pretrieve.core.extras import require
from pretrieve.core.types import Document
from pretrieve.index.index import Index, Mode
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.run.progress import shown as _display

if TYPE_CHECKING:
    from pretrieve.core.types import TextEncoder
    from pretrieve.evaluation.crosslingual_result import CrossLingualResult
    from pretrieve.evaluation.fair import FairTable
    from pretrieve.evaluation.result import Result
    from pretrieve.index.hits import Hit
    from pretrieve.index.pseudo import Records
    from pretrieve.pipeline.finetune.mine import By

OnBad = Literal["auto", "fail", "skip", "quarantine"]
Paths = str | Path | Sequence[str | Path]


class Retriever:
    """A model, and the documents that it searches, if any.

    Attributes:
        model: encodes queries and documents.
        location: folder or hub name of the model.
        documents: default corpus of ``search``; None for a model alone.
    """

    def __init__(self, model: TextEncoder, location: str, documents: Records | None = None) -> None:
        self.model, self.location, self.documents = model, location, documents

    @staticmethod
    def train(
        sources: str | Path | Sequence[str | Path],
        output: str | Path | None = None,
        *,
        method: str | None = None,
        base: str = "static",
        minutes: float | None = None,
        steps: int | None = None,
        settings: Mapping[str, object] | None = None,
        seed: int = 0,
        resume: bool = False,
        overwrite: bool = False,
        on_bad: OnBad = "auto",
        device: str = "auto",
        progress: bool = True,
    ) -> Retriever:
        """Train on documents without labels.

        Args:
            sources: files, folders, ``python:...`` or ``hf:...``; one or several.
            output: output folder of the model; default: a temporary one.
            method: preset; default: by the encoder.
            base: ``static``, a hub name, a folder, or ``new:layers=4,hidden=256``.
            minutes: training time; default 1.5, if ``steps`` is not given.
            steps: number of steps, in place of ``minutes``.
            settings: options of method, training and encoder, by name.
            seed: seed of all randomness.
            resume: resume from the last checkpoint.
            overwrite: replace an existing output.
            on_bad: policy for unreadable records.
            device: where to compute: auto, cpu, or the name of an accelerator; the model is opened there too.
            progress: show progress bars.

        Returns:
            A retriever over the documents it was trained on.

        Raises:
            PretrieveError: any error that a user can fix.
        """
        require("train", "Retriever.train")
        from pretrieve.pipeline.pretrain.request import TrainRequest
        from pretrieve.pipeline.pretrain.train import train
        from pretrieve.pipeline.run.kept_documents import kept_documents

        several = [sources] if isinstance(sources, str | Path) else list(sources)
        folder = Path(output) if output is not None else Path(tempfile.mkdtemp(prefix="pretrieve-")) / "model"
        shared = Path(tempfile.mkdtemp(prefix="pretrieve-documents-"))
        request = TrainRequest(
            sources=tuple(map(str, several)), output=folder, method=method, base=base, minutes=minutes, steps=steps,
            settings=dict(settings or {}), seed=seed, resume=resume, overwrite=overwrite, on_bad=on_bad,
            device=device, shared=shared,
        )  # fmt: skip
        with kept_documents(shared) as documents, _display(progress) as listener:
            train(request, listener)
        return Retriever(_open(str(folder), device=device), str(folder), documents())

    @staticmethod
    def distill(
        sources: Paths, teacher: str, output: str | Path | None = None, *, progress: bool = True, **options: Any
    ) -> Retriever:
        """Distil a transformer into a static model on documents without labels; return a retriever over them.

        Args:
            sources: files, folders, ``python:...`` or ``hf:...``; one or several.
            teacher: folder or hub name of the transformer.
            output: output folder of the model; default: a temporary one.
            progress: show progress bars.
            options: other arguments of ``pipeline.distill.request.DistillRequest``: ``minutes``, ``words``, ``seed``...

        Raises:
            PretrieveError: any error that a user can fix.
        """
        require("train", "Retriever.distill")
        from pretrieve.pipeline.distill.distill import distill_into

        with _display(progress) as listener:
            folder, documents = distill_into(output, sources, teacher, options, listener)
        return Retriever(_open(folder, device=options.get("device")), folder, documents)

    @staticmethod
    def load(name: str | Path, **described: Any) -> Retriever:
        """Load a model, or an index with its documents.

        Args:
            name: a model's folder or hub name, or the folder of an index.
            described: usage of a model whose files do not specify it: ``pooling``, ``similarity``, ``query_prompt``,
                ``document_prompt``, ``max_length``; or ``like``, a published checkpoint that it is a copy of;
                and ``device``, where to compute.

        Raises:
            UsageError: there is no such model, or its usage is unknown.
        """
        from pretrieve.core.files import MANIFEST

        path = Path(name)
        if (path / MANIFEST).is_file() and (path / "words").is_dir():
            from pretrieve.pipeline.index import open_index

            index = open_index(path)
            assert index.dense is not None
            retriever = Retriever(index.dense.encoder, index.dense.encoder.location, index.documents)
            retriever.__dict__["index"] = index
            return retriever
        from pretrieve.pipeline.run.usage_warnings import before_use, warn

        warn(before_use(str(name), ModelOptions(**described)))
        return Retriever(_open(str(name), **described), str(name))

    def search(
        self, query: str, corpus: Sequence[str] | None = None, *, top_k: int = 10, mode: Mode = "hybrid"
    ) -> list[Hit]:
        """Return the best documents for a query.

        Args:
            query: text of the query.
            corpus: texts to look through, whose ids are their places in the list; the retriever's own documents if
                not given.
            top_k: number of hits.
            mode: hybrid, dense or lexical.

        Raises:
            UsageError: there are no documents to search.
        """
        from pretrieve.pipeline.run.usage_warnings import warn

        warn(self._untuned)
        if corpus is None:
            return self.index.search(query, k=top_k, mode=mode)
        if not corpus:
            raise UsageError("the corpus is empty: give a list of texts.")
        texts = [Document(id=str(place), text=text) for place, text in enumerate(corpus)]
        return Index.of(texts, self.model).search(query, k=top_k, mode=mode)

    @cached_property
    def index(self) -> Index:
        """The index of the retriever's own documents, built when it is first needed.

        Raises:
            UsageError: the retriever has no documents.
        """
        if self.documents is None:
            raise UsageError("this retriever holds no documents: give a corpus, or load an index.")
        return Index.of(self.documents, self.model)

    def save(self, output: str | Path, *, overwrite: bool = False) -> None:
        """Save the index of the retriever's own documents; ``load`` opens it again.

        Raises:
            UsageError: the retriever has no documents, or something is at ``output``.
            StorageError: writing to disk failed.
        """
        if self.documents is None:
            raise UsageError("this retriever holds no documents: there is nothing to save but its model.")
        from pretrieve.pipeline.run.usage_warnings import warn

        warn(self._untuned)
        Index.build(Path(output), self.documents, self.model, replace=overwrite)

    def finetune(
        self,
        labels: str | Path,
        output: str | Path | None = None,
        *,
        negatives: str | None = None,
        negatives_file: str | Path | None = None,
        limit: int | None = None,
        resume: bool = False,
        overwrite: bool = False,
        progress: bool = True,
        **options: Any,
    ) -> Retriever:
        """Fine-tune the model on labelled queries, and evaluate it on held-out ones.

        Args:
            labels: a BEIR folder, or a file of queries with positives and optional negatives.
            output: folder for the model, with ``report.json`` in it; a temporary one if not given.
            negatives: none, given, bm25, mined or ance; default: given where the labels have them, else bm25.
            negatives_file: file written by ``mine``, in place of ``negatives``.
            limit: maximum number of labelled queries.
            resume: resume from the last checkpoint.
            overwrite: replace an existing output.
            progress: show progress bars.
            options: other arguments of ``pipeline.finetune.request.FinetuneRequest``: ``split``, ``recipe``,
                ``epochs``, ``steps``, ``settings``, ``seed``...

        Returns:
            A retriever with the new model over the same documents.

        Raises:
            UsageError: an argument does not fit, or is this retriever's own (``model``, ``described``).
            PretrieveError: any other error that a user can fix.
        """
        require("train", "Retriever.finetune")
        from pretrieve.pipeline.finetune.finetune import finetune
        from pretrieve.pipeline.finetune.request import FinetuneRequest

        folder = Path(output) if output is not None else Path(tempfile.mkdtemp(prefix="pretrieve-")) / "model"
        given = {"model": self.location, "labels": Path(labels), "output": folder}
        given |= {"negatives_file": None if negatives_file is None else Path(negatives_file)}
        given |= {"described": self._described(), "limit": limit, "resume": resume, "overwrite": overwrite}
        if twice := options.keys() & given.keys():
            raise UsageError(f"finetune: {', '.join(sorted(twice))} is given by this retriever; leave it out.")
        request = options_of(FinetuneRequest, {**options, **given}, where="finetune")
        request = replace(request, negatives=negatives)  # "none" is a name here
        with _display(progress) as listener:
            finetune(request, listener)
        return Retriever(_open(str(folder), device=request.device), str(folder), self.documents)

    def mine(
        self,
        labels: str | Path,
        output: str | Path,
        *,
        by: By = "both",
        split: str = "train",
        documents: Sequence[str] = (),
        progress: bool = True,
        **options: Any,
    ) -> int:
        """Mine hard negatives for labelled queries, and write them to a readable file.

        Args:
            labels: a BEIR folder, or a file of queries with positives.
            output: the file; ``finetune`` takes it as ``negatives_file``.
            by: bm25, model, or both (half of the negatives by each).
            split: split of a BEIR folder.
            documents: further sources of documents, for a file of labels.
            progress: show progress bars.
            options: ``on_bad``, and values of ``pipeline.mine.MineOptions``: ``number``, ``depth``, ``skip``...

        Returns:
            The number of negatives.

        Raises:
            PretrieveError: any error that a user can fix.
        """
        from pretrieve.pipeline.finetune.mine import MineOptions, mine_source

        reading = {"split": split, "documents": documents, "on_bad": options.pop("on_bad", "auto")}
        chosen = options_of(MineOptions, {"by": by, **options}, where="mine")
        with _display(progress) as listener:
            return mine_source(Path(labels), self.model, Path(output), chosen, listener, **reading)[0]

    def generate(self, output: str | Path, sources: Paths = (), *, progress: bool = True, **options: Any) -> int:
        """Generate queries for documents, with hard negatives and a cross-encoder's scores.

        Args:
            output: the file; ``finetune`` takes it as labels.
            sources: documents; the retriever's own if not given.
            progress: show progress bars.
            options: arguments of ``pipeline.generate.request.GenerateRequest``: ``generator``, ``queries``...

        Returns:
            The number of queries.

        Raises:
            PretrieveError: any error that a user can fix.
        """
        from pretrieve.pipeline.generate.generate import generate_for

        with _display(progress) as listener:
            return generate_for(self.model, self.location, self.documents, output, sources, options, listener).queries

    @staticmethod
    def compare(
        sources: str | Path | Sequence[str | Path],
        benchmark: str | Path,
        output: str | Path,
        *,
        methods: Sequence[str] = ("none", "mlm", "orqa-ict", "contriever-inbatch", "condenser", "cocondenser"),
        progress: bool = True,
        **options: Any,
    ) -> FairTable:
        """Train, fine-tune and evaluate methods from one base, on the same documents, tokens and seeds.

        Args:
            sources: training documents of every method.
            benchmark: BEIR folder to evaluate on, and to take labels from.
            output: output folder; an interrupted comparison resumes, and methods and labels can be added.
            methods: presets; ``none`` is the base as it is.
            progress: show progress bars.
            options: other arguments of ``pipeline.compare.request.CompareRequest``: ``base``, ``tokens``, ``labels``,
                ``seeds``...

        Returns:
            The table, which is in ``report.md``, ``report.json`` and ``report.svg`` too.

        Raises:
            PretrieveError: any error that a user can fix.
        """
        require("train", "Retriever.compare")
        from pretrieve.pipeline.compare.compare import compare, report
        from pretrieve.pipeline.compare.request import CompareRequest

        several = [sources] if isinstance(sources, str | Path) else list(sources)
        given = {"sources": tuple(map(str, several)), "methods": tuple(methods)}
        given_paths = {"benchmark": Path(benchmark), "output": Path(output)}
        request = options_of(CompareRequest, {**given, **given_paths, **options}, where="compare")
        with _display(progress) as listener:
            return report(request, compare(request, listener))

    @cached_property
    def _untuned(self) -> list[str]:
        """A warning if the model needs fine-tuning first; its folder is checked once."""
        from pretrieve.pipeline.run.usage_warnings import untuned

        return untuned(self.location, self._described())

    def _described(self) -> ModelOptions:
        """The usage of the model as given when it was opened."""
        return ModelOptions(**getattr(self.model, "described", {}))

    def evaluate(
        self,
        folder: str | Path,
        *,
        split: str = "test",
        metrics: Sequence[str] = ("nDCG@10", "R@100", "RR@10"),
        modes: Sequence[Mode] = ("dense", "hybrid"),
        drop_same_id: bool = False,
        max_passage: bool = False,
        progress: bool = True,
    ) -> Result | CrossLingualResult:
        """Evaluate the model and BM25 on a BEIR folder, or on every pair of languages of a cross-lingual one.

        Args:
            folder: with documents, queries and qrels.
            split: split of the qrels.
            metrics: names such as ``nDCG@10``.
            modes: ``dense``, ``hybrid``, or both.
            drop_same_id: a query does not find the document of its own id.
            max_passage: documents may share an id, as passages of one: its best place counts.
            progress: show progress.

        Returns:
            Values by query, means, intervals, tests, and ``warnings`` about data and model; ``markdown()`` shows them.

        Raises:
            PretrieveError: the folder, split or a metric does not exist, or a line of the folder cannot be used.
        """
        from pretrieve.pipeline.evaluate import EvaluateRequest, run_evaluation
        from pretrieve.pipeline.run.usage_warnings import warn

        warn(self._untuned)
        request = EvaluateRequest(
            folder=Path(folder), split=split, metrics=tuple(metrics), modes=tuple(modes), drop_same_id=drop_same_id,
            max_passage=max_passage)  # fmt: skip
        with _display(progress) as listener:
            return run_evaluation(request, listener, {self.location: self.model})


def _open(name: str, **described: Any) -> TextEncoder:
    return open_encoder(name, ModelOptions(**described))
