"""What a strategy for negatives works on: the labels of a run, and what it may ask for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pretrieve.core.types import TextEncoder
from pretrieve.finetuning.contrastive import Contrastive
from pretrieve.finetuning.labelled import Labelled
from pretrieve.pipeline.finetune.base_model import Start
from pretrieve.pipeline.finetune.mine import By, MineOptions, mine
from pretrieve.pipeline.finetune.request import FinetuneRequest, Values
from pretrieve.pipeline.run.run import Run
from pretrieve.sampling.labels import Labels


@dataclass(frozen=True, kw_only=True)
class Task:
    """The labels that need negatives.

    Attributes:
        run: its workspace keeps what took time to make, and its listener hears of progress.
        request: what was asked.
        values: what follows from it.
        labels: queries to learn from, with the documents.
        first_model: fine-tunes the start with the negatives of a file, on the same queries, and opens the result.
    """

    run: Run
    request: FinetuneRequest
    values: Values
    labels: Labels
    first_model: Callable[[Path], TextEncoder]

    def file(self, name: str) -> Path:
        """Where the workspace keeps negatives of a name, with which a stopped run resumes."""
        return self.run.workspace / f"negatives-{name}.jsonl"

    def mined(self, name: str, *, by: By = "bm25", model: TextEncoder | None = None) -> Path:
        """The file of negatives of a name, mined if it is not there.

        Args:
            name: of the file.
            by: what ranks the documents.
            model: what ranks them, where ``by`` asks for one.

        Raises:
            PretrieveError: as ``mine``.
        """
        if not self.file(name).is_file():
            options = MineOptions(by=by, seed=self.request.seed)
            mine(self.labels, model, self.file(name), options, self.run.listener)
        return self.file(name)


def contrastive(start: Start, values: Values, sampler: Labelled, seed: int) -> Contrastive:
    """The loss of every strategy that brings none of its own; nothing of it is drawn by chance.

    Args:
        start: the encoders.
        values: of the loss.
        sampler: the rows of documents, and what is relevant.
        seed: the run's.
    """
    return Contrastive(start.documents, values.loss, sampler.positive, start.query_encoder)
