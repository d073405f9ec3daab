"""The model's own negatives, mined again during training (``finetuning/ance.py``)."""

from __future__ import annotations

from pretrieve.finetuning.ance import Ance
from pretrieve.finetuning.contrastive import Contrastive
from pretrieve.finetuning.labelled import Labelled
from pretrieve.pipeline.finetune.base_model import Start
from pretrieve.pipeline.finetune.request import Values
from pretrieve.pipeline.finetune.task import Task
from pretrieve.sampling.labels import Labels

NAME = "ance"
SUMMARY = "the model's own, mined anew while it trains"


def find(task: Task) -> Labels:
    """Return the labels as they are: negatives come with the steps."""
    if (task.values.refresh.every or 0) >= task.values.training.steps:
        task.run.listener.note("every is not below the number of steps: all negatives come from the starting model.")
    return task.labels


def objective(start: Start, values: Values, sampler: Labelled, seed: int) -> Contrastive:
    """The loss that mines negatives in a stale index of the documents."""
    return Ance(start.documents, values.loss, sampler, values.refresh, seed, start.query_encoder)
