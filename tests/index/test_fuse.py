from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.fuse import (
    FOREIGN_WEIGHT,
    OWN_WEIGHT,
    Fusion,
    choose,
    fuse,
    gain_of_first,
    pseudo_scores,
    standardise,
)
from pretrieve.index.hits import sentence_spans
from pretrieve.index.lexical import Lexical
from pretrieve.index.pseudo import PseudoQueries, full_text, pseudo_queries
from searching import documents

SIZE, QUERIES = 200, 150


@dataclass
class Noisy:
    """A ranker that sees the right document through noise: the less noise, the better."""

    noise: float
    seed: int

    def _rows(self, queries):
        numbers = [int(query) for query in queries]
        table = np.random.default_rng(self.seed).normal(size=(QUERIES, SIZE)).astype(np.float32) * self.noise
        table[np.arange(QUERIES), np.arange(QUERIES)] += 3
        return table[numbers], numbers

    def scores(self, queries):
        return self._rows(queries)[0]

    def score_pairs(self, queries, texts):
        rows, numbers = self._rows(queries)
        return rows[np.arange(len(numbers)), numbers]


SETS = [
    PseudoQueries(
        kind="title", queries=list(map(str, range(QUERIES))), documents=np.arange(QUERIES), remainders=[""] * QUERIES
    )
]


CHOOSE = partial(choose, Noisy(1.0, 1), Noisy(1.5, 2), SETS, own=False)


def fused_gain(words, dense, weight):
    asked = SETS[0].queries
    return gain_of_first(fuse(words.scores(asked), dense.scores(asked), weight), np.arange(QUERIES)).mean()


@pytest.mark.parametrize(("words", "dense"), [(0.8, 500.0), (500.0, 0.8), (1.2, 1.2), (1.0, 2.5), (2.5, 1.0)])
def test_the_chosen_weight_never_hurts_the_better_side(words, dense):
    left, right = Noisy(words, 1), Noisy(dense, 2)
    chosen = choose(left, right, SETS, own=False)
    fresh_left, fresh_right = Noisy(words, 3), Noisy(dense, 4)  # other draws: not those that it was chosen on
    alone = max(gain_of_first(ranker.scores(SETS[0].queries), np.arange(QUERIES)).mean() for ranker in (left, right))
    assert fused_gain(left, right, chosen.dense) >= alone - 0.02
    alone = max(
        gain_of_first(ranker.scores(SETS[0].queries), np.arange(QUERIES)).mean() for ranker in (fresh_left, fresh_right)
    )
    assert fused_gain(fresh_left, fresh_right, chosen.dense) >= alone - 0.04
    assert chosen.queries == QUERIES
    assert chosen.reason


def test_what_cannot_be_told_apart_stays_at_the_default():
    same = Noisy(1.0, 1)
    assert choose(same, same, SETS, own=False).dense == FOREIGN_WEIGHT
    assert choose(Noisy(500.0, 1), Noisy(400.0, 2), SETS, own=True).dense == OWN_WEIGHT  # nothing finds anything
    assert choose(same, same, [], own=True) == Fusion(dense=OWN_WEIGHT)


def test_an_own_model_is_trusted_half_and_no_further_than_its_bound():
    assert choose(Noisy(1.2, 1), Noisy(1.2, 2), SETS, own=True).dense <= OWN_WEIGHT
    assert choose(Noisy(0.8, 1), Noisy(500.0, 2), SETS, own=True).dense < 0.1
    assert choose(Noisy(500.0, 1), Noisy(0.8, 2), SETS, own=True).dense >= 2  # words find nothing: vectors lead


def test_blocks_do_not_matter():
    assert CHOOSE(block=7) == CHOOSE(block=150)


def test_standardise_has_mean_zero_and_deviation_one_and_survives_equal_scores():
    rng = np.random.default_rng(0)
    scores = np.vstack([rng.normal(5, 3, (3, 50)), np.full((1, 50), 7.0)]).astype(np.float32)
    found = standardise(scores)
    np.testing.assert_allclose(found[:3].mean(1), 0, atol=1e-6)
    np.testing.assert_allclose(found[:3].std(1), 1, atol=1e-6)
    assert not found[3].any()


def test_gain_is_ndcg_and_a_tie_is_lost():
    scores = np.array([[3.0, 2, 1], [1, 2, 3], [2, 2, 1]])
    np.testing.assert_allclose(gain_of_first(scores, np.array([0, 0, 0])), [1, 0.5, 1 / np.log2(3)])


def test_pseudo_queries_are_taken_out_of_their_documents():
    made = documents(80)
    sets = {queries.kind: queries for queries in pseudo_queries(made, 30, 0, sentence_spans)}
    assert set(sets) == {"title", "sentence"}
    for query, index, rest in zip(
        sets["title"].queries, sets["title"].documents, sets["title"].remainders, strict=True
    ):
        assert (query, rest) == (made[index].title, made[index].text)
    found = sets["sentence"]
    for query, index, rest in zip(found.queries, found.documents, found.remainders, strict=True):
        assert query in made[index].text
        assert query not in rest
        assert sorted((query + " " + rest).split()) == sorted(full_text(made[index]).split())


def test_a_document_is_scored_without_its_query():
    made = documents(60)
    lexical = Lexical.build(Analyzer(Analysis()), [full_text(document) for document in made])
    for found in pseudo_queries(made, 25, 0, sentence_spans):
        part = slice(3, 20)
        scores, whole = pseudo_scores(lexical, found, part), lexical.scores(found.queries[part])
        own = np.zeros(scores.shape, bool)
        own[np.arange(len(scores)), found.documents[part]] = True
        np.testing.assert_array_equal(scores[~own], whole[~own])
        np.testing.assert_array_equal(scores[own], lexical.score_pairs(found.queries[part], found.remainders[part]))
        assert (scores[own] < whole[own]).all()


def test_documents_of_one_sentence_give_spans_and_a_seed_decides():
    made = documents(60, titles=False, sentences=1)
    (first,) = pseudo_queries(made, 30, 0, sentence_spans)
    assert first.kind == "sentence"
    assert all(0 < len(query.split()) <= 5 for query in first.queries)
    (again,), (other,) = (pseudo_queries(made, 30, seed, sentence_spans) for seed in (0, 1))
    assert first.queries == again.queries != other.queries
