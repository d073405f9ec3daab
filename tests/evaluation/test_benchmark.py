from __future__ import annotations

import json

import bm25s
import numpy as np
import pytest
import pytrec_eval

from pretrieve.core.errors import UsageError
from pretrieve.evaluation.benchmark import evaluate, evaluate_rankings, parse_metrics, rank
from pretrieve.evaluation.report import result_tables
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.lexical import SHORT
from pretrieve.index.pseudo import full_text
from pretrieve.models.bag import Bag
from pretrieve.text.beir import Collection, load_collection
from searching import beir, documents, queries, static_model

ENGLISH = IndexOptions(languages=("en",))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return load_collection(beir(tmp_path_factory.mktemp("beir") / "tiny"))


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return Bag.load(static_model(tmp_path_factory.mktemp("model") / "static", documents(60)))


def ndcg(grades, ranking, k=10):
    """nDCG with linear gains, written out."""
    gains = [grades.get(hit, 0) for hit in ranking[:k]]
    best = sorted((grade for grade in grades.values() if grade > 0), reverse=True)[:k]
    dcg, ideal = (sum(gain / np.log2(place + 2) for place, gain in enumerate(side)) for side in (gains, best))
    return dcg / ideal if ideal else 0.0


def test_metrics_by_hand_with_grades_and_missing_queries():
    rng = np.random.default_rng(0)
    ids = [f"d{number}" for number in range(30)]
    qrels = {f"q{n}": {ids[i]: int(rng.integers(0, 4)) for i in rng.choice(30, 8, replace=False)} for n in range(40)}
    rankings = [(query, list(rng.permutation(ids)[: rng.integers(0, 25)])) for query in qrels][:-3]
    collection = Collection(name="x", split="y", documents=[], queries=dict.fromkeys(qrels, ""), qrels=qrels)
    found = evaluate_rankings(iter(rankings), collection, parse_metrics(["nDCG@10", "R@5", "RR@10", "AP", "P@3"]))
    hits = dict(rankings)
    for place, (query, grades) in enumerate(qrels.items()):
        ranking = hits.get(query, [])
        relevant = [grades.get(hit, 0) > 0 for hit in ranking]
        total = sum(grade > 0 for grade in grades.values())
        first = next((1 / (n + 1) for n, good in enumerate(relevant[:10]) if good), 0.0)
        precisions = [sum(relevant[: n + 1]) / (n + 1) for n, good in enumerate(relevant) if good]
        assert found["nDCG@10"][place] == pytest.approx(ndcg(grades, ranking), abs=1e-9)
        assert found["R@5"][place] == pytest.approx(sum(relevant[:5]) / total, abs=1e-9)
        assert found["RR@10"][place] == pytest.approx(first, abs=1e-9)
        assert found["AP"][place] == pytest.approx(sum(precisions) / total, abs=1e-9)
        assert found["P@3"][place] == pytest.approx(sum(relevant[:3]) / 3, abs=1e-9)


def trec(collection, scores):
    """Mean nDCG@10 by pytrec_eval; ``scores`` (Q, R), documents of score 0 are no hits."""
    ids = [document.id for document in collection.documents]
    run = {}
    for query, row in zip(collection.queries, scores, strict=True):
        order = sorted(np.flatnonzero(row), key=lambda n: (-row[n], ids[n]))  # trec_eval would break ties the other way
        run[query] = {ids[n]: float(-place) for place, n in enumerate(order)}
    judged = {query: dict(grades) for query, grades in collection.qrels.items()}
    found = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10"}).evaluate(run)
    return float(np.mean([found[query]["ndcg_cut_10"] if query in found else 0.0 for query in judged]))


def test_the_lexical_row_is_bm25s_and_trec_eval_by_hand(tiny):
    analyzer = Analyzer(Analysis(languages=("en",)))
    reference = bm25s.BM25(method="lucene", k1=SHORT.k1, b=SHORT.b, backend="numpy")
    reference.index([analyzer.terms(full_text(document)) for document in tiny.documents], show_progress=False)
    asked = [[t for t in analyzer.terms(text) if t in reference.vocab_dict] for text in tiny.queries.values()]
    result = evaluate(tiny, {}, options=ENGLISH)
    assert [(row.system, row.mode) for row in result.rows] == [("BM25", "lexical")]
    expected = trec(tiny, [reference.get_scores(terms) for terms in asked])
    assert result.rows[0].mean("nDCG@10") == pytest.approx(expected, abs=1e-6)


def test_the_dense_row_is_numpy_and_trec_eval_by_hand(tiny, bag):
    documents_, asked = (
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        for vectors in (
            bag.encode([full_text(document) for document in tiny.documents]),
            bag.encode(list(tiny.queries.values())),
        )
    )
    row = evaluate(tiny, {"static": bag}, modes=["dense"], options=ENGLISH).rows[1]
    assert row.mean("nDCG@10") == pytest.approx(trec(tiny, asked @ documents_.T), abs=1e-6)


