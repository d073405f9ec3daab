"""Choosing a system by what it adds to BM25; nothing here depends on the weights and thresholds that are tuned."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pretrieve.evaluation.choice import PASSAGES, WEIGHT, choose
from pretrieve.evaluation.fused_probe import LEXICAL, SENTENCE, TITLED, TOPICAL, WEIGHTS, FusedScores
from pretrieve.evaluation.report import choice_markdown
from pretrieve.evaluation.significance import paired_permutation

SIZE = 200
BASE = 0.4


def scores(gains: dict[str, float | dict[str, float]], kinds=(SENTENCE, TOPICAL), noise: float = 0.02) -> FusedScores:
    """Systems with these mean gains over BM25, in all kinds of queries or by kind; each has its own noise."""
    fused: dict[str, dict[str, np.ndarray]] = {}
    for number, (name, gain) in enumerate(gains.items()):
        fused[name] = {}
        for place, kind in enumerate(kinds):
            draws = np.random.default_rng([number, place]).normal(size=(1, SIZE))
            draws = noise * (draws - draws.mean()) / draws.std()
            mean = gain[kind] if isinstance(gain, dict) else gain
            fused[name][kind] = np.repeat(BASE + mean + draws, len(WEIGHTS), axis=0)
    return FusedScores(bm25={kind: np.full(SIZE, BASE) for kind in kinds}, fused=fused, pool=1234)


def test_the_system_that_adds_most_is_chosen() -> None:
    found = choose(scores({"start": 0.01, "a": 0.02, "b": 0.06, "c": 0.05}), "start", ["a", "b", "c"])
    assert found.system == "b"
    assert found.weight == WEIGHT
    assert sorted(found.ranking, key=found.ranking.__getitem__) == ["start", "a", "c", "b"]


def test_known_items_and_topics_both_count() -> None:
    gains = {
        "start": {SENTENCE: 0.0, TOPICAL: 0.0},
        "a": {SENTENCE: 0.03, TOPICAL: 0.01},
        "b": {SENTENCE: 0.02, TOPICAL: 0.05},
    }
    assert choose(scores(gains), "start", ["a", "b"]).system == "b"
    gains["a"][SENTENCE] = 0.09
    assert choose(scores(gains), "start", ["a", "b"]).system == "a"


def test_the_start_is_saved_only_where_it_is_above_by_more_than_chance() -> None:
    def system(start: float, noise: float) -> str:
        return choose(scores({"start": start, "a": 0.02, "b": 0.01}, noise=noise), "start", ["a", "b"], 0.123).system

    assert system(0.05, 0.02) == "start"
    assert system(0.021, 0.3) == "a", "above, but not by more than chance"
    assert system(-0.05, 0.02) == "a"
    found = choose(scores({"start": 0.05, "a": 0.02}), "start", ["a"], 0.123)
    assert found.weight == 0.123
    assert "untrained" in found.weight_reason
    assert "the untrained start" in found.sentence


def test_ties_go_to_the_first() -> None:
    equal = scores({"start": 0.0, "a": 0.01}, noise=0.0)
    both = FusedScores(bm25=equal.bm25, fused={**equal.fused, "b": equal.fused["a"]}, pool=1)
    assert choose(both, "start", ["a", "b"]).system == "a"
    assert choose(both, "start", ["b", "a"]).system == "b"
    every = FusedScores(bm25=equal.bm25, fused=dict.fromkeys(("start", "a", "b"), equal.fused["a"]), pool=1)
    assert choose(every, "start", ["b", "a"]).system == "b", "equal to the start is not below it"


def test_kinds_that_are_not_there_do_not_count() -> None:
    for kinds in ((SENTENCE,), (TOPICAL,), (LEXICAL,), ("title", LEXICAL)):
        found = choose(scores({"start": 0.0, "a": 0.01, "b": 0.03}, kinds), "start", ["a", "b"])
        assert found.system == "b", kinds
        assert found.sentence


def test_queries_with_their_title_stand_for_those_without() -> None:
    kinds = (SENTENCE, TITLED, TOPICAL)
    gains = {
        "start": dict.fromkeys(kinds, 0.0),
        "a": {SENTENCE: 0.09, TITLED: 0.01, TOPICAL: 0.02},
        "b": {SENTENCE: 0.01, TITLED: 0.09, TOPICAL: 0.02},
    }
    assert choose(scores(gains, kinds), "start", ["a", "b"]).system == "b"
    untitled = {name: {kind: of[kind] for kind in (SENTENCE, TOPICAL)} for name, of in gains.items()}
    assert choose(scores(untitled), "start", ["a", "b"]).system == "a"


def test_the_sentence_has_the_numbers() -> None:
    seen = scores({"start": 0.01, "a": {SENTENCE: 0.031, TOPICAL: -0.007}, "b": 0.0})
    found = choose(seen, "start", ["a", "b"])
    error = 0.02 / np.sqrt(SIZE)
    assert found.sentence == (
        f"fused search gains +0.031 ± {error:.3f} on 200 known-item queries and -0.007 ± {error:.3f} on 200 topical "
        "queries over BM25, and +0.021 ± 0.002 (p 0.0001) over the vectors of the untrained start, on held-out "
        "documents (nDCG@10); saved: variant a"
    )
    assert "default of trained" in found.weight_reason


def test_how_sure_it_is_that_training_helped_leaves_the_committees_topics_out() -> None:
    """The committee favours trained systems, which are its members."""
    kinds = (SENTENCE, TOPICAL, LEXICAL)
    gains = {"start": dict.fromkeys(kinds, 0.01), "a": {SENTENCE: 0.01, TOPICAL: 0.2, LEXICAL: 0.01}, "b": 0.03}
    found = choose(scores(gains, kinds), "start", ["a", "b"])
    assert found.system == "a", "topics count for the choice"
    assert found.above["a"].gain == pytest.approx(0, abs=1e-9)
    assert found.above["a"].p > 0.3
    assert found.above["b"].gain == pytest.approx(0.02)
    assert found.above["b"].p < 0.001
    assert found.to_json()["above_start"]["b"]["gain"] == pytest.approx(0.02)


def test_a_gain_over_the_start_is_that_at_the_same_weights() -> None:
    rng = np.random.default_rng(5)
    made = {name: {SENTENCE: rng.normal(size=(len(WEIGHTS), SIZE))} for name in ("start", "a")}
    found = choose(FusedScores(bm25={SENTENCE: np.zeros(SIZE)}, fused=made, pool=1), "start", ["a"], 0.25).above["a"]
    gain = (made["a"][SENTENCE] - made["start"][SENTENCE])[[WEIGHTS.index(0.5), WEIGHTS.index(1.0)]].mean(axis=0)
    assert found.gain == pytest.approx(gain.mean())
    assert found.error == pytest.approx(gain.std() / np.sqrt(SIZE))
    two_sided = paired_permutation(gain, np.zeros(SIZE))
    assert found.p == pytest.approx(two_sided / 2 if gain.mean() > 0 else 1 - two_sided / 2, abs=0.02)


def test_as_json_it_is_plain() -> None:
    found = choose(scores({"start": 0.01, "a": 0.031}), "start", ["a"])
    said = found.to_json()
    assert json.loads(json.dumps(said)) == said
    assert said["pool"] == 1234
    assert said["queries"] == {SENTENCE: SIZE, TOPICAL: SIZE}
    assert said["BM25"] == {SENTENCE: pytest.approx(BASE), TOPICAL: pytest.approx(BASE)}
    assert said["weights"] == list(WEIGHTS)
    assert list(said["gain"]) == ["start", "a"]
    assert said["gain"]["a"][TOPICAL] == [pytest.approx(0.031, abs=1e-6)] * len(WEIGHTS)
    assert (said["saved"], said["weight"]) == ("a", found.weight)
    assert set(said["score"]) == {"start", "a"}


def test_the_table_marks_what_is_saved() -> None:
    table = choice_markdown(choose(scores({"start": 0.01, "a": 0.031}), "start", ["a"])).splitlines()
    assert table == [
        "| system | sentence (200) | topical (200) |",
        "| --- | --- | --- |",
        "| BM25 | 0.400 | 0.400 |",
        "| start | +0.010, +0.010 | +0.010, +0.010 |",
        "| a (saved) | +0.031, +0.031 | +0.031, +0.031 |",
    ]
    assert PASSAGES >= 0


def test_topics_of_a_committee_of_one_do_not_count() -> None:
    """One trained member says what is relevant: it finds that itself, however bad it is."""
    seen = {"start": 0.01, "a": {SENTENCE: -0.05, TOPICAL: 0.5}}
    assert choose(scores(seen), "start", ["a"]).system == "start"
    assert choose(scores({**seen, "b": -0.05}), "start", ["a", "b"]).system == "a"
