"""The road of training, with transformers from nothing, and what the verdict hands out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from pretrieve.evaluation.probe import BM25, ProbeResult
from pretrieve.models.restore import load_encoder, load_towers
from pretrieve.pipeline.request import Request
from pretrieve.pipeline.train import train
from pretrieve.pipeline.verdict import START, TRAINED, _choose

SMALL = {"batch_size": 8, "vocabulary_size": 300}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(200)]
    path = tmp_path_factory.mktemp("source") / "documents.jsonl"
    lines = []
    for number in range(60):
        sentences = [" ".join(rng.choice(words, 8)) + "." for _ in range(6)]
        lines.append(
            orjson.dumps({"id": str(number), "title": " ".join(rng.choice(words, 3)), "text": " ".join(sentences)})
        )
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.mark.parametrize("method", ["contriever-inbatch", "orqa-ict"])
def test_a_transformer_from_nothing(tmp_path, source, method) -> None:
    """Trains, exports as a stock model, and the exported one gives the same vectors."""
    from sentence_transformers import SentenceTransformer

    settings = {**SMALL, "max_length": 300, "save_every": 2}
    output = tmp_path / "out"
    train(
        Request(
            sources=(str(source),),
            output=output,
            base="new:layers=1,hidden=32",
            method=method,
            steps=3,
            settings=settings,
        )
    )
    stock = SentenceTransformer(str(output), device="cpu")
    again = load_encoder(output)
    assert stock.similarity_fn_name == again.similarity == "dot"
    texts = ["word1 word2", "word3"]
    from pretrieve.models.inference import encode
    from pretrieve.text import tokenizer

    np.testing.assert_allclose(encode(again, tokenizer.load(output), texts), stock.encode(texts), atol=1e-5)


def test_words_from_static_training_start_the_transformer(tmp_path, source, monkeypatch) -> None:
    monkeypatch.setattr("pretrieve.pipeline.warm.STEPS", 5)
    weights = {}
    for words in ("random", "static"):
        output = tmp_path / words
        base = f"new:layers=1,hidden=32,words={words}"
        train(
            Request(
                sources=(str(source),),
                output=output,
                base=base,
                steps=1,
                settings={**SMALL, "batch_size": 16, "max_length": 300},
            )
        )
        weights[words] = load_encoder(output / "start").model.get_input_embeddings().weight.detach()
    assert weights["static"].shape == weights["random"].shape
    assert not torch.allclose(weights["static"][10:], weights["random"][10:])
    assert float(weights["static"][10:].std()) == pytest.approx(float(weights["random"][10:].std()), rel=0.1)


def test_separate_towers_are_both_kept(tmp_path, source) -> None:
    output = tmp_path / "out"
    settings = {**SMALL, "max_length": 300, "towers": "separate"}
    report = train(
        Request(
            sources=(str(source),),
            output=output,
            base="new:layers=1,hidden=32",
            method="orqa-ict",
            steps=2,
            settings=settings,
        )
    )
    if report.part == 1.0:
        query, document = load_towers(output)
        assert query.dimensions == document.dimensions


def test_two_runs_give_the_same_model_and_another_seed_another(tmp_path, source) -> None:
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(
            Request(
                sources=(str(source),),
                output=tmp_path / name,
                steps=5,
                seed=seed,
                settings={**SMALL, "dimensions": 16},
                method="structure",
            )
        )
        found.append(
            (tmp_path / name / "start" / "model.safetensors").read_bytes()
            + (tmp_path / name / "model.safetensors").read_bytes()
        )
    assert found[0] == found[1] != found[2]


def test_calibration_writes_the_number_of_steps(tmp_path, source) -> None:
    report = train(
        Request(
            sources=(str(source),),
            output=tmp_path / "out",
            minutes=0.03,
            settings={**SMALL, "dimensions": 16},
            method="structure",
        )
    )
    steps = report.recipe["training"]["steps"]
    assert 5 <= steps < 100_000
    assert orjson.loads((tmp_path / "out" / "recipe.json").read_bytes())["training"]["steps"] == steps


def test_short_documents_keep_the_start(tmp_path) -> None:
    source = tmp_path / "short.jsonl"
    source.write_bytes(b"\n".join(orjson.dumps({"text": f"list files {n} by size"}) for n in range(100)))
    report = train(Request(sources=(str(source),), output=tmp_path / "out", settings={**SMALL, "dimensions": 16}))
    assert report.part == 0.0
    assert "too short" in report.reason
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (
        tmp_path / "out" / "start" / "model.safetensors"
    ).read_bytes()


def result(**means: float) -> ProbeResult:
    """A probe of 400 queries with these means, and the same noise for all systems."""
    noise = np.random.default_rng(1).normal(0, 0.01, 400)
    own = {name: np.random.default_rng(number).normal(0, 0.1, 400) for number, name in enumerate(means)}
    values = {name: {"sentence": mean + noise + own[name] - own[name].mean()} for name, mean in means.items()}
    return ProbeResult(values=values, pool=1000)


def choose(**means: float) -> str:
    return _choose(result(**{BM25: 0.5, **means}), static=True)[0]


def test_the_verdict() -> None:
    """Never worse than the start; the nearest to the trained weights among those that are as good as the best."""
    assert choose(start=0.40, **{"0.5": 0.45}, trained=0.50) == TRAINED
    assert choose(start=0.40, **{"0.5": 0.39}, trained=0.30) == START
    assert choose(start=0.40, **{"0.5": 0.50}, trained=0.42) == "0.5"
    assert choose(start=0.40, **{"0.5": 0.50}, trained=0.499) == TRAINED, "within the noise: towards the trained one"
    assert choose(start=0.40, **{"0.5": 0.401}, trained=0.402) == START, "above, but not by more than chance"
    assert _choose(result(**{BM25: 0.01}, start=0.1, trained=0.9), static=True)[0] == START, "nobody can answer"


def test_a_static_encoder_takes_the_values_that_suit_it(tmp_path, source) -> None:
    """A preset's values for static encoders replace the published ones; what the user sets replaces both."""
    from pretrieve.pipeline.plan import choose as chosen

    def queue(base: str, **settings: object) -> object:
        asked = Request(
            sources=(str(source),), output=tmp_path / "o", method="contriever", base=base, settings=settings
        )
        return chosen(asked).options["queue"]

    assert queue("new:layers=1,hidden=32") == 131072
    assert queue("static") == 8192
    assert queue("static", queue=2048) == 2048


def test_a_slow_encoder_starts_from_the_same_static_words(tmp_path, source, monkeypatch) -> None:
    """Words are started before the objective copies the encoder: momentum contrast begins with two equal encoders."""
    from pretrieve.pipeline import train as road

    seen = {}

    def look(request, made, listener):
        both = (made.objective.encoder, made.objective.slow_encoder)
        seen["words"] = [encoder.model.get_input_embeddings().weight.detach().clone() for encoder in both]
        return made_before(request, made, listener)

    made_before = road._with_steps
    monkeypatch.setattr(road, "_with_steps", look)
    monkeypatch.setattr("pretrieve.pipeline.warm.STEPS", 3)
    settings = {**SMALL, "max_length": 300, "queue": 16}
    base = "new:layers=1,hidden=32,words=static"
    train(
        Request(
            sources=(str(source),), output=tmp_path / "out", base=base, method="contriever", steps=1, settings=settings
        )
    )
    assert torch.equal(*seen["words"])
