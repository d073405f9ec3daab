"""A new transformer whose word vectors start from static training, ``--base new:words=static``: it trains faster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pretrieve.models.build import new_transformer, start_words_from
from pretrieve.models.encoder import Encoder
from pretrieve.models.static import StaticEncoder
from pretrieve.models.transformer import TransformerEncoder
from pretrieve.pipeline.pretrain import build as planning
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.run.progress import Listener
from pretrieve.text.store import Store
from pretrieve.training.ranks import Ranks
from pretrieve.training.trainer import Trainer

STEPS = 500  # of 512 pairs: about half a minute on one core


def start_words(request: TrainRequest, encoder: Encoder, store: Store, listener: Listener) -> None:
    """Train a static encoder on the same store, and start the word vectors of a new transformer from it.

    Does nothing for other bases. The number of steps is fixed, so that a resumed run starts from the same weights.

    Args:
        request: arguments of the run; its base decides.
        encoder: changed in place, before an objective copies it.
        store: the documents.
        listener: receives progress.
    """
    new = new_transformer(request.base)
    if new is None or new.words != "static":
        return
    static_request = TrainRequest(
        sources=request.sources,
        output=Path("unused"),
        steps=STEPS,
        settings={"dimensions": new.hidden},
        seed=request.seed,
    )
    static = planning.make(static_request, planning.choose(static_request), store)
    listener.stage("static words", STEPS, "steps")
    Trainer(
        objective=static.objective,
        batches=static.batches,
        options=replace(static.training, save_every=0),
        seed=request.seed,
        ranks=Ranks(),  # every process for itself, with the same result
        on_step=lambda progress: listener.advance(1, f"loss {progress.loss:.3f}"),
    ).run()
    assert isinstance(static.encoder, StaticEncoder)
    assert isinstance(encoder, TransformerEncoder)
    start_words_from(encoder, static.encoder.embedding.weight, request.seed)
