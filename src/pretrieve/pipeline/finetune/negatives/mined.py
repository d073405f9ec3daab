"""BM25's negatives, and those of a first model that was trained with BM25's (Xiong et al., *ANCE*, ICLR 2021)."""

from __future__ import annotations

from pretrieve.pipeline.finetune.mine import load_negatives
from pretrieve.pipeline.finetune.task import Task
from pretrieve.sampling.labels import Labels

NAME = "mined"
SUMMARY = "BM25's and a first model's own"


def find(task: Task) -> Labels:
    """Train a first model with BM25's negatives, mine with both, and return the labels with both kinds."""
    words = task.mined("bm25")
    if not task.file("mined").is_file():
        task.run.listener.note(
            "a first model is trained with BM25's negatives; then its own are mined, and the start is trained again."
        )
        task.mined("mined", by="both", model=task.first_model(words))
    return task.labels.with_negatives(load_negatives(task.labels, task.file("mined")))
