"""Documents that BM25 ranks high and that are not labelled relevant (Karpukhin et al., EMNLP 2020)."""

from __future__ import annotations

from pretrieve.pipeline.finetune.mine import load_negatives
from pretrieve.pipeline.finetune.task import Task
from pretrieve.sampling.labels import Labels

NAME = "bm25"
SUMMARY = "BM25's"


def find(task: Task) -> Labels:
    """Mine the negatives once, and return the labels with them."""
    return task.labels.with_negatives(load_negatives(task.labels, task.mined("bm25")))
