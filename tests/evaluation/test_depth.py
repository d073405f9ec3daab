"""The best place of an id counts, and a metric's value does not depend on the metrics beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core.errors import DataError
from pretrieve.core.types import Document
from pretrieve.evaluation.benchmark import depth_of, evaluate, evaluate_rankings, parse_metrics, rank
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.rankers import Queries
from pretrieve.index.ranking import best_groups, groups_of, id_ranks, top_k
from pretrieve.models.bag import Bag
from pretrieve.text.beir import Collection
from searching import documents, static_model

METRICS = ("nDCG@10", "nDCG", "R@100", "RR@10", "RR", "AP", "AP@5", "P@3", "Judged@7", "Bpref", "Rprec",
           "nDCG(judged_only=True)@3", "P(judged_only=True)@2", "Success@1", "R@1200", "SetP")  # fmt: skip
OPTIONS = IndexOptions(languages=("en",), dense=1.0)


def collection(passages: int) -> Collection:
    """1,300 short documents, many of the same words, so that many tie; of one id ``passages`` each."""
    rng = np.random.default_rng(passages)
    words = ["river", "engine", "garden", "violin", "harbour", "glacier"]
    made = [Document(id=f"d{n // passages:04}", text=" ".join(rng.choice(words, 3))) for n in range(1300)]
    ids = sorted({document.id for document in made})
    qrels = {f"q{n}": {str(name): int(rng.integers(-1, 3)) for name in rng.choice(ids, 60)} for n in range(8)}
    queries = {name: " ".join(rng.choice(words, 2)) for name in qrels}
    return Collection(name="ties", split="test", documents=made, queries=queries, qrels=qrels)


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    made = [*documents(20), *collection(1).documents]
    return Bag.load(static_model(tmp_path_factory.mktemp("model") / "static", made))


@pytest.mark.parametrize("passages", [1, 3])
@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_metrics_together_and_alone_are_equal_bit_for_bit(bag, passages, mode):
    data = collection(passages)
    index = Index.of(data.documents, bag, OPTIONS)

    def values(*names):
        measures = parse_metrics(names)
        ranked = rank(index, data, depth_of(measures), mode, drop_same_id=False)
        return {name: found.tolist() for name, found in evaluate_rankings(ranked, data, measures).items()}

    together = values(*METRICS)
    assert together == {name: values(name)[name] for name in METRICS}
    assert together == {**values(*METRICS[:5]), **values(*reversed(METRICS[5:]))}
    assert any(together["R@100"])


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
@pytest.mark.parametrize("drop", [False, True])
def test_the_best_passage_of_an_id_is_its_place(bag, mode, drop):
    """Against all documents ranked, from which repeated ids are struck out."""
    data = collection(4)
    data = replace(data, queries={data.documents[0].id: "river garden", **data.queries})
    index = Index.of(data.documents, bag, OPTIONS)
    ids = [document.id for document in data.documents]
    for depth in (1, 10, 300, 2000):
        found = dict(rank(index, data, depth, mode, drop_same_id=drop))
        everything = index.rank(list(data.queries.values()), len(ids), mode)
        for query, (numbers, _) in zip(data.queries, everything, strict=True):
            distinct = dict.fromkeys(ids[number] for number in numbers if not (drop and ids[number] == query))
            assert found[query] == list(distinct)[:depth]


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.booleans()), min_size=1, max_size=40),
    k=st.integers(1, 12),
)
def test_groups_by_brute_force(rows, k):
    ids = [f"id{name}" for _, name, _ in rows]
    scores, allowed = np.array([row[0] for row in rows], np.float32), np.array([row[2] for row in rows])
    groups = groups_of(ids)
    assert (groups is None) == (len(set(ids)) == len(ids))

    def ranked(queries, depth):
        found = top_k(scores, id_ranks(ids), depth, allowed)
        return [(found, scores[found])] * len(queries)

    ((found, values),) = best_groups(ranked, Queries(["x"]), k, np.arange(len(ids)) if groups is None else groups)
    assert values.tolist() == scores[found].tolist()
    best = {}
    for name, score, may in zip(ids, scores, allowed, strict=True):
        if may:
            best[name] = max(best.get(name, -1.0), score)
    assert [ids[number] for number in found] == sorted(best, key=lambda name: (-best[name], name))[:k]


def test_a_collection_in_memory_is_refused_too(bag):
    data = collection(3)
    with pytest.raises(DataError, match=r"document 2: duplicate id 'd0000'"):
        evaluate(data, {}, options=OPTIONS)
    result = evaluate(data, {}, options=OPTIONS, max_passage=True)
    assert (result.data["repeated_document_ids"], result.data["documents_of_repeated_ids"]) == (433, 1299)
    assert "MaxP" in "".join(result.warnings)


def test_a_metric_that_passes_over_documents_without_qrels_sees_deep(bag):
    """The first three judged hits stand far below the third place."""
    data = collection(1)
    index = Index.of(data.documents, bag, OPTIONS)
    name = "P(judged_only=True)@3"
    found = evaluate_rankings(rank(index, data, 1000, "dense", drop_same_id=False), data, parse_metrics([name]))[name]
    for value, (query, hits) in zip(found, rank(index, data, 1000, "dense", drop_same_id=False), strict=True):
        grades = [grade for hit in hits if (grade := data.qrels[query].get(hit, -1)) >= 0][:3]  # below 0: no qrels
        assert value == sum(grade > 0 for grade in grades) / 3
    assert depth_of(parse_metrics([name])) == 1000
    assert depth_of(parse_metrics(["RR@10", "R@100"])) == 100


def test_the_best_place_counts_in_a_ranking_with_repeated_ids():
    data = Collection(name="x", split="y", documents=[], queries={"q": ""}, qrels={"q": {"a": 1}})
    for hits in (["a", "b", "a", "c", "a"], ["a", "a", "a"], ["a"]):
        assert evaluate_rankings(iter([("q", hits)]), data, parse_metrics(["nDCG@3"]))["nDCG@3"].tolist() == [1.0]
    assert evaluate_rankings(iter([("q", ["b", "b", "a"])]), data, parse_metrics(["RR@2"]))["RR@2"].tolist() == [0.5]
