"""The steps of ``pretrieve distill``: a static model of a transformer's, made on the user's documents without labels.

1. Token vectors: each entry of the teacher's vocabulary encoded alone (as model2vec does), weighted by the documents.
2. Distillation: the student's similarities between documents and texts out of them become the teacher's.
3. Contrast: pairs from structure on all documents, with the distillation loss beside them.

The last one is saved, or with ``select`` the one that the label-free selection finds best.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import files
from pretrieve.core.config import options_of
from pretrieve.core.types import Batch, FloatArray, IntArray, TextEncoder
from pretrieve.finetuning.distillation import Anchored, Distillation, Sampler, Taught
from pretrieve.methods import find
from pretrieve.models.objective import Objective
from pretrieve.models.static import StaticEncoder, inverse_document_frequencies, random_vectors
from pretrieve.models.token_vectors import (
    frequent_words,
    smooth_inverse_frequencies,
    start_vectors,
    takes_words,
    token_texts,
    with_words,
)
from pretrieve.pipeline.distill.publish import Stages, keep_distilled
from pretrieve.pipeline.distill.request import TEACHER_TOKENS, DistillRequest, sorted_settings
from pretrieve.pipeline.distill.teacher import Teacher, open_teacher
from pretrieve.pipeline.distill.teacher_vectors import draw_pieces, taught_vectors, texts_of, tokens_for_minutes
from pretrieve.pipeline.pretrain.build import versions
from pretrieve.pipeline.pretrain.data import Prepared, split
from pretrieve.pipeline.pretrain.report import Report, open_report
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run import recipe as recipes
from pretrieve.pipeline.run.arguments import output_of, text_of
from pretrieve.pipeline.run.fit import Training, fit
from pretrieve.pipeline.run.kept_documents import run_and_keep
from pretrieve.pipeline.run.memory_sources import SOURCE
from pretrieve.pipeline.run.progress import Listener, Silent
from pretrieve.pipeline.run.recipe import Recipe
from pretrieve.pipeline.run.run import Run, begin
from pretrieve.pipeline.run.sources import documents_of
from pretrieve.pipeline.run.tokens import store_of
from pretrieve.sampling.batches import Batches
from pretrieve.text.documents import Documents
from pretrieve.text.tokenizer import Tokenizer
from pretrieve.training.held_out import held_out
from pretrieve.training.options import TrainingOptions

_METHOD = "structure"
_RATE = 0.005  # of the contrast, a quarter of what the method takes from a random start
_SAMPLE = 20_000_000  # bytes of text that frequent words are counted in
_DIMENSIONS = 256


def distill(request: DistillRequest, listener: Listener | None = None, *, encoder: TextEncoder | None = None) -> Report:
    """Make a static model of a transformer's, on documents without labels.

    Args:
        request: arguments of the run.
        listener: receives progress.
        encoder: the teacher, if it is already open.

    Returns:
        What was done and found; the model is at ``request.output``.

    Raises:
        PretrieveError: any error that a user can fix: teacher, sources, options, disk, an interrupted run.
    """
    listener = listener or Silent()
    request.check()
    with begin("distill", request, listener, inputs=("teacher",), without=("sources",)) as run:
        documents = documents_of(run, request)
        if run.finished:
            run.say_finished()
            return open_report(request.output)
        return _Stages(run, request, open_teacher(request, encoder)).run_all(documents)


def distill_into(
    output: str | Path | None,
    sources: object,
    teacher: str | Path,
    options: Mapping[str, Any],
    listener: Listener,
) -> tuple[str, Documents]:
    """The same for ``Retriever``.

    Args:
        output: folder for the model; a temporary one if None.
        sources: sources, or documents in memory.
        teacher: folder or hub name.
        options: other arguments of ``DistillRequest`` by name.
        listener: receives progress.

    Returns:
        The model's folder, and the documents.

    Raises:
        PretrieveError: as ``distill``.
    """
    processes.current().check_alone("Retriever.distill")
    with output_of(output) as folder:
        values = {"sources": (SOURCE,), "teacher": text_of(teacher, "teacher"), "output": folder}
        request = options_of(DistillRequest, {**options, **values}, where="distill")
        request.check()
        return run_and_keep(distill, request, sources, listener)


@dataclass(frozen=True, kw_only=True)
class _Learnt:
    """The teacher's vectors of the documents: texts to train on, and held-out texts to measure with."""

    taught: Taught
    validation: Taught


