"""The metadata of model cards, read by the library of the hub."""

import re
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pretrieve.pipeline.run.card import front_matter

EVALUATION = {
    "queries": 1234,
    "documents": 5000,
    "rows": [
        {"system": "BM25", "mode": "lexical", "metrics": {"nDCG@10": 0.9}},
        {"system": "model", "mode": "dense", "metrics": {"nDCG@10": 0.5}},
        {"system": "model", "mode": "hybrid", "metrics": {"nDCG@10": 0.8}},
    ],
}


def card(text: str) -> ModelCard:
    return ModelCard(f"{text}# Title\n", ignore_metadata_errors=False)


def test_a_base_and_data_sets_of_the_hub_are_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sources = ("docs/", "hf:BeIR/scifact@corpus", "hf:BeIR/scifact@queries", "https://example.org/a.jsonl")
    data = card(front_matter("google-bert/bert-base-uncased", sources)).data
    assert data.base_model == "google-bert/bert-base-uncased"
    assert data.datasets == ["BeIR/scifact"]
    assert data.library_name == "sentence-transformers"
    assert data.pipeline_tag == "sentence-similarity"
    assert data.tags == ["sentence-transformers", "pretrieve", "retrieval"]


@pytest.mark.parametrize("base", ["static", "new:layers=1,hidden=16,heads=2", "my-model", "/a/b/my-model", "../m"])
def test_what_is_not_known_is_not_said(tmp_path: Path, monkeypatch, base: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-model").mkdir()
    data = card(front_matter(base, ("docs/",))).data.to_dict()
    assert data.keys() == {"library_name", "pipeline_tag", "tags"}


def test_results_are_those_of_the_model_alone() -> None:
    data = card(front_matter("static", evaluation=EVALUATION)).data
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_name, result.metric_value) == ("ndcg_at_10", "nDCG@10", 0.5)
    assert result.dataset_name == "1,234 held-out queries among 5,000 documents"
    assert result.task_type == "information-retrieval"


def test_a_model_that_no_stock_loader_reads_does_not_claim_one() -> None:
    data = card(front_matter("static", stock=False)).data
    assert data.library_name == "pretrieve"
    assert "sentence-transformers" not in data.tags


def test_every_card_begins_with_its_metadata() -> None:
    source = Path(__file__).parents[2] / "src" / "pretrieve" / "pipeline"
    for path in source.rglob("*.py"):
        assert not re.search(r"^pipeline_tag:", path.read_text(), re.MULTILINE), f"{path}: use run.card.front_matter"
