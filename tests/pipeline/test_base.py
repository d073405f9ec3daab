"""The base of a comparison: kept as its authors use it, so that ``none`` is the base as it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import labelling
from pretrieve.models.text_encoder import ModelOptions, open_encoder
from pretrieve.pipeline.compare.base_model import save_base
from pretrieve.pipeline.pretrain.base_usage import BaseUsage, usage_of_base
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.train import train
from pretrieve.pipeline.run.progress import Silent


def save(start: Path, sources: tuple[str, ...], output: Path, **settings: object) -> None:
    save_base(TrainRequest(sources=sources, output=output, base=str(start), settings=settings), Silent())


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_base_keeps_its_prompts_and_its_pooling(tmp_path, pooling) -> None:
    start = labelling.transformer_model(tmp_path / "start", prompts={"query": "ask: ", "document": "tell: "})
    config = start / "1_Pooling" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "pooling_mode": pooling}))
    (start / "MANIFEST.json").unlink()  # changed on purpose
    sources = (str(labelling.beir(tmp_path / "beir", 60, 5)),)
    save(start, sources, tmp_path / "kept")
    before, after = (open_encoder(str(tmp_path / name), ModelOptions(device="cpu")) for name in ("start", "kept"))
    words = [labelling.word(3), f"{labelling.word(4)} {labelling.word(5)}"]
    np.testing.assert_allclose(after.encode_queries(words), before.encode_queries(words), atol=1e-6)
    np.testing.assert_allclose(after.encode_documents(words), before.encode_documents(words), atol=1e-6)
    save(start, sources, tmp_path / "other", pooling="mean")
    other = open_encoder(str(tmp_path / "other"), ModelOptions(device="cpu")).encode_documents(words)
    assert np.allclose(other, before.encode_documents(words), atol=1e-4) == (pooling == "mean")


def test_a_published_base_is_used_as_its_authors_use_it() -> None:
    assert usage_of_base("BAAI/bge-base-en-v1.5").pooling == "cls"
    e5 = usage_of_base("intfloat/e5-base-v2")
    assert (e5.pooling, e5.prompts) == ("mean", {"query": "query: ", "document": "passage: "})
    assert usage_of_base("new:layers=2") == BaseUsage()


def test_a_model_trained_from_a_base_keeps_its_prompts(tmp_path) -> None:
    """Without them the start that is saved where training did not help would search worse than it did before."""
    start = labelling.transformer_model(tmp_path / "start", prompts={"query": "ask: ", "document": "tell: "})
    sources = (str(labelling.beir(tmp_path / "beir", 60, 5)),)
    settings = {"batch_size": 8, "save_every": 0, "window": 60}
    train(
        TrainRequest(
            sources=sources,
            output=tmp_path / "out",
            base=str(start),
            method="contriever-inbatch",
            steps=1,
            settings=settings,
            tracker="none",
            select=False,
        )
    )
    for folder in (tmp_path / "out", tmp_path / "out" / "start"):
        assert usage_of_base(str(folder)).prompts == {"query": "ask: ", "document": "tell: "}
