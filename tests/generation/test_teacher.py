"""The cross-encoder: its own logits, whatever activation it was saved with, and refusals of what is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import searching
import writers
from pretrieve.core.errors import DataError, UsageError
from pretrieve.generation.teacher import Teacher

PAIRS = [("lokaka tenkaka", "mikaka lokaka ruskaka"), ("velkaka", "mikaka"), ("mikaka mikaka", "velkaka " * 300)]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("teachers")
    documents = writers.collection(folder / "documents.jsonl")
    for name, labels in (("one", 1), ("three", 3), ("language", 0)):
        writers.encoder(folder / name, documents, labels=labels)
    writers.generator(folder / "causal", documents, "llama")
    searching.static_model(folder / "static", documents)
    return folder


def test_what_was_saved_as_a_cross_encoder_scores_the_same(made, tmp_path) -> None:
    from sentence_transformers import CrossEncoder

    CrossEncoder(str(made / "one")).save_pretrained(str(tmp_path / "saved"))
    found = [Teacher(str(folder)).scores(PAIRS) for folder in (made / "one", tmp_path / "saved")]
    np.testing.assert_array_equal(*found)


def test_scores_are_the_stock_models_logits(made) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(made / "one").eval()
    tokenizer = AutoTokenizer.from_pretrained(made / "one")
    expected = []
    for query, document in PAIRS:
        inputs = tokenizer(query, document, return_tensors="pt", truncation=True, max_length=96)
        with torch.no_grad():
            expected.append(float(model(**inputs).logits[0, 0]))
    found = Teacher(str(made / "one"), batch_size=2).scores(PAIRS)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert min(expected) < 0 or max(expected) > 1, "a sigmoid would show"
    assert Teacher(str(made / "one")).scores([]).shape == (0,)


def test_what_is_no_cross_encoder_is_refused(made, tmp_path) -> None:
    refusals = {
        "three": "3 labels",
        "language": "BertForMaskedLM, which scores no pairs",
        "causal": "LlamaForCausalLM, which scores no pairs",
        "static": "a SentenceTransformer, which scores no pairs",
    }
    for name, words in refusals.items():
        with pytest.raises(UsageError, match=words):
            Teacher(str(made / name))
    with pytest.raises(UsageError, match="no such folder"):
        Teacher(str(tmp_path / "nothing"))
    (tmp_path / "config.json").write_text(json.dumps({"hello": 1}))
    with pytest.raises(UsageError, match="cross-encoder could be opened"):
        Teacher(str(tmp_path))


def test_a_score_that_is_not_finite_is_an_error(made) -> None:
    teacher = Teacher(str(made / "one"))
    with torch.no_grad():
        teacher._model.model.classifier.bias.fill_(float("nan"))
    with pytest.raises(DataError, match="no finite score for the query 'lokaka tenkaka'"):
        teacher.scores(PAIRS)
