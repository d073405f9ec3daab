"""No hard negatives: the other documents of the batch alone."""

from __future__ import annotations

from pretrieve.pipeline.finetune.task import Task
from pretrieve.sampling.labels import Labels

NAME = "none"
SUMMARY = "the batch alone"
NUMBER = 0


def find(task: Task) -> Labels:
    """Return the labels as they are."""
    return task.labels