def test_json_is_as_agreed(tiny, bag):
    result = evaluate(tiny, {"static": bag}, metrics=["nDCG@10", "R@100"], options=ENGLISH)
    found = json.loads(json.dumps(result.to_json()))
    assert (found["collection"], found["split"], found["queries"]) == ("tiny", "test", len(tiny.queries))
    assert [(row["system"], row["mode"]) for row in found["rows"]] == [
        ("BM25", "lexical"), ("static", "dense"), ("static", "hybrid")
    ]  # fmt: skip
    for row in found["rows"]:
        assert set(row["metrics"]) == set(row["ci95"]) == {"nDCG@10", "R@100"}
        for metric, (low, high) in row["ci95"].items():
            assert low <= row["metrics"][metric] <= high
    assert [(t["a"], t["b"], t["metric"]) for t in found["tests"]] == [
        (f"static ({mode})", "BM25 (lexical)", metric)
        for metric in ("nDCG@10", "R@100")
        for mode in ("dense", "hybrid")
    ]
    for test in found["tests"]:
        assert 0 < test["p"] <= test["p_holm"] <= 1
        means = {f"{r['system']} ({r['mode']})": r["metrics"][test["metric"]] for r in found["rows"]}
        assert test["difference"] == pytest.approx(means[test["a"]] - means[test["b"]])
    assert found["notes"]["static"]["fusion"]["dense"] > 0
    assert "| BM25 | lexical |" in result.markdown()
    assert [table.row_count for table in result_tables(result)] == [3, 2]


def test_models_are_compared_in_the_same_mode(tiny, bag, tmp_path):
    other = Bag.load(static_model(tmp_path / "other", documents(60), seed=5))
    tests = evaluate(tiny, {"a": bag, "b": other}, modes=["dense"], metrics=["nDCG@10"], options=ENGLISH).tests
    assert [(t.a, t.b) for t in tests] == [
        ("a (dense)", "BM25 (lexical)"), ("b (dense)", "BM25 (lexical)"), ("b (dense)", "a (dense)")
    ]  # fmt: skip


def test_a_hit_of_the_querys_own_id_can_be_dropped(tiny):
    made = tiny.documents
    own = Collection(
        name="own",
        split="test",
        documents=made,
        queries={made[0].id: made[0].text, made[5].id: made[5].text},
        qrels={made[0].id: {made[12].id: 1}, made[5].id: {made[17].id: 1}},
    )
    index = Index.of(made, None, ENGLISH)
    kept = dict(rank(index, own, 10, "lexical", drop_same_id=False))
    dropped = dict(rank(index, own, 10, "lexical", drop_same_id=True))
    for query in own.queries:
        assert kept[query][0] == query
        assert dropped[query] == dict(rank(index, own, 11, "lexical", drop_same_id=False))[query][1:]
        assert len(dropped[query]) == 10
    assert evaluate(own, {}, drop_same_id=True, options=ENGLISH).to_json()["drop_same_id"] is True


def test_ties_go_by_id():
    from pretrieve.core.types import Document

    made = [Document(id=name, text="same words here") for name in ("b", "c", "a")]
    collection = Collection(name="ties", split="test", documents=made, queries={"q": "words"}, qrels={"q": {"c": 1}})
    assert list(rank(Index.of(made), collection, 2, "lexical", drop_same_id=False)) == [("q", ["a", "b"])]
    result = evaluate(collection, {}, metrics=["RR@10"], options=ENGLISH)
    assert result.rows[0].mean("RR@10") == pytest.approx(1 / 3)


def test_unknown_metrics_are_named_with_a_suggestion():
    with pytest.raises(UsageError, match=r"unknown metric 'nDGC@10'\. Did you mean 'nDCG@10'"):
        parse_metrics(["nDGC@10"])
    assert list(parse_metrics(["nDCG@5", "AP(rel=2)@10"])) == ["nDCG@5", "AP(rel=2)@10"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["P"], "metric 'P' cannot be computed here"),
        (["nDCG@0"], "its cut-off is at least 1"),
        (["RR@10", "MRR@10"], "'MRR@10' is another name of a metric that is already given"),
        (["AP", "MAP"], "another name"),
    ],
)
def test_metrics_that_would_fail_late_or_count_nothing(names, message):
    with pytest.raises(UsageError, match=message):
        parse_metrics(names)


def test_the_evaluator_ranks_as_deep_as_its_metric_looks(tmp_path):
    """Beyond a hundred documents too, as the plain evaluation does."""
    from pretrieve.pipeline.compare.scores import CollectionEvaluator
    from pretrieve.text.beir import load_collection

    (tmp_path / "qrels").mkdir()
    rows = [{"_id": f"{n:03d}", "text": "the same words " + "and more " * (n // 10)} for n in range(300)]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "q", "text": "same words"}) + "\n")
    (tmp_path / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t200\t1\n")
    for metric, value in (("R@1000", 1.0), ("R@100", 0.0)):
        found = CollectionEvaluator(tmp_path, "test", metric).evaluate(None, {"lexical": None})
        assert found["lexical"].tolist() == [value]
    plain = evaluate(load_collection(tmp_path, "test"), {}, metrics=["R@1000"])
    assert plain.rows[0].mean("R@1000") == 1.0


def test_models_of_one_folder_are_told_apart_in_a_narrow_table(tmp_path, monkeypatch):
    from pretrieve.evaluation.report import shared_folder

    for name in ("runs/none-0", "runs/mlm-0", "other"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert shared_folder(["BM25", "runs/none-0", "runs/mlm-0", "runs/mlm-0"]) == "runs/"
    assert shared_folder(["runs/none-0", "other"]) == ""
    assert shared_folder(["runs/none-0", "BM25", "runs/absent"]) == ""
    assert shared_folder([f"{tmp_path}/runs/none-0", f"{tmp_path}/other"]) == f"{tmp_path}/"


def test_queries_of_the_helper_are_answerable():
    texts, qrels = queries(documents(60), 5)
    assert set(texts) == set(qrels)
