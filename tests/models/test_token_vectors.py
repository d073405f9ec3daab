"""Token vectors from a teacher: what it reads for each entry, words of one's own, and the start of a student."""

from __future__ import annotations

import numpy as np
import pytest

import stock
from pretrieve.models.token_vectors import frequent_words, start_vectors, takes_words, token_texts, with_words
from pretrieve.text import tokenizer as tokenizers
from pretrieve.text.tokenizer import of_bytes


@pytest.fixture(scope="module")
def words() -> tokenizers.Tokenizer:
    return tokenizers.train(stock.texts(), vocabulary_size=150)


def test_each_entry_is_read_as_its_text(words) -> None:
    texts = token_texts(words)
    assert len(texts) == words.specials.vocabulary
    for index, text in enumerate(texts):
        token = words.backend.id_to_token(index)
        if token.startswith("[") and token.endswith("]") and len(token) > 1:
            assert text == "", token
        else:
            assert text == (token[2:] if token.startswith("##") and len(token) > 2 else token)


def test_byte_level_entries_lose_their_mark(tmp_path) -> None:
    stock.checkpoint("roberta", tmp_path / "roberta")
    found = tokenizers.load(tmp_path / "roberta")
    texts = token_texts(found)
    marked = [index for index in range(len(texts)) if found.backend.id_to_token(index).startswith("Ġ")]
    assert marked
    for index in marked:
        assert texts[index] == found.backend.id_to_token(index)[1:]
    assert all("\ufffd" not in text for text in texts)


def test_frequent_words_are_found_as_one_entry(words) -> None:
    texts = stock.texts()
    found = frequent_words(texts, words, 20)
    assert len(found) == 20
    counts = [sum(text.replace(".", " ").split().count(word) for text in texts) for word in found]
    assert counts == sorted(counts, reverse=True)
    assert all(len(words.encode([word]).tokens) > 1 for word in found)
    larger = with_words(words, found)
    assert larger.specials.vocabulary == words.specials.vocabulary + 20
    assert larger.fingerprint != words.fingerprint
    assert words.backend.token_to_id(found[0]) is None, "the teacher's own is left as it is"
    for place, word in enumerate(found):
        np.testing.assert_array_equal(larger.encode([word]).tokens, [words.specials.vocabulary + place])
    assert token_texts(larger)[-20:] == found
    assert with_words(words, []) is words


def test_only_word_pieces_take_words(tmp_path) -> None:
    stock.checkpoint("roberta", tmp_path / "roberta")
    found = tokenizers.load(tmp_path / "roberta")
    assert not takes_words(found)
    assert frequent_words(stock.texts(), found, 5) == []


def test_unused_entries_are_not_read(words) -> None:
    text = words.to_bytes().decode().replace('"aword0"', '"[unused7]"')
    changed = of_bytes(text.encode())
    if (index := changed.backend.token_to_id("[unused7]")) is not None:
        assert token_texts(changed)[index] == ""


@pytest.mark.parametrize("dimensions", [None, 3, 8])
def test_the_start_is_centred_reduced_and_weighted(dimensions) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 8)).astype(np.float32) * np.arange(1, 9) + 5
    vectors[7] = 0
    weights = rng.random(40).astype(np.float32) + 0.5
    found = start_vectors(vectors, weights, dimensions)
    assert found.shape == (40, dimensions or 8)
    assert not found[7].any(), "what stands for no text stays at zero"
    there = np.arange(40) != 7
    unweighted = found[there] / weights[there, None]
    np.testing.assert_allclose(unweighted.mean(axis=0), 0, atol=1e-5)
    centred = vectors[there] - vectors[there].mean(axis=0)
    _, values, axes = np.linalg.svd(centred.astype(np.float64))
    if dimensions == 3:
        np.testing.assert_allclose(
            unweighted @ unweighted.T, (centred @ axes[:3].T) @ (centred @ axes[:3].T).T, atol=1e-3
        )
        assert np.allclose(np.linalg.norm(unweighted, axis=0), values[:3], rtol=1e-4)
    else:
        np.testing.assert_allclose(unweighted, centred, atol=1e-4)
