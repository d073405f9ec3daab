"""Token vectors of stop words: which ones are scaled, and that the model that is saved has them so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import orjson
import pytest

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.index.stop_words import stop_word_lists
from pretrieve.models.bag import Bag
from pretrieve.models.build import EncoderOptions, build_encoder
from pretrieve.models.static import StaticEncoder
from pretrieve.pipeline.pretrain.request import TrainRequest
from pretrieve.pipeline.pretrain.stop_words import languages, scale_stop_words, single_tokens
from pretrieve.pipeline.pretrain.train import train
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from tiny import encoder as tiny_encoder
from tiny import store

ENGLISH = (
    "What is the name of the river that they have seen in the north of the country?",
    "How to repair an engine of which the owner does not know when it was built.",
    "Where the gardens are, and why there was nobody who would have walked in them.",
)
GERMAN = (
    "Der Fluss ist für seine Steine bekannt, und viele Menschen kommen, um ihn zu sehen.",
    "Wenn der Motor nicht läuft, dann muss man ihn mit dem Werkzeug auseinander nehmen.",
    "Die Gärten, die von den Leuten besucht werden, sind nicht weit von dem Hafen.",
)


def documents_of(path: Path, texts: tuple[str, ...]) -> Documents:
    return Documents.write(path, (Document(id=str(n), text=f"{texts[n % 3]} Number {n}.") for n in range(60)))


@pytest.mark.parametrize(("texts", "code"), [(ENGLISH, "en"), (GERMAN, "de")])
def test_stop_words_of_one_token_are_scaled_and_nothing_else(tmp_path, texts, code) -> None:
    documents = documents_of(tmp_path / "documents", texts)
    assert languages(documents) == (code,)
    vocabulary = tokenizer.train([document.text for document in documents], vocabulary_size=200)
    words = sorted({word for entry in stop_word_lists("auto", (code,)).values() for word in entry.words})
    pieces = {word: vocabulary.encode([word]).tokens.tolist() for word in words}
    unknown = vocabulary.specials.unknown
    wanted = sorted({found[0] for found in pieces.values() if len(found) == 1 and found[0] != unknown})
    assert wanted
    assert any(len(found) > 1 for found in pieces.values()), "some stop words are several tokens"
    assert single_tokens(vocabulary, words).tolist() == wanted

    before = np.random.default_rng(0).standard_normal((vocabulary.specials.vocabulary, 6)).astype(np.float32)
    encoder = StaticEncoder(before, vocabulary.bare())
    assert scale_stop_words(encoder, vocabulary, documents, 0.3) == len(wanted)
    expected = before.copy()
    expected[wanted] *= np.float32(0.3)
    np.testing.assert_array_equal(encoder.embedding.weight.detach().numpy(), expected)
    assert scale_stop_words(encoder, vocabulary, documents, 1.0) == 0
    np.testing.assert_array_equal(encoder.embedding.weight.detach().numpy(), expected)
    scale_stop_words(encoder, vocabulary, documents, 0.0)
    assert not encoder.embedding.weight[wanted].any()


def test_an_unknown_word_is_no_single_token() -> None:
    vocabulary = tokenizer.train(["the cat sat"] * 5, vocabulary_size=60)
    assert vocabulary.encode(["☃"]).tokens.tolist() == [vocabulary.specials.unknown]
    assert single_tokens(vocabulary, ["☃"]).tolist() == []


def test_other_encoders_are_left_as_they_are(tmp_path) -> None:
    documents = documents_of(tmp_path / "documents", ENGLISH)
    vocabulary = tokenizer.train([document.text for document in documents], vocabulary_size=200)
    transformer = tiny_encoder("new", store())
    before = {name: value.clone() for name, value in transformer.state_dict().items()}
    assert scale_stop_words(transformer, vocabulary, documents, 0.3) == 0
    assert all(bool((before[name] == value).all()) for name, value in transformer.state_dict().items())


def test_the_saved_model_has_them_scaled_and_the_start_has_not(tmp_path) -> None:
    """Two runs that differ in the factor alone: their models differ by it in stop words, and in nothing else."""
    source = tmp_path / "documents.jsonl"
    lines = [
        {"id": str(n), "text": f"{' '.join(ENGLISH)} Number {n} of {n * 7} rivers and gardens."} for n in range(120)
    ]
    source.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    found = {}
    for factor in (1.0, 0.25):
        settings = {"batch_size": 16, "dimensions": 8, "vocabulary_size": 200, "stop_word_scale": factor}
        output = tmp_path / str(factor)
        train(
            TrainRequest(
                sources=(str(source),), output=output, steps=3, settings=settings, method="structure", select=False
            )
        )
        found[factor] = Bag.load(output).vectors, Bag.load(output / "start").vectors
    np.testing.assert_array_equal(found[1.0][1], found[0.25][1])
    ratio = np.linalg.norm(found[0.25][0], axis=1) / np.linalg.norm(found[1.0][0], axis=1)
    vocabulary = tokenizer.load(tmp_path / "1.0")
    words = sorted({word for entry in stop_word_lists("auto", ("en",)).values() for word in entry.words})
    scaled = np.isin(np.arange(len(ratio)), single_tokens(vocabulary, words))
    assert scaled.any()
    assert (ratio[scaled] == 0.25).all()
    assert (ratio[~scaled] == 1.0).all()


def test_a_factor_is_between_none_and_all() -> None:
    for wrong in (-0.1, 1.5):
        with pytest.raises(UsageError, match="at least 0 and at most 1"):
            EncoderOptions(stop_word_scale=wrong)
    documents = store()
    plain, scaled = (
        build_encoder("static", store=documents, options=EncoderOptions(dimensions=8, stop_word_scale=factor), seed=0)
        for factor in (1.0, 0.2)
    )
    assert isinstance(plain, StaticEncoder)
    assert isinstance(scaled, StaticEncoder)
    assert bool((plain.embedding.weight == scaled.embedding.weight).all()), "the start is not scaled"
