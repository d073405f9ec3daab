"""The saved model: sentence-transformers opens it and computes the same scores."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretrieve.core import files
from pretrieve.core.types import Document, FloatArray
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.export import save_model
from pretrieve.models.inference import encode
from pretrieve.models.restore import load_encoders
from pretrieve.models.text_encoder import open_encoder
from pretrieve.sampling.batches import Batches
from pretrieve.testing.contract import hold
from pretrieve.testing.tiny import Case
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from pretrieve.training.options import TrainingOptions
from pretrieve.training.trainer import Trainer

_BASES = {"static": "static", "new": "new:layers=2,hidden=32,heads=2,intermediate=64"}
_QUERIES = ["word1 word2", "word3 word5 word7.", "Word8, word9", "word10"]
_DOCUMENTS = ["word1 word3 word5 word7 word9", "word2 word4. Word6 word8.", "word12 " * 30, "word40"]


def documents(count: int = 40) -> list[Document]:
    """Random documents of nine sentences, each document with words of its own.

    Args:
        count: number of documents.
    """
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(120)]
    found = []
    for number in range(count):
        own = rng.choice(words, 15)
        sentences = [" ".join(np.append(rng.choice(own, 7), rng.choice(words))).capitalize() + "." for _ in range(9)]
        found.append(Document(id=f"{number}", title=" ".join(own[:3]), text=" ".join(sentences)))
    return found


def stock_model_scores_as_ours(case: Case) -> None:
    """The model after three steps is saved, and ``check_stock`` holds for it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kept = Documents.write(folder / "documents", documents())
        vocabulary = tokenizer.train([document.text for document in kept], vocabulary_size=200)
        store = Store.build(folder / "store", kept, vocabulary)
        pooling = case.method.PRESETS[case.preset].encoder.get("pooling")
        options = EncoderOptions(dimensions=16, max_length=64, pooling=None if pooling is None else pooling.value)
        encoder = build_encoder(_BASES[case.kind], store=store, options=options, seed=0)
        chosen = case.options()
        objective = case.method.objective(encoder, chosen, 0, store)
        batches = Batches(sampler=case.method.sampler(store, encoder.specials, chosen), batch_size=8, seed=0)
        Trainer(objective=objective, batches=batches, options=TrainingOptions(steps=3, batch_size=8)).run()
        queries = getattr(objective, "query_encoder", None)
        with files.create(folder / "model", "model", meta={}) as made:
            if queries is None:
                save_model(made, objective.encoder, vocabulary)
            else:
                save_model(made, queries, vocabulary, documents=objective.encoder)
        check_stock(folder / "model")


def check_stock(folder: Path, texts: Sequence[str] = _DOCUMENTS) -> None:
    """Compare the scores of a model here and in sentence-transformers.

    Args:
        folder: folder of the model.
        texts: documents that it knows words of.

    Raises:
        BrokenPromiseError: they differ, or do not differ between documents.
    """
    ours, theirs = _reloaded(folder, texts), _stock(folder, texts)
    hold(np.ptp(ours) > 5e-5, "the trained model gives all documents the same score")
    hold(
        np.allclose(ours, theirs, rtol=1e-5, atol=1e-5),
        "sentence-transformers and the encoder compute different scores",
    )
    opened = open_encoder(str(folder))
    mine = np.asarray(opened.encode_queries(_QUERIES)), np.asarray(opened.encode_documents(texts))
    hold(np.allclose(_scores(*mine), theirs, rtol=1e-5, atol=1e-5), "sentence-transformers computes different scores")


def _reloaded(folder: Path, texts: Sequence[str]) -> FloatArray:
    """Scores by the encoders that pretrieve reads back."""
    query, document = load_encoders(folder)
    top = folder if (folder / "tokenizer.json").is_file() else next(folder.glob("*/tokenizer.json")).parent
    vocabulary = tokenizer.load(top)  # separate encoders keep it beside each
    return _scores(encode(query, vocabulary, _QUERIES, queries=True), encode(document, vocabulary, texts))


def _scores(queries: FloatArray, documents: FloatArray) -> FloatArray:
    if documents.ndim == 3:  # the best of several vectors of a document
        best: FloatArray = np.einsum("qd,rvd->qrv", queries, documents).max(axis=2)
        return best
    found: FloatArray = queries @ documents.T
    return found


def _stock(folder: Path, texts: Sequence[str]) -> FloatArray:
    """Scores by sentence-transformers alone."""
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

    stock_class: Any = MultiVectorEncoder if (folder / "views.json").is_file() else SentenceTransformer
    model = stock_class(str(folder), device="cpu")
    return np.asarray(model.similarity(model.encode_query(_QUERIES), model.encode_document(list(texts))))
