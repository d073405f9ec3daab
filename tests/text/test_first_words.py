"""The opening of a text gives a model the same first tokens as the whole, whatever the tokenizer."""

from __future__ import annotations

import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, trainers

from pretrieve.text.encoding import first_words
from pretrieve.text.tokenizer import train

TEXTS = [f"The quick brown foxes number {i} jumped over lazy dogs, unbelievably often - é ß №." for i in range(60)]
JAPANESE = ["東京は日本の首都です。 人口が多い都市であり、観光客も多い。", "京都は古い 都市です。寺が多い。"] * 30


def byte_level() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()  # without it, letters that were not seen would vanish
    made.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    return made


def unigram() -> tokenizers.Tokenizer:
    made = tokenizers.Tokenizer(models.Unigram())
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(TEXTS, trainers.UnigramTrainer(vocab_size=300, unk_token="?", special_tokens=["?"],
                                                            show_progress=False))  # fmt: skip
    return made


ALL = {
    "WordPiece": train(TEXTS, vocabulary_size=200).backend,
    "without spaces": train(JAPANESE, vocabulary_size=80).backend,
    "byte-level": byte_level(),
    "Unigram": unigram(),
}
SPACES = [" ", "  ", "\n", "\t ", "\u3000", "\xa0", "\u0301", "\u200b", "-", "...", "_", "\ufeff"]
CONTROLS = ["\x01", "\x0b", "\x1f", "\x85"]  # white space to Python (but the first), nothing to BERT
WORDS = ["the", "quick", "brown", "foxes", "number", "17", "unbelievably", "東京は", "都市です。", "é", "ﬁ", "½", "Ａ"]
PARTS = st.one_of(st.sampled_from(SPACES + CONTROLS), st.sampled_from(WORDS), st.text(max_size=6))


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=1000, deadline=None)
@given(parts=st.lists(PARTS, max_size=120), count=st.integers(1, 12))
@example(parts=[" ", "0000\x1f\u0234"], count=1)  # white space to Python, nothing to BERT
@example(parts=["number\x85one\x0btwo\x1cthree foxes", " quick"], count=2)
def test_the_first_tokens_are_those_of_the_whole(name, parts, count) -> None:
    text = "".join(parts)
    opening = first_words(text, count)
    assert text.startswith(opening)
    ids, whole = (ALL[name].encode(piece, add_special_tokens=False).ids[:count] for piece in (opening, text))
    assert ids == whole


def test_what_is_cut_and_what_is_not() -> None:
    text = "word " * 1000
    assert len(first_words(text, 64)) < 500
    assert first_words(text, 2000) == text
    marks = "\u0301 " * 1000  # nothing of it becomes a token of a vocabulary that folds accents
    assert first_words(marks + "end", 64) == marks + "end"
    assert first_words("東京は日本の首都です" * 100, 8) == "東京は日本の首都です" * 100
