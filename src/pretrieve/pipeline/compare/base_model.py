"""A base that many runs start from, saved as a model."""

from __future__ import annotations

from dataclasses import replace

from pretrieve.models.build import build_encoder
from pretrieve.models.export import save_model
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain.base_usage import usage_of_base
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
        listener: receives progress.

    Raises:
        PretrieveError: as ``train``.
    """
    choices = planning.choose(request)
    with begin("base", request, listener, inputs=("base",), without=("sources",)) as run:
        prepared = prepare_documents(run, request, choices, documents_of(run, request))
        usage = usage_of_base(request.base)
        options = choices.encoder if "pooling" in request.settings else replace(choices.encoder, pooling=usage.pooling)
        encoder = build_encoder(request.base, store=prepared.store, options=options, seed=request.seed)
        start_words(request, encoder, prepared.store, listener)
        with run.publishing(MODEL, {"recipe": "", "weight": None}) as made:
            save_model(made, encoder, prepared.store.tokenizer, prompts=usage.prompts, separator=usage.separator)
