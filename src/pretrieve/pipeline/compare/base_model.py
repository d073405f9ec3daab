"""A base that many runs start from, kept as a model, with the tokens of the documents beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import orjson

from pretrieve.core import files
from pretrieve.models.build import build_encoder, named_base
from pretrieve.models.checkpoints import find_checkpoint
from pretrieve.models.export import save_model
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain import data as prepare
from pretrieve.pipeline.pretrain.report import MODEL
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.warm_start import start_words
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.sources import read_documents
from pretrieve.pipeline.run.workspace import WORKSPACE, hold
from pretrieve.text import tokenizer


def save_base(
    base: str, sources: tuple[str, ...], target: Path, settings: Mapping[str, str], seed: int, listener: Listener
) -> None:
    """Keep a base as a model, untrained, with the store of the documents beside it.

    Args:
        base: as of ``train``; a new one is made with the seed and with a vocabulary of the documents.
        sources: the documents.
        target: folder for the model.
        settings: values by name; those of encoder and vocabulary count.
        seed: of the weights.
        listener: hears of progress.

    Raises:
        PretrieveError: as ``train``.
    """
    request = TrainRequest(sources=sources, output=target, base=base, settings=settings, seed=seed)
    choices = planning.choose(request)
    with hold(target):
        workspace = target / WORKSPACE
        documents = read_documents(
            sources, workspace / "documents", listener, fields=request.fields, on_bad="fail", replace=True
        )
        every, _ = prepare.split(len(documents), seed)
        folder = named_base(base)
        vocabulary = (
            tokenizer.load(folder) if folder else prepare.train_tokenizer(documents, every, choices.tokenization)
        )
        store = prepare.build_store(workspace, documents, every, vocabulary, listener)
        pooling, prompts, separator = _usage(base)
        options = choices.encoder if "pooling" in settings else replace(choices.encoder, pooling=pooling)
        encoder = build_encoder(base, store=store, options=options, seed=seed)
        start_words(request, encoder, store, listener)
        with files.scratch(target, MODEL) as made:
            save_model(made, encoder, vocabulary, prompts=prompts, separator=separator)
            files.publish(made, target, MODEL, {"recipe": "", "weight": None})


def _usage(base: str) -> tuple[Literal["mean", "cls"] | None, dict[str, str], str]:
    """Pooling (None: what the folder says, or else the mean), prompts and separator of a base, by its authors."""
    known = find_checkpoint(base)
    if known is not None:
        pooling: Literal["mean", "cls"] | None = known.pooling if known.pooling in ("mean", "cls") else None
        return pooling, {"query": known.query_prompt, "document": known.document_prompt}, known.separator
    said = Path(base) / "config_sentence_transformers.json"
    settings = orjson.loads(said.read_bytes()) if said.is_file() else {}
    return None, dict(settings.get("prompts") or {}), settings.get("separator", " ")
