"""The guard of a transformer that retrieves already: what is saved of a run, by the real probe on tiny models."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch

import labelling
from pretrieve.core import files
from pretrieve.evaluation.fused_probe import LEXICAL, TOPICAL
from pretrieve.models.build import EncoderOptions, build_encoder, retrieval_folder
from pretrieve.models.export import save_model
from pretrieve.models.interpolation import interpolated, upper_half
from pretrieve.models.restore import load_encoder
from pretrieve.pipeline.pretrain import guard
from pretrieve.pipeline.pretrain.build import choose, variants
from pretrieve.pipeline.pretrain.guard import candidates, guardable
from pretrieve.pipeline.pretrain.publish import publish
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.selection import START, select
from pretrieve.pipeline.pretrain.train import prepare_documents, train, train_variants
from pretrieve.pipeline.run.progress import Silent
from pretrieve.pipeline.run.run import begin
from pretrieve.pipeline.run.sources import documents_of
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.store import Store
from searching import word

CONCEPTS, WORDS = 120, 8  # words of a concept: two documents that speak of it seldom share one
SMALL = {"batch_size": 8, "window": 16, "max_length": 64, "save_every": 0}


def documents(count: int = 480) -> list[dict[str, str]]:
    """Documents of five concepts each, in sentences that name four of them."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        concepts = rng.choice(CONCEPTS, 5, replace=False)
        said = [WORDS * rng.choice(concepts, 4, replace=False) + rng.integers(0, WORDS, 4) for _ in range(5)]
        text = " ".join(f"{' '.join(map(word, line.tolist())).capitalize()}." for line in said)
        made.append({"_id": f"d{number}", "text": text})
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> dict[str, Any]:
    """A published model that knows nothing, prepared documents, a run of one step, and a model that knows concepts."""
    root = tmp_path_factory.mktemp("guard")
    source = labelling.lines(root / "documents.jsonl", documents())
    known = tokenizer.train([" ".join(word(n) for n in range(CONCEPTS * WORDS))] * 3, vocabulary_size=4000)
    kept = Documents.write(root / "documents", labelling.iter_documents())
    base = "new:layers=2,hidden=32,heads=2,intermediate=64,dropout=0"
    store = Store.build(root / "store", kept, known)
    encoder = build_encoder(base, store=store, options=EncoderOptions(max_length=64), seed=0)
    with files.create(root / "base", "model", meta={}) as made:
        save_model(made, encoder, known)
    (root / "base" / files.MANIFEST).unlink()
    request = TrainRequest(
        sources=(str(source),), output=root / "out", base=str(root / "base"), method="contriever-inbatch", steps=1,
        tracker="none", settings=SMALL,
    )  # fmt: skip
    choices = choose(request)
    request = replace(request, keep_workspace=True)
    with begin("train", request, Silent(), without=("sources",)) as held:
        prepared = prepare_documents(held, request, choices, documents_of(held, request))
        start, (trained,) = train_variants(held, request, variants(request, choices), prepared)
    return {"request": request, "prepared": prepared, "start": start, "run": trained, "better": knowing(start, known)}


def knowing(start: Any, known: tokenizer.Tokenizer) -> Any:
    """A copy whose word vectors are those of concepts."""
    better, random = deepcopy(start), torch.Generator().manual_seed(0)
    concepts = torch.randn(CONCEPTS, start.dimensions, generator=random)
    with torch.no_grad():
        for number in range(CONCEPTS * WORDS):
            better.words[known.encode([word(number)]).row(0)] += 0.05 * concepts[number // WORDS]
    return better


def selected(run: dict[str, Any], trained: Any, start: Any = None) -> Any:
    """What is saved where the run ended with these weights."""
    run["run"].encoder.load_state_dict(trained.state_dict())
    return select(run["request"], start or run["start"], [run["run"]], run["prepared"], Silent())


def ruined(start: Any) -> Any:
    """A copy with noise on all weights."""
    found, random = deepcopy(start), torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random))
    return found


def test_the_candidates_are_the_weights_that_they_say(run) -> None:
    start, trained = run["start"], run["better"]
    found = {one.name: one for one in candidates(start, trained)}
    ways = {"quarter": (0.25,), "half": (0.5,), "trained": (1.0,), "lower": (1.0, 0.0), "upper": (0.0, 1.0)}
    assert list(found) == list(ways)
    for name, way in ways.items():
        pairs = zip(found[name].encoder().parameters(), interpolated(start, trained, *way).parameters(), strict=True)
        assert all(torch.equal(mine, other) for mine, other in pairs), name
    assert "a quarter of the way" in found["quarter"].interpolation
    assert "upper half of the layers" in found["upper"].interpolation


