"""What every method leaves: a stock model that scores as pretrieve does, and weights that come back strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import tiny
from pretrieve.core.types import FloatArray
from pretrieve.methods import find, names
from pretrieve.models.inference import encode
from pretrieve.models.restore import load_towers
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.text import tokenizer

BOTH = [(preset, kind) for preset in names() for kind in tiny.kinds(preset)]
BASES = {"static": "static", "new": "new:layers=2,hidden=32,heads=2,intermediate=64"}
QUERIES = ["word1 word2", "word3 word5 word7.", "Word8, word9", "word10"]
DOCUMENTS = ["word1 word3 word5 word7 word9", "word2 word4. Word6 word8.", "word12 " * 30, "word40"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(120)]
    lines = []
    for number in range(40):
        own = rng.choice(words, 15)
        sentences = [" ".join(np.append(rng.choice(own, 7), rng.choice(words))).capitalize() + "." for _ in range(9)]
        lines.append(orjson.dumps({"id": f"{number}", "title": " ".join(own[:3]), "text": " ".join(sentences)}))
    path = tmp_path_factory.mktemp("source") / "documents.jsonl"
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.mark.parametrize(("preset", "kind"), BOTH)
def test_stock_model_scores_as_pretrieve_does(preset: str, kind: str, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "model"
    own = find(preset)[0].Options.__dataclass_fields__
    settings = {name: value for name, value in tiny.SMALL.items() if name in own and name != "projection"}
    settings |= {"batch_size": 8, "vocabulary_size": 200, "max_length": 64}
    train(
        TrainRequest(sources=(str(source),), output=output, base=BASES[kind], method=preset, steps=3, settings=settings)
    )  # fmt: skip
    ours, theirs = reloaded(output), stock(output)
    assert np.ptp(ours) > 5e-5, "the scores differ between documents, by more than the tolerance"
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    opened = open_encoder(str(output))
    mine = np.asarray(opened.encode_queries(QUERIES)), np.asarray(opened.encode_documents(DOCUMENTS))
    np.testing.assert_allclose(scores(*mine), theirs, rtol=1e-5, atol=1e-5)


def reloaded(folder: Path) -> FloatArray:
    """Scores by the encoders that pretrieve reads back."""
    query, document = load_towers(folder)
    vocabulary = tokenizer.load(folder) if (folder / "tokenizer.json").is_file() else None
    if vocabulary is None:  # separate towers keep it beside each
        vocabulary = tokenizer.load(next(folder.glob("*/tokenizer.json")).parent)
    return scores(encode(query, vocabulary, QUERIES, queries=True), encode(document, vocabulary, DOCUMENTS))


def scores(queries: FloatArray, documents: FloatArray) -> FloatArray:
    if documents.ndim == 3:  # the best of several views
        return np.einsum("qd,rvd->qrv", queries, documents).max(axis=2)
    return queries @ documents.T


def stock(folder: Path) -> FloatArray:
    """Scores by sentence-transformers alone."""
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer

    stock_class = MultiVectorEncoder if (folder / "views.json").is_file() else SentenceTransformer
    model: Any = stock_class(str(folder), device="cpu")
    found = model.similarity(model.encode_query(QUERIES), model.encode_document(DOCUMENTS))
    return np.asarray(found)
