"""``Retriever``: the Python interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from pretrieve.core.config import options_of
from pretrieve.core.extras import require
from pretrieve.index.asked import Mode, check_mode
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.run.arguments import names_of, path_of, text_of
from pretrieve.pipeline.run.progress import shown as _display
from pretrieve.pipeline.searcher import Searcher

if TYPE_CHECKING:
    from pretrieve.evaluation.crosslingual_result import CrossLingualResult
    from pretrieve.evaluation.fair import FairTable
    from pretrieve.evaluation.result import Result
    from pretrieve.index.pseudo import Records
    from pretrieve.pipeline.finetune.mine import By
    from pretrieve.text.corpus import OnBad
    from pretrieve.text.memory import Sources, Texts


class Retriever(Searcher):
    """A model, and the documents that it searches, if any.

    A copy, also one in another process, opens again what is on disk: a static model, documents, an index.

    In a program that ``torchrun`` or ``accelerate launch`` starts, all processes call ``train``, ``finetune`` and
    ``compare``, and each gets the result; ``mine``, ``generate`` and ``save`` are called where ``RANK`` is 0 alone.

    Attributes:
        model: encodes queries and documents.
        location: folder or hub name of the model.
        documents: default corpus of ``search``; None for a model alone.

    Example:
        >>> retriever = Retriever.train(["first text", "second text"], "my-model", minutes=1)  # doctest: +SKIP
        >>> retriever.search("what is second?")[0].text  # doctest: +SKIP
        'second text'
    """

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """What is on disk is sent by its path: an index with its model, or a model of torch."""
        if (index := self.__dict__.get("index")) is not None and index.path is not None:
            return Retriever.load, (index.path,)
        if getattr(self.model, "runs_on_torch", False):
            return _loaded, (self.location, dict(getattr(self.model, "described", {})), self.documents)
        return super().__reduce_ex__(protocol)

    @staticmethod
    def train(
        sources: Sources,
        output: str | Path | None = None,
        *,
        method: str | None = None, base: str = "static",
        minutes: float | None = None, steps: int | None = None,
        settings: Mapping[str, object] | None = None, seed: int = 0,
        resume: bool = False, overwrite: bool = False, on_bad: OnBad = "auto",
        device: str = "auto", progress: bool = True,
    ) -> Retriever:  # fmt: skip
        """Train on documents without labels.

        Args:
            sources: files, folders, ``python:...``, ``hf:...``; or documents in memory: texts, or records of ``text``,
                ``title``, ``id``, in a list, generator, dict by id, data frame, Arrow table, data set or array.
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
            A retriever over the documents; in each of several processes.

        Raises:
            PretrieveError: any error that a user can fix.
        """
        require("train", "Retriever.train")
        from pretrieve.pipeline.pretrain.train import train_into

        options = {
            "method": method, "base": text_of(base, "base"), "minutes": minutes, "steps": steps, "seed": seed,
            "settings": {} if settings is None else settings, "resume": resume, "overwrite": overwrite,
            "on_bad": on_bad, "device": device,
        }  # fmt: skip
        with _display(progress) as listener:
            folder, documents = train_into(output, sources, options, listener)
        return Retriever(open_encoder(folder, ModelOptions(device=device)), folder, documents)

    @staticmethod
    def distill(
        sources: Sources,
        teacher: str | Path,
        output: str | Path | None = None,
        *, progress: bool = True, **options: Any,
    ) -> Retriever:  # fmt: skip
        """Distil a transformer into a static model on documents without labels; return a retriever over them.

        Args:
            sources: as for ``train``.
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
        return Retriever(open_encoder(folder, ModelOptions(device=options.get("device"))), folder, documents)

    @staticmethod
    def load(name: str | Path, **described: Any) -> Retriever:
        """Load a model, or an index with its documents.

        Args:
            name: a model's folder or hub name, or the folder of an index.
            described: usage of a model whose files do not specify it: ``pooling``, ``similarity``, ``query_prompt``,
                ``document_prompt``, ``max_length``; or ``like``, a published checkpoint it is a copy of; ``device``.

        Raises:
            UsageError: there is no such model, its usage is unknown, or an index is given with the usage of a model.
        """
        from pretrieve.pipeline.index import index_at

        if (index := index_at(path_of(name, "name"), described)) is not None:
            assert index.dense is not None
            retriever = Retriever(index.dense.encoder, index.dense.encoder.location, index.documents)
            retriever.__dict__["index"] = index
            return retriever
        from pretrieve.pipeline.run.usage_warnings import before_use, warn

        options = options_of(ModelOptions, described, where="load")
        warn(before_use(str(name), options))
        return Retriever(open_encoder(str(name), options), str(name))

    def finetune(
        self, labels: str | Path | Texts, output: str | Path | None = None, *,
        negatives: str | None = None, negatives_file: str | Path | None = None, limit: int | None = None,
        resume: bool = False, overwrite: bool = False, progress: bool = True, **options: Any,
    ) -> Retriever:  # fmt: skip
        """Fine-tune the model on labelled queries, and evaluate it on held-out ones.

        Args:
            labels: a BEIR folder, or a file of queries with positives and optional negatives; or the records of such a
                file: a list of dicts, a data frame, a data set.
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
            A retriever with the new model over the same documents; in each of several processes.

        Raises:
            UsageError: an argument does not fit, or is this retriever's own (``model``, ``described``).
            PretrieveError: any other error that a user can fix.
        """
        require("train", "Retriever.finetune")
        from pretrieve.pipeline.finetune.finetune import finetune_for

        own = {
            "model": self.location, "described": self._described(), "negatives": negatives, "limit": limit,
            "negatives_file": negatives_file, "resume": resume, "overwrite": overwrite,
        }  # fmt: skip
        with _display(progress) as listener:
            folder = finetune_for(labels, output, own, options, listener)
        return Retriever(open_encoder(folder, ModelOptions(device=options.get("device"))), folder, self.documents)

    def mine(
        self, labels: str | Path | Texts, output: str | Path, *, by: By = "both", split: str = "train",
        documents: Sequence[str] = (), progress: bool = True, **options: Any,
    ) -> int:  # fmt: skip
        """Mine hard negatives for labelled queries, and write them to a readable file.

        Args:
            labels: as for ``finetune``.
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
        from pretrieve.pipeline.run.memory_labels import labels_of

        target, names = path_of(output, "output"), names_of(documents, "documents", least=0)
        on_bad = options.pop("on_bad", "auto")
        chosen = options_of(MineOptions, {"by": by, **options}, where="mine")
        reading = {"split": text_of(split, "split"), "documents": names, "on_bad": on_bad}
        with _display(progress) as listener, labels_of(labels) as path:
            return mine_source(path, self.model, target, chosen, listener, **reading)[0]

    def generate(self, output: str | Path, sources: Sources = (), *, progress: bool = True, **options: Any) -> int:
        """Generate queries for documents, with hard negatives and a cross-encoder's scores.

        Args:
            output: the file; ``finetune`` takes it as labels.
            sources: as for ``train``; the retriever's own documents if not given.
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
        sources: Sources, benchmark: str | Path, output: str | Path, *,
        methods: Sequence[str] = ("none", "mlm", "orqa-ict", "contriever-inbatch", "condenser", "cocondenser"),
        progress: bool = True, **options: Any,
    ) -> FairTable:  # fmt: skip
        """Train, fine-tune and evaluate methods from one base, on the same documents, tokens and seeds.

        Args:
            sources: training documents of every method, as for ``train``.
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
        from pretrieve.pipeline.compare.compare import compare_into

        with _display(progress) as listener:
            return compare_into(output, sources, methods, benchmark, options, listener)

    def evaluate(
        self, folder: str | Path | None = None, *, corpus: Texts | None = None, queries: Texts | None = None,
        qrels: Mapping[str, Any] | None = None, split: str = "test",
        metrics: Sequence[str] = ("nDCG@10", "R@100", "RR@10"), modes: Sequence[Mode] = ("dense", "hybrid"),
        drop_same_id: bool = False, max_passage: bool = False, run: str | Path | None = None,
        beside: Sequence[str | Path] = (), relevant_from: int | None = None, progress: bool = True,
    ) -> Result | CrossLingualResult:  # fmt: skip
        """Evaluate the model and BM25 on a BEIR folder, or on every pair of languages of a cross-lingual one.

        Args:
            folder: with documents, queries and qrels; or these three in its place:
            corpus: documents in memory, as for ``train``; the retriever's own by default.
            queries: texts by id.
            qrels: for each query's id the grades of documents by id, or a list of relevant documents.
            split: split of the qrels.
            metrics: names such as ``nDCG@10``.
            modes: ``dense``, ``hybrid``, or both.
            drop_same_id: a query does not find the document of its own id.
            max_passage: documents may share an id, as passages of one: its best place counts.
            run: file or folder to write the rankings to as TREC runs; ``runs`` of the result names them.
            beside: other models, and TREC runs of other systems, to evaluate beside this one.
            relevant_from: the lowest grade that counts, as 1; the grades count as they are by default.
            progress: show progress.

        Returns:
            Values by query, means, intervals, tests, and ``warnings`` about data and model; ``markdown()`` shows them.

        Raises:
            PretrieveError: the folder, split or a metric does not exist, or a line of the folder cannot be used.
        """
        from pretrieve.pipeline.evaluate import EvaluateRequest, run_evaluation
        from pretrieve.pipeline.run.memory_labels import collection_at
        from pretrieve.pipeline.run.usage_warnings import warn

        warn(self._untuned)
        values = {
            "metrics": names_of(metrics, "metrics"), "modes": [*map(check_mode, names_of(modes, "modes"))],
            "split": text_of(split, "split"), "drop_same_id": drop_same_id, "max_passage": max_passage,
            "run": None if run is None else path_of(run, "run"), "models": names_of(beside, "beside", least=0),
            "relevant_from": relevant_from,
        }  # fmt: skip
        corpus = self.documents if corpus is None else corpus
        with _display(progress) as listener, collection_at(folder, corpus, queries, qrels, split) as place:
            request = options_of(EvaluateRequest, {**values, "folder": place}, where="evaluate")
            return run_evaluation(request, listener, {self.location: self.model})


def _loaded(location: str, described: Mapping[str, Any], documents: Records | None) -> Retriever:
    return Retriever(Retriever.load(location, **described).model, location, documents)