def test_a_better_model_is_saved_and_report_and_card_tell_it(run, tmp_path) -> None:
    found = selected(run, run["better"])
    assert found.saved in ("quarter", "half", "trained", "lower"), "what was learnt is in the word vectors"
    expected = {one.name: one for one in candidates(run["start"], run["better"])}[found.saved]
    assert all(map(torch.equal, found.encoder.parameters(), expected.encoder().parameters()))
    assert found.reason.startswith(f"{expected.interpolation}, +")
    assert found.reason.endswith(f"saved: {found.saved}")
    with begin("train", replace(run["request"], output=tmp_path / "out"), Silent()) as held:
        publish(held, found, run["prepared"])
    report = orjson.loads((tmp_path / "out" / "report.json").read_bytes())
    assert (report["saved"], report["reason"]) == (found.saved, found.reason)
    assert report["probe"]["above_start"][found.saved]["p"] < 0.05
    assert report["probe"]["above_start"][found.saved]["gain"] > 0.02
    assert report["fusion"]["dense"] == 2.0
    assert files.read_manifest(tmp_path / "out", "model")["weight"] == 2.0
    card = (tmp_path / "out" / "README.md").read_text()
    assert found.reason in card
    assert f"| {found.saved} (saved) |" in card
    assert "at weights 1 and 2." in card
    saved = load_encoder(tmp_path / "out")
    for mine, other in zip(saved.parameters(), found.encoder.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("knows", [False, True])
def test_a_ruined_model_is_never_saved(run, knows) -> None:
    start = run["better"] if knows else run["start"]
    found = selected(run, ruined(start), start)
    assert (found.saved, found.encoder) == (START, start)
    assert found.reason.startswith("training did not help significantly: ")
    assert found.reason.endswith("saved: the start")


def test_only_the_half_of_the_layers_that_is_better_is_saved(run) -> None:
    trained = deepcopy(run["better"])
    with torch.no_grad():
        for name, parameter in trained.named_parameters():
            if name in upper_half(trained):
                parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    found = selected(run, trained)
    assert found.saved == "lower"
    expected = interpolated(run["start"], trained, 1.0, 0.0)
    assert all(map(torch.equal, found.encoder.parameters(), expected.parameters()))


def test_a_model_that_learnt_nothing_is_not_saved(run) -> None:
    assert selected(run, run["start"]).saved == START


def test_the_number_of_texts_is_bounded_and_told(run, monkeypatch) -> None:
    heard: list[Any] = []

    class Listener(Silent):
        def stage(self, name: str, total: int | None = None, unit: str = "") -> None:
            heard.append((name, total, unit))

        def advance(self, amount: int, note: str = "") -> None:
            heard.append(amount)

        def note(self, line: str) -> None:
            heard.append(line)

    for name in ("HELD_OUT", "QUERIES", "DISTRACTORS"):
        monkeypatch.setattr(guard, name, 30)
    start = run["start"]
    found = candidates(start, start)
    seen = guard.guarded(run["prepared"], (START, start), found, 0, Listener())
    texts = 30 + 30 + 2 * 30 + 30  # held out and others, sentences and documents without them, short queries
    assert heard[0] == ("select", 6 * texts, "texts")
    assert heard[1] == f"The start and 5 interpolations are compared on {texts} short and long texts."
    assert sum(heard[2:]) == 6 * texts
    assert seen.scores.pool == 60


def test_the_committee_is_bm25_and_the_start(run) -> None:
    """Topics are what the start finds with whole documents: no candidate says what is relevant."""
    start, found = run["better"], candidates(run["better"], ruined(run["better"]))
    first, other = (guard.guarded(run["prepared"], (START, start), some, 0, Silent()) for some in (found, found[:1]))
    for kind in (TOPICAL, LEXICAL):
        np.testing.assert_array_equal(first.scores.fused[START][kind], other.scores.fused[START][kind])
    assert not np.array_equal(first.scores.bm25[TOPICAL], first.scores.bm25[LEXICAL])


def test_only_a_run_of_one_encoder_from_a_published_retriever_is_guarded(run, tmp_path) -> None:
    base, objective = run["request"].base, run["run"].plan.objective
    assert retrieval_folder(base) == Path(base)
    assert guardable(base, objective)
    assert not guardable("new:layers=1,hidden=32", objective)
    assert not guardable("static", objective)
    own = tmp_path / "own"
    with files.create(own, "model", meta={}) as made:
        save_model(made, run["start"], run["prepared"].store.tokenizer)
    assert not guardable(str(own), objective), "one of our own is judged as before"
    apart = deepcopy(objective)
    apart.query_encoder = run["start"]
    assert not guardable(base, apart)
    apart = deepcopy(objective)
    apart.encoder.untie(run["start"])
    assert not guardable(base, apart)


def test_train_goes_through_the_guard(run, tmp_path) -> None:
    asked = run["request"]
    request = TrainRequest(
        sources=asked.sources, output=tmp_path / "out", base=asked.base, method=asked.method, steps=2,
        tracker="none", settings=SMALL,
    )  # fmt: skip
    report = train(request)
    assert report.probe is not None
    assert set(report.probe["above_start"]) == {"quarter", "half", "trained", "lower", "upper"}
    assert report.probe["saved"] == report.saved
