"""The guard's choice among candidates: above the start by more than chance, or the start."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pretrieve.evaluation.fused_probe import LEXICAL, SENTENCE, TITLED, TOPICAL, WEIGHTS, FusedScores
from pretrieve.evaluation.guard import guard
from pretrieve.evaluation.report import choice_markdown

KINDS = (SENTENCE, TOPICAL, LEXICAL)
DESCRIBED = {"half": "half of the way", "trained": "the trained weights"}
SIZE = 200


def scores(gains: dict[str, dict[str, float] | float], noise: float = 0.1, kinds=KINDS) -> FusedScores:
    """The start, and candidates that gain this much over it, with each one's own noise."""
    rng = np.random.default_rng(0)
    start = {kind: np.repeat(rng.uniform(0.2, 0.6, (1, SIZE)), len(WEIGHTS), axis=0) for kind in kinds}
    fused = {"start": start}
    for number, (name, gain) in enumerate(gains.items()):
        fused[name] = {}
        for place, kind in enumerate(kinds):
            draws = np.random.default_rng([number, place]).normal(size=SIZE)
            own = gain[kind] if isinstance(gain, dict) else gain
            fused[name][kind] = start[kind] + own + noise * (draws - draws.mean()) / draws.std()
    return FusedScores(bm25={kind: np.full(SIZE, 0.3) for kind in kinds}, fused=fused, pool=400)


def test_a_candidate_has_to_be_above_the_start_by_more_than_chance() -> None:
    assert guard(scores({"half": 0.03, "trained": 0.01}), "start", DESCRIBED).system == "half"
    for gain in (-0.05, 0.0, 0.003):
        found = guard(scores({"half": gain, "trained": gain - 0.01}), "start", DESCRIBED)
        assert found.system == "start"
        assert found.sentence.endswith("saved: the start")
        assert f"half of the way, {gain:+.3f} ± 0.004 (p " in found.sentence


def test_the_surest_gain_is_chosen_not_the_largest() -> None:
    seen = scores({"half": 0.02})
    wild = scores({"other": 0.0, "trained": 0.025}, noise=0.3)
    both = FusedScores(bm25=seen.bm25, fused={**seen.fused, "trained": wild.fused["trained"]}, pool=1)
    assert guard(both, "start", DESCRIBED).system == "half"


def test_every_kind_counts_and_a_known_item_with_its_title_stands_for_one_without() -> None:
    gains = {"half": {SENTENCE: 0.03, TOPICAL: 0.0, LEXICAL: -0.03}, "trained": -0.2}
    assert guard(scores(gains), "start", DESCRIBED).system == "start"
    kinds = (SENTENCE, TITLED, TOPICAL)
    gains = {"half": {SENTENCE: 0.09, TITLED: -0.02, TOPICAL: 0.0}, "trained": -0.2}
    assert guard(scores(gains, kinds=kinds), "start", DESCRIBED).system == "start"
    gains["half"][TITLED] = 0.09
    assert guard(scores(gains, kinds=kinds), "start", DESCRIBED).system == "half"


def test_report_and_table_tell_the_gain_of_every_candidate() -> None:
    found = guard(scores({"half": 0.03, "trained": 0.01}), "start", DESCRIBED)
    said = found.to_json()
    assert json.loads(json.dumps(said)) == said
    assert list(said["above_start"]) == ["half", "trained"]
    assert said["above_start"]["half"]["interpolation"] == "half of the way"
    assert said["above_start"]["half"]["gain"] == pytest.approx(0.03)
    assert said["above_start"]["half"]["error"] == pytest.approx(0.1 / np.sqrt(3 * SIZE))
    assert (said["saved"], said["weight"], said["at"]) == ("half", 2.0, [1.0, 2.0])
    assert said["score"]["half"] - said["score"]["start"] == pytest.approx(0.03)
    p = said["above_start"]["half"]["p"]
    assert found.sentence == (
        f"half of the way, +0.030 ± 0.004 (p {p:.4f}) over the start beside BM25 on 600 queries of held-out "
        "documents (nDCG@10); saved: half"
    )
    seen = found.scores.fused["half"][SENTENCE]
    seen[WEIGHTS.index(0.5)] += 0.1
    seen[WEIGHTS.index(2.0)] -= 0.1
    low, high = (found.scores.gain("half", SENTENCE)[WEIGHTS.index(weight)] for weight in (1.0, 2.0))
    assert f"| half (saved) | {low:+.3f}, {high:+.3f} |" in choice_markdown(found)
