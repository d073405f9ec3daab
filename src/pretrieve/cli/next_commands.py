"""The commands that a finished command suggests; each runs as it is printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pretrieve.cli.output import free_name
from pretrieve.core.errors import DataError

if TYPE_CHECKING:
    from pretrieve.pipeline.generate.request import GenerateRequest

Words = list[str]
_PREFERRED = ("test", "dev", "validation", "valid", "val")  # splits to evaluate on


def after_finetune(
    labels: Path, unseen: Sequence[str], documents: Sequence[str], model: str, options: Sequence[str] = ()
) -> list[Words]:
    """Evaluate on a split that was not trained on; where there is none, index and search.

    Args:
        labels: BEIR folder or file of labels.
        unseen: splits that were not trained on.
        documents: further sources of documents.
        model: folder of the fine-tuned model.
        options: how the further documents are read.
    """
    if unseen:
        chosen = next((name for name in _PREFERRED if name in unseen), unseen[0])
        return [["pretrieve", "evaluate", str(labels), "--model", model, "--split", chosen]]
    sources = [str(labels)] if labels.is_dir() else list(documents)
    return after_training(sources, model, () if labels.is_dir() else options) if sources else []


def after_training(sources: Sequence[str], model: str, options: Sequence[str] = ()) -> list[Words]:
    """Index documents with a model, and search.

    Args:
        sources: the documents.
        model: folder of the model.
        options: how the sources are read.
    """
    index = free_name("my-index")
    return [
        ["pretrieve", "index", *sources, "--model", model, "-o", index, *options],
        ["pretrieve", "search", index, "your question"],
    ]


def after_mine(
    labels: Path,
    split: str,
    documents: Sequence[str],
    model: str | None,
    negatives: Path,
    options: Sequence[str] = (),
) -> list[Words]:
    """Fine-tune with the negatives: the model that mined them, or one that is trained first.

    Args:
        labels: BEIR folder or file of labels.
        split: split of a BEIR folder.
        documents: further sources of documents.
        model: what mined; None for BM25 alone.
        negatives: the file.
        options: how labels and documents are read.
    """
    from pretrieve.text.named import is_named

    of_beir = labels.is_dir() or is_named(str(labels))
    sources = [str(labels)] if of_beir else list(documents)
    if model is None and not sources:
        return []
    first, base = _trained_first(sources, model, options)
    words = ["pretrieve", "finetune", base, str(labels), "-o", free_name("tuned"), *options]
    words += ["--negatives-file", str(negatives)]
    words += ["--split", split] if of_beir and split != "train" else []
    return [*first, words + [word for source in documents for word in ("--documents", source)]]


def after_generate(request: GenerateRequest) -> list[Words]:
    """Fine-tune on the labels: the retriever that searched beside BM25, or one that is trained first.

    Args:
        request: what was generated.
    """
    from pretrieve.pipeline.run.sources import source_words

    first, base = _trained_first(list(request.sources), request.model, source_words(request))
    return [*first, request.finetune_words(base, free_name("tuned"))]


def unseen_splits(labels: Path, split: str, model: str) -> list[str]:
    """Names of the splits of a BEIR folder whose queries the model was not trained on, for the most part.

    A model may have been fine-tuned before, on another split, and splits may share queries.

    Args:
        labels: BEIR folder; a file has no splits.
        split: what was trained on.
        model: folder of the fine-tuned model.
    """
    from pretrieve.pipeline.run.training_queries import seen_queries
    from pretrieve.text.beir import read_qrels, read_queries
    from pretrieve.text.beir_files import split_files

    others = [name for name in split_files(labels) if name != split]
    texts = read_queries(labels) if others else {}
    unseen = []
    for name in others:
        try:
            asked = [texts[query] for query in read_qrels(labels, name) if query in texts]
        except DataError:  # `evaluate` would refuse it
            continue
        seen = seen_queries(model, asked)
        if asked and (seen is None or 2 * seen.trained_on < len(asked)):
            unseen.append(name)
    return unseen


def _trained_first(sources: Sequence[str], model: str | None, options: Sequence[str] = ()) -> tuple[list[Words], str]:
    if model is not None:
        return [], model
    name = free_name("my-model")
    return [["pretrieve", "train", *sources, "-o", name, *options]], name
