"""Labels as rows of tokens: tokenized once, as the model reads them when it searches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pretrieve.finetuning.labelled import Draw, Labelled, Texts
from pretrieve.pipeline.finetune.base_model import Start
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.tokens import store_of
from pretrieve.sampling.labels import Labels
from pretrieve.text.store import Store

_CUT = 0.1  # share of documents that search may read further than training without a note


def sampler_of(
    labels: Labels, start: Start, draw: Draw, target: Path, listener: Listener, *, shared: Path | None = None
) -> Labelled:
    """Rows of labels as the model reads them when it searches.

    Args:
        labels: queries and documents.
        start: the model.
        draw: how examples are drawn; lengths are limited to the model's.
        target: the store to make.
        listener: receives progress.
        shared: folder of stores shared by several runs, in place of ``target``.
    """
    draw = replace(
        draw,
        query_length=min(draw.query_length, start.longest_query),
        passage_length=min(draw.passage_length, start.documents.max_length),
    )
    texts = Texts(labels, start.prompts, start.separator, (draw.query_length, draw.passage_length))
    store = store_of(texts, start.tokenizer, listener, folder=target, shared=shared, sentences=False, unit="texts")
    _note_on_lengths(store, labels, draw.passage_length, start.documents.max_length, listener)
    return Labelled(labels, store, start.documents.specials, draw)


def _note_on_lengths(store: Store, labels: Labels, length: int, longest: int, listener: Listener) -> None:
    """Warn where many documents are longer in search than in training: a small model fails on unseen lengths."""
    sizes = np.diff(store.documents)[np.asarray(store.origins) < labels.size]
    cut = float((sizes > length - store.specials.around()).mean()) if len(sizes) else 0.0
    if longest > length and cut > _CUT:
        listener.note(
            f"{cut:.0%} of the documents are cut to passage_length={length} tokens in training, and search reads "
            f"{longest} of them: give --set passage_length={longest}, or index and evaluate with --max-length {length}."
        )
