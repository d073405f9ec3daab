"""The negatives of the labels, or of a file written by ``pretrieve mine``."""

from __future__ import annotations

from pretrieve.core.errors import UsageError
from pretrieve.pipeline.finetune.mine import load_negatives
from pretrieve.pipeline.finetune.task import Task
from pretrieve.sampling.labels import Labels

NAME = "given"
SUMMARY = "those in LABELS"
SCORED = True


def find(task: Task) -> Labels:
    """Return the labels with the negatives of the file, or as they are.

    Raises:
        UsageError: there are none.
        DataError: the file is of other labels.
    """
    labels, request = task.labels, task.request
    if request.negatives_file is not None:
        return labels.with_negatives(load_negatives(labels, request.negatives_file))
    if not len(labels.negatives.tokens):
        raise UsageError(
            f"--negatives given: {request.labels} has no negatives; leave it out, or give --negatives-file."
        )
    return labels
