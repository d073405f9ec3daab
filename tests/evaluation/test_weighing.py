"""The weight of fusion is chosen on labelled queries, and judged on others."""

from __future__ import annotations

import numpy as np
import pytest

import labelling
from pretrieve.core.types import Document
from pretrieve.evaluation.benchmark import evaluate_rankings, parse_metrics, rank
from pretrieve.evaluation.weighing import choose_weight, cross_fitted, weigh
from pretrieve.index.fuse import WEIGHTS
from pretrieve.index.index import Index, IndexOptions
from pretrieve.models.text_encoder import open_encoder
from pretrieve.text.beir import Collection

METRIC = "nDCG@10"


@pytest.fixture(scope="module")
def collection() -> Collection:
    """Half of a query's words are the document's own."""
    documents, _ = labelling.toy(80)
    queries = {f"q{n}": " ".join([d["text"].split()[0], labelling.word(n % 40 + 40)]) for n, d in enumerate(documents)}
    return Collection(
        name="toy", split="test", queries=queries, qrels={f"q{n}": {f"d{n}": 1} for n in range(80)},
        documents=[Document(id=d["_id"], title=d["title"], text=d["text"]) for d in documents],
    )  # fmt: skip


def test_values_equal_search_at_the_weight_that_others_choose(collection, tmp_path) -> None:
    encoder = open_encoder(str(labelling.static_model(tmp_path / "model")))
    measures = parse_metrics((METRIC,))
    table = []
    for weight in WEIGHTS:
        index = Index.of(collection.documents, encoder, IndexOptions(dense=weight))
        table.append(
            evaluate_rankings(rank(index, collection, 10, "hybrid", drop_same_id=False), collection, measures)[METRIC]
        )
    values = np.array(table)
    found, weight = weigh(index, collection, METRIC, measures, 10)
    assert weight == WEIGHTS[choose_weight(values)]
    for query in range(80):
        others = [other for other in range(80) if other % 5 != query % 5]
        assert found[query] == values[choose_weight(values[:, others]), query]


def test_the_better_ranker_gets_more_weight() -> None:
    rng = np.random.default_rng(0)
    rising = np.linspace(0.1, 0.9, len(WEIGHTS))[:, None] + rng.normal(0, 0.01, (len(WEIGHTS), 50))
    assert choose_weight(rising) == len(WEIGHTS) - 1
    assert choose_weight(-rising) == 0
    assert WEIGHTS[choose_weight(np.ones((len(WEIGHTS), 50)))] == 1.0
    noise = rng.normal(0, 1, (len(WEIGHTS), 50))
    assert 0.25 <= WEIGHTS[choose_weight(noise)] <= 4.0


def test_a_query_does_not_choose_its_own_weight() -> None:
    """A fold that is answered at one weight alone: the others do not choose that, so it is lost."""
    values = np.zeros((len(WEIGHTS), 20))
    odd = np.arange(20) % 5 == 2
    values[0, odd] = 1.0
    values[3, ~odd] = 0.5
    assert cross_fitted(values).tolist() == np.where(odd, 0.0, 0.5).tolist()
    assert cross_fitted(np.ones((len(WEIGHTS), 1))).tolist() == [1.0]