class _Stages:
    """The stages of one run, with its teacher."""

    def __init__(self, run: Run, request: DistillRequest, teacher: Teacher) -> None:
        self.run, self.request, self.listener, self.teacher = run, request, run.listener, teacher
        self.workspace = run.workspace
        self.options, self.training = sorted_settings(request.settings)
        self.training = replace(self.training, steps=request.steps)

    def run_all(self, documents: Documents) -> Report:
        """Execute all stages; each resumes from what an earlier run finished."""
        request = self.request
        prepared = self._prepare(documents)
        made = self._recipe(prepared)
        table = self._table(prepared) if "tokens" in request.stages else None
        learnt = self._learnt(prepared, made) if self._taught else None
        student = self._start(prepared, table)
        stages = Stages(learnt.validation if learnt else None)
        stages.add("tokens" if "tokens" in request.stages else "random", student)
        if learnt is not None and "distil" in request.stages:
            self._distil(student, learnt, made)
            stages.add("distil", student)
        if "contrast" in request.stages:
            self._contrast(student, learnt, prepared, made)
            stages.add("contrast", student)
        return keep_distilled(self.run, request, stages, prepared, made, self.teacher)

    @property
    def _taught(self) -> bool:
        """Whether the teacher reads the documents."""
        return "distil" in self.request.stages or ("contrast" in self.request.stages and self.request.anchor > 0)

    def _prepare(self, documents: Documents) -> Prepared:
        request = self.request
        select, held_out = split(len(documents), request.seed) if request.select else (np.arange(len(documents)), _NONE)
        store = store_of(
            documents,
            self._vocabulary(documents),
            self.listener,
            folder=self.workspace / "store",
            select=select,
        )
        if store.dropped:
            self.listener.note(f"{store.dropped:,} documents have no token in their text and are left out of training.")
        return Prepared(documents=documents, train=select, held_out=held_out, store=store)

    def _vocabulary(self, documents: Documents) -> Tokenizer:
        """The teacher's tokenizer, with frequent words that it splits where they are asked for."""
        own, most = self.teacher.tokenizer, self.request.words
        if most and not takes_words(own):
            self.listener.note("--words: only WordPiece vocabularies take words; the teacher's own is left unchanged.")
        sample = documents.sample(_SAMPLE)
        texts = (f"{documents[int(index)].title}\n{documents[int(index)].text}" for index in sample)
        return with_words(own, frequent_words(texts, own, most))

    def _recipe(self, prepared: Prepared) -> Recipe:
        """Record what determines the run, or refuse to resume another one."""
        request, path = self.request, self.workspace / "recipe.json"
        before = recipes.load(path) if request.resume and path.is_file() else None
        tokens = request.teacher_tokens or TEACHER_TOKENS
        if request.minutes is not None and self._taught:
            known = None if before is None else before.options["teacher_tokens"]
            tokens = known or tokens_for_minutes(
                self.teacher.documents, prepared.store, request.minutes, request.window
            )
        names = ("stages", "words", "weighting", "window", "queries", "contrast_steps", "anchor", "bfloat16", "select")
        made = Recipe(
            method="distill",
            base=request.teacher,
            seed=request.seed,
            options={
                **asdict(self.options),
                **{
                    name: value if not isinstance(value := getattr(request, name), tuple) else [*value]
                    for name in names
                },
                "teacher": self.teacher.fingerprint,
                "teacher_tokens": tokens,
            },
            training=self.training.facts(),
            encoder={"dimensions": request.dimensions or min(self.teacher.dimensions, _DIMENSIONS)},
            corpus=prepared.documents.fingerprint,
            tokenizer=prepared.store.tokenizer.fingerprint,
            store=prepared.store.fingerprint,
            sources=request.sources,
            command=request.command(tokens),
            versions=versions(),
        )
        if before is not None:
            made.check_same(before)
        files.write_file(path, files.to_json(made.to_json()))
        return made

    def _table(self, prepared: Prepared) -> FloatArray:
        """The teacher's vector of every entry of the vocabulary, (V, D)."""
        texts = token_texts(prepared.store.tokenizer)
        self.listener.stage("encode the vocabulary", len(texts), "entries")
        folder = self.workspace / "vocabulary.jsonl.parts"
        return taught_vectors(folder, self.teacher.documents, texts, self.listener)

    def _learnt(self, prepared: Prepared, made: Recipe) -> _Learnt:
        """Have the teacher read pieces of the documents."""
        request, tokenizer = self.request, prepared.store.tokenizer
        budget = int(made.options["teacher_tokens"])
        pieces = draw_pieces(prepared.store, budget, window=request.window, queries=request.queries, seed=request.seed)
        total = len(pieces.keys) + len(pieces.queries)
        self.listener.stage("encode documents", total, f"texts, {pieces.tokens:,} tokens")
        keys, queries = (
            taught_vectors(self.workspace / f"{name}.jsonl.parts", side, texts_of(rows, tokenizer), self.listener)
            for name, side, rows in (
                ("documents", self.teacher.documents, pieces.keys),
                ("queries", self.teacher.queries, pieces.queries),
            )
        )
        taught, validation = pieces.taught(keys, queries).divided()
        return _Learnt(taught=taught, validation=validation)

    def _start(self, prepared: Prepared, table: FloatArray | None) -> StaticEncoder:
        """The student before training: the teacher's token vectors, or random ones."""
        store, request = prepared.store, self.request
        size = request.dimensions or min(self.teacher.dimensions, _DIMENSIONS)
        idf = inverse_document_frequencies(store.tokens, store.documents, store.specials.vocabulary)
        if table is None:
            return StaticEncoder(random_vectors(idf, size, request.seed), store.tokenizer.bare())
        counts = np.bincount(np.asarray(store.tokens), minlength=len(idf))
        weights = {"idf": idf, "sif": smooth_inverse_frequencies(counts), "none": np.ones_like(idf)}[request.weighting]
        return StaticEncoder(start_vectors(table, weights, size), store.tokenizer.bare())

    def _distil(self, student: StaticEncoder, learnt: _Learnt, made: Recipe) -> None:
        size = min(self.training.batch_size, len(learnt.taught.keys))
        batches = Batches(sampler=Sampler(learnt.taught), batch_size=size, seed=self.request.seed)
        objective = Distillation(student, learnt.taught.vectors, self.options)
        training = replace(self.training, batch_size=size)
        self._train(
            "distil", objective, batches, training, made, self._held_out_loss(objective, learnt.validation, size)
        )

    def _held_out_loss(self, objective: Distillation, validation: Taught, size: int) -> Callable[[], float] | None:
        """The loss on held-out documents; None where there are fewer than two."""
        size = min(size, len(validation.keys))
        if size < 2:
            return None
        batches = Batches(sampler=Sampler(validation), batch_size=size, seed=self.request.seed)
        steps = range(max(1, len(validation.keys) // size))
        return lambda: held_out(objective, batches, steps)["loss"]

    def _contrast(self, student: StaticEncoder, learnt: _Learnt | None, prepared: Prepared, made: Recipe) -> None:
        request, (module, preset) = self.request, find(_METHOD)
        options = options_of(module.Options, {name: value.value for name, value in preset.options.items()})
        values = {name: value.value for part in (preset.training, preset.static) for name, value in part.items()}
        objective: Objective = module.objective(student, options, request.seed, prepared.store)
        if learnt is not None and request.anchor > 0:
            size = min(self.training.batch_size, len(learnt.taught.keys))
            held = Batches(sampler=Sampler(learnt.taught), batch_size=size, seed=request.seed + 1)
            distillation = Distillation(student, learnt.taught.vectors, self.options)
            objective = Anchored(objective, distillation, held, request.anchor)
        values |= {"steps": request.contrast_steps, "learning_rate": _RATE, "save_every": self.training.save_every}
        training = options_of(TrainingOptions, values)
        sampler = module.sampler(prepared.store, student.specials, options)
        batches = Batches(sampler=sampler, batch_size=training.batch_size, seed=request.seed)
        self._train("contrast", objective, batches, training, made)

    def _train(
        self,
        name: str,
        objective: Objective,
        batches: Callable[[int], Batch],
        training: TrainingOptions,
        made: Recipe,
        held_out_loss: Callable[[], float] | None = None,
    ) -> None:
        fit(
            self.run,
            Training(
                name=name,
                objective=objective,
                batches=batches,
                options=replace(training, max_checkpoints=1),
                seed=self.request.seed,
                fingerprints={"corpus": made.corpus, "tokenizer": made.tokenizer, "recipe": made.fingerprint},
                part=name,
                tracker=self.request.tracker,
                values=asdict(training),
                held_out=held_out_loss,
            ),
        )


_NONE: IntArray = np.zeros(0, np.int64)
