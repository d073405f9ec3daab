"""A base that many runs start from, saved as a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import orjson

from pretrieve.models.build import build_encoder
from pretrieve.models.checkpoints import find_checkpoint
from pretrieve.models.export import save_model
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain.report import MODEL
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import prepare_documents
from pretrieve.pipeline.pretrain.warm_start import start_words
from pretrieve.pipeline.run.progress import Listener
from pretrieve.pipeline.run.run import begin
from pretrieve.pipeline.run.sources import documents_of


def save_base(request: TrainRequest, listener: Listener) -> None:
    """Save a base as a model, untrained.

    Args:
        request: documents, base, settings (those of encoder and vocabulary count), seed, and the folder of documents
            and tokens that several runs share. A new base is made with the seed and a vocabulary of the documents.
        listener: hears of progress.

    Raises:
        PretrieveError: as ``train``.
    """
    choices = planning.choose(request)
    with begin("base", request, listener, inputs=("base",), without=("sources",)) as run:
        prepared = prepare_documents(run, request, choices, documents_of(run, request))
        pooling, prompts, separator = _usage(request.base)
        options = choices.encoder if "pooling" in request.settings else replace(choices.encoder, pooling=pooling)
        encoder = build_encoder(request.base, store=prepared.store, options=options, seed=request.seed)
        start_words(request, encoder, prepared.store, listener)
        with run.publishing(MODEL, {"recipe": "", "weight": None}) as made:
            save_model(made, encoder, prepared.store.tokenizer, prompts=prompts, separator=separator)


def _usage(base: str) -> tuple[Literal["mean", "cls"] | None, dict[str, str], str]:
    """Pooling (None: what the folder says, or else the mean), prompts and separator of a base, by its authors."""
    known = find_checkpoint(base)
    if known is not None:
        pooling: Literal["mean", "cls"] | None = known.pooling if known.pooling in ("mean", "cls") else None
        return pooling, {"query": known.query_prompt, "document": known.document_prompt}, known.separator
    said = Path(base) / "config_sentence_transformers.json"
    settings = orjson.loads(said.read_bytes()) if said.is_file() else {}
    return None, dict(settings.get("prompts") or {}), settings.get("separator", " ")
