from __future__ import annotations

from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest

from pretrieve.evaluation.probe import Probe, ProbeOptions, ProbeResult
from pretrieve.evaluation.report import probe_markdown, probe_table
from pretrieve.models.bag import Bag
from searching import documents, static_model

MADE = documents(300)
HELD_OUT = np.arange(0, 300, 4)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return Bag.load(static_model(tmp_path_factory.mktemp("probe") / "model", MADE))


def noise(texts):
    return np.array([np.random.default_rng(crc32(text.encode())).normal(size=16) for text in texts], np.float32)


def test_a_probe_tells_a_model_from_noise_and_repeats_itself(bag):
    probe = Probe(MADE, HELD_OUT)
    result = probe({"model": bag.encode, "noise": noise})
    assert set(result.values) == {"BM25", "model", "noise"}
    assert set(result.values["model"]) == {"title", "sentence"}
    assert result.mean("model") > 3 * result.mean("noise")
    assert result.worse("noise", "model")
    assert not result.worse("model", "noise")
    assert not result.worse("model", "model")
    again = Probe(MADE, HELD_OUT)({"model": bag.encode})
    assert again.mean("model") == result.mean("model")
    assert again.mean("BM25", "title") == result.mean("BM25", "title")
    assert result.to_json()["queries"] == {"title": 75, "sentence": 75}


def test_queries_are_of_held_out_documents_and_answers_in_the_pool(bag):
    probe = Probe(MADE, HELD_OUT, ProbeOptions(distractors=50, queries=20))
    titles = {MADE[index].title for index in HELD_OUT}
    assert set(probe.sets[0].queries) <= titles
    assert probe({}).pool == len(HELD_OUT) + 50


def test_a_perfect_encoder_finds_every_title():
    titles = sorted({document.title for document in MADE})
    repeated = [replace(document, text=f"{document.title} {document.text}") for document in MADE]
    result = Probe(repeated, HELD_OUT)(
        {"own": lambda texts: np.array([[title in text for title in titles] for text in texts], np.float32)}
    )
    assert result.mean("own", "title") > 0.95


def test_no_queries_is_no_answer(bag):
    from pretrieve.core.types import Document

    result = Probe([Document(id=str(n), text="a b") for n in range(50)], np.arange(10))({"model": bag.encode})
    assert np.isnan(result.mean("model"))
    assert not result.worse("model", "BM25")
    assert probe_markdown(result).startswith("| system |")


def test_tables():
    values = {"BM25": {"title": np.array([1.0, 0.0])}, "model": {"title": np.array([1.0, 1.0])}}
    result = ProbeResult(values=values, pool=7)
    assert "| model | 1.0000 |" in probe_markdown(result)
    assert probe_table(result).row_count == 2
