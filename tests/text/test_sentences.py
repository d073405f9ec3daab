"""Sentences: in several scripts, robust, and never losing a character between them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.text.sentences import _segment, sentence_starts, sentences

SAMPLES = [
    ("en", ["Dr. Smith paid $5.11.", "Did he?", "Yes!"], " "),
    ("de", ["Das ist z. B. ein Satz.", "Noch einer."], " "),
    ("ja", ["これは文です。", "次の文です！", "本当？"], ""),
    ("hi", ["यह एक वाक्य है।", "यह दूसरा है।"], " "),
    ("en", ["A heading", "A paragraph under it."], "\n\n"),
]


@pytest.mark.parametrize(("language", "expected", "glue"), SAMPLES)
def test_sentences(language: str, expected: list[str], glue: str) -> None:
    assert sentences(glue.join(expected), language) == expected


@pytest.mark.parametrize("language", ["", "en", "zz", "not a language"])
def test_unknown_languages_fall_back(language: str) -> None:
    assert sentences("One here. Two here.", language) == ["One here.", "Two here."]


@settings(deadline=None, max_examples=300)
@given(text=st.text(st.sampled_from('ab. \n!?。\t"(é😀A\r\u2029\xa0\u3000'), max_size=60))
def test_starts_are_increasing_and_nothing_is_lost(text: str) -> None:
    starts = sentence_starts(text)
    assert starts == sorted(set(starts))
    assert all(not text[start].isspace() for start in starts)
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@pytest.mark.parametrize("space", [s for s in map(chr, range(0x110000)) if s.isspace() and len(s.encode()) > 1])
def test_a_wide_white_space_is_as_good_as_a_narrow_one(space: str) -> None:
    """French sets one before ``!`` and ``?``; one of several bytes between a capital and a mark ended the run."""
    text = "Plan A ! Et la vitamine A . Non ? Si ! Fin."
    narrow = "\n" if space in "\x85\u2028\u2029" else " "
    expected = sentence_starts(text.replace(" ", narrow), "fr")
    assert sentence_starts(text.replace(" ", space), "fr") == expected
    assert len(expected) > 1


def test_a_text_that_cannot_be_cut_has_its_lines() -> None:
    panic = "One line.\nVitamine A\xa0.\n\n"
    assert _segment(panic, "fr") == ["One line.", "Vitamine A\xa0."]


def test_blank_texts_have_none() -> None:
    assert sentence_starts("") == sentence_starts(" \n\n\t") == []


@pytest.mark.parametrize(
    "text", ["word " * 200_000, "\n" * 200_000 + "x", "." * 200_000, "Dr. " * 50_000, '"(' * 100_000]
)
def test_huge_texts_take_no_time(text: str) -> None:
    start = time.process_time()
    assert sentence_starts(text)
    assert time.process_time() - start < 3
