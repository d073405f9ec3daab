"""A retrieval model as the base of a run: it is kept as it is, and a static model joins it as a third ranker."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import orjson
import pytest

import labelling
from pretrieve.core.errors import FingerprintError, UsageError
from pretrieve.core.files import MANIFEST, verify
from pretrieve.index.fuse import standardise
from pretrieve.index.index import Index
from pretrieve.models.bag import Bag, third_ranker
from pretrieve.models.text_encoder import open_encoder
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.third_ranker import WEIGHT, retrieval_model
from pretrieve.pipeline.pretrain.train import train
from pretrieve.pipeline.run.sources import DOCUMENTS
from pretrieve.pipeline.run.workspace import STATIC, workspace_of
from pretrieve.text.documents import Documents

SMALL = {"batch_size": 16, "vocabulary_size": 400, "dimensions": 16, "window": 32, "query": 16}
QUERIES = ["alpha beta", "word3 word9", "gamma"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Documents, a retrieval model as others publish it, and what a run makes of both."""
    root = tmp_path_factory.mktemp("third")
    source = labelling.beir(root / "beir", 150, 20) / "corpus.jsonl"
    base = published(labelling.transformer_model(root / "base"))
    output = root / "out"
    train(
        TrainRequest(
            sources=(str(source),), output=output, base=str(base), steps=3, settings=SMALL, keep_workspace=True
        )
    )
    return source, base, output


def published(folder: Path) -> Path:
    """A folder of ours without our MANIFEST: what a hub gives."""
    (folder / MANIFEST).unlink(missing_ok=True)
    return folder


def test_the_model_is_kept_to_the_byte(made) -> None:
    _, base, output = made
    for path in base.rglob("*.safetensors"):
        assert (output / path.relative_to(base)).read_bytes() == path.read_bytes()
    np.testing.assert_array_equal(
        open_encoder(str(output)).encode_queries(QUERIES), open_encoder(str(base)).encode_queries(QUERIES)
    )
    assert Bag.readable(output / STATIC)
    found = third_ranker(output)
    assert found is not None
    assert found[1] == WEIGHT
    verify(output)


def test_the_report_says_what_was_done(made) -> None:
    _, base, output = made
    report = orjson.loads((output / "report.json").read_bytes())
    assert report["recipe"]["base"] == str(base)
    assert "third ranker" in report["reason"]


def test_hybrid_search_adds_the_third_ranker(made, tmp_path) -> None:
    """Scores are the sum of all rankers, standardised and weighted, in memory and on disk."""
    source, _, output = made
    encoder = open_encoder(str(output))
    documents = Documents.open(workspace_of(workspace_of(output) / STATIC) / DOCUMENTS)
    built = Index.build(tmp_path / "index", documents, encoder)
    for index in (Index.of(list(documents), encoder), built, Index.open(tmp_path / "index", encoder)):
        assert index.third is not None
        assert index.dense is not None
        expected = (
            standardise(index.lexical.scores(QUERIES))
            + index.fusion.dense * standardise(index.dense.scores(QUERIES))
            + WEIGHT * standardise(index.third.scores(QUERIES))
        )
        for row, (found, scores) in enumerate(index.rank(QUERIES, 10)):
            np.testing.assert_allclose(scores, expected[row][found], rtol=1e-4, atol=1e-4)
        assert f"static model {WEIGHT:g}" in index.describe()
    assert source.is_file()


def test_another_static_model_is_refused(made, tmp_path) -> None:
    _, _, output = made
    moved = tmp_path / "model"
    shutil.copytree(output, moved)
    documents = Documents.open(workspace_of(workspace_of(output) / STATIC) / DOCUMENTS)
    Index.build(tmp_path / "index", documents, open_encoder(str(moved)))
    weights = moved / STATIC / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-4:] = np.float32(7).tobytes()
    weights.write_bytes(bytes(data))
    with pytest.raises(FingerprintError, match="index again"):
        Index.open(tmp_path / "index", open_encoder(str(moved)))


def test_only_published_models_without_a_method_are_kept(made, tmp_path) -> None:
    source, base, output = made

    def asked(**changes: object) -> TrainRequest:
        return TrainRequest(**{"sources": (str(source),), "output": tmp_path / "x", "base": str(base), **changes})

    assert retrieval_model(asked()) == base
    assert retrieval_model(asked(method="contriever-inbatch")) is None
    assert retrieval_model(asked(base="static")) is None
    assert retrieval_model(asked(base="new:layers=1,hidden=32")) is None
    assert retrieval_model(asked(base=str(output / STATIC))) is None
    with pytest.raises(UsageError):
        retrieval_model(asked(base=str(tmp_path / "nothing")))


def test_a_base_that_is_missing_is_said_before_anything_is_read(tmp_path) -> None:
    request = TrainRequest(sources=("no/such/documents",), output=tmp_path / "out", base=str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="nothing is not a folder"):
        train(request)
    assert not (tmp_path / "out").exists()
