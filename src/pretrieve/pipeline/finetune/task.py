"""The task of a strategy for negatives: the labels of a run, and what the strategy may use."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pretrieve.core import files
from pretrieve.core.types import TextEncoder
from pretrieve.finetuning.contrastive import Contrastive
from pretrieve.finetuning.labelled import Labelled
from pretrieve.pipeline.finetune.base_model import Start
from pretrieve.pipeline.finetune.document_vectors import encode_together
from pretrieve.pipeline.finetune.mine import By, MineOptions, is_indexed, mine
from pretrieve.pipeline.finetune.request import FinetuneRequest, Values
from pretrieve.pipeline.run import processes
from pretrieve.pipeline.run.run import Run
from pretrieve.sampling.labels import Labels


@dataclass(frozen=True, kw_only=True)
class Task:
    """The labels that need negatives.

    Attributes:
        run: its workspace stores intermediate results, and its listener receives progress.
        request: arguments of the run.
        values: effective values of the run.
        labels: training queries, with the documents.
        first_model: function that fine-tunes the start with the negatives of a file, on the same queries.
    """

    run: Run
    request: FinetuneRequest
    values: Values
    labels: Labels
    first_model: Callable[[Path], TextEncoder]

    def file(self, name: str) -> Path:
        """The workspace's file for negatives of a name, from which a run resumes."""
        return self.run.workspace / f"negatives-{name}.jsonl"

    def mined(self, name: str, *, by: By = "bm25", model: TextEncoder | None = None) -> Path:
        """The file of negatives of a name, mined if it is not there; all processes encode the documents for it.

        Args:
            name: of the file.
            by: ranker of the documents.
            model: ranker, where ``by`` needs one.

        Raises:
            PretrieveError: as ``mine``.
        """
        together, file, vectors = processes.current(), self.file(name), None
        folder = self.run.workspace / f"vectors-{name}"
        if model is not None and together.world > 1 and not together.of_first(lambda: is_indexed(file)):
            place = folder / files.fingerprint([model.fingerprint, self.labels.fingerprint])
            vectors = encode_together(self.labels, model, place, self.run.listener)

        def missing() -> None:
            if not file.is_file():
                options = MineOptions(by=by, seed=self.request.seed)
                mine(self.labels, model, file, options, self.run.listener, vectors=vectors)
            shutil.rmtree(folder, ignore_errors=True)

        together.alone(missing)
        return file


def contrastive(start: Start, values: Values, sampler: Labelled, seed: int) -> Contrastive:
    """The loss of strategies without their own; it uses no randomness.

    Args:
        start: the encoders.
        values: values of the loss.
        sampler: the rows of queries and documents, and which are relevant.
        seed: seed of the run.
    """
    return Contrastive(start.documents, values.loss, sampler.positive, start.query_encoder)
