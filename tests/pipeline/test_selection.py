"""What is saved of a run: the trained encoder or its start, and in which words."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import orjson
import pytest

from pretrieve.evaluation.probe import BM25, ProbeResult
from pretrieve.pipeline.pretrain.build import choose, variants
from pretrieve.pipeline.pretrain.data import Prepared
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.selection import START, TRAINED, above_start, select, standard_errors, too_little
from pretrieve.pipeline.pretrain.train import prepare_documents, train, train_variants
from pretrieve.pipeline.run.progress import Silent
from pretrieve.pipeline.run.run import Run, begin
from pretrieve.pipeline.run.sources import documents_of


def result(noise: float = 0.1, **means: float) -> ProbeResult:
    """A probe of 400 queries of two kinds with these means, and each system's own noise."""
    values: dict[str, dict[str, np.ndarray]] = {}
    for number, (name, mean) in enumerate(means.items()):
        draws = np.random.default_rng(number).normal(0, noise, (2, 400))
        draws -= draws.mean(axis=1, keepdims=True)
        values[name] = dict(zip(("title", "sentence"), mean + draws, strict=True))
    return ProbeResult(values=values, pool=1000)


def test_a_trained_transformer_has_to_be_above_its_start_by_more_than_chance() -> None:
    better = result(**{BM25: 0.5, START: 0.40, TRAINED: 0.45})
    assert above_start(better)[0] == TRAINED
    assert above_start(better)[1] == "nDCG@10 on held-out documents: 0.400 before, 0.450 after"
    for trained in (0.30, 0.40, 0.402):
        saved, reason = above_start(result(**{BM25: 0.5, START: 0.40, TRAINED: trained}))
        assert saved == START
        assert reason == "training did not help on held-out documents: the start is saved"


def test_standard_errors_are_those_of_the_mean_of_kinds() -> None:
    found = result(**{START: 0.40, TRAINED: 0.41})
    gaps = [found.values[TRAINED][kind] - found.values[START][kind] for kind in ("title", "sentence")]
    error = np.sqrt(sum(gap.std() ** 2 / 400 for gap in gaps)) / 2
    assert standard_errors(found, TRAINED, START) == pytest.approx(0.01 / error)
    assert standard_errors(found, START, TRAINED) == pytest.approx(-0.01 / error)
    assert standard_errors(found, START, START) == 0.0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("selection") / "documents.jsonl"
    words = [f"word{number}" for number in range(150)]
    rng = np.random.default_rng(0)
    path.write_bytes(b"\n".join(orjson.dumps({"text": " ".join(rng.choice(words, 40))}) for _ in range(130)))
    return path


@contextlib.contextmanager
def prepared_for(request: TrainRequest) -> Iterator[tuple[Run, Prepared]]:
    with begin("train", request, Silent()) as run:
        yield run, prepare_documents(run, request, choose(request), documents_of(run, request))


def test_only_a_static_default_asks_whether_there_is_enough_text(source, tmp_path) -> None:
    def reason(documents: Path, **asked) -> str:
        settings = {"vocabulary_size": 200, "dimensions": 8, "batch_size": 16}
        request = TrainRequest(sources=(str(documents),), output=tmp_path / "out", settings=settings, **asked)
        with prepared_for(request) as (_, prepared):
            return too_little(request, prepared)

    lines = source.read_bytes().splitlines()
    few, short = tmp_path / "few.jsonl", tmp_path / "short.jsonl"
    few.write_bytes(b"\n".join(lines[:50]))
    short.write_bytes(b"\n".join(orjson.dumps({"text": f"list word{n} by size"}) for n in range(130)))
    assert reason(source) == ""
    assert reason(few).startswith("50 documents are too few to learn from")
    assert "tokens are too short to learn from" in reason(short)
    assert reason(few, method="structure") == reason(short, method="structure") == ""
    assert reason(few, base="new:layers=1,hidden=32") == ""


def test_without_a_judge_the_first_run_is_saved_and_the_index_chooses_the_weight(source, tmp_path) -> None:
    settings = {"vocabulary_size": 200, "dimensions": 8, "batch_size": 16}
    request = TrainRequest(sources=(str(source),), output=tmp_path / "out", settings=settings, steps=2)
    choices = choose(request)
    with prepared_for(request) as (run, prepared):
        start, trained = train_variants(run, request, variants(request, choices)[:2], prepared)
        unjudged = TrainRequest(sources=request.sources, output=request.output, select=False)
        found = select(unjudged, start, trained, prepared, Silent())
        assert (found.run, found.encoder, found.saved) == (trained[0], trained[0].encoder, trained[0].name)
        assert (found.probe, found.fusion) == (None, None)
        assert found.reason == "not compared with its start"
        judged = select(request, start, trained, prepared, Silent())
        assert judged.saved in {START, *(run.name for run in trained)}
        assert judged.fusion is not None
        assert judged.fusion.dense == judged.probe.weight
        expected = {START: start, **{run.name: run.encoder for run in trained}}[judged.saved]
        assert judged.encoder is expected
        assert judged.start is start


def test_a_probe_without_queries_is_no_verdict_on_training(tmp_path) -> None:
    source = tmp_path / "short.jsonl"
    source.write_bytes(b"\n".join(orjson.dumps({"text": f"word{number} and word{number % 7}"}) for number in range(60)))
    report = train(
        TrainRequest(
            sources=(str(source),),
            output=tmp_path / "model",
            method="contriever-inbatch",
            base="new:layers=1,hidden=16,heads=2",
            steps=1,
            settings={"batch_size": 8, "vocabulary_size": 120},
            tracker="none",
        )
    )
    assert report.reason == "no query could be taken from the 6 held-out documents: not compared with its start"
    assert (report.saved, report.probe) == ("contriever-inbatch", None)
