"""Snippets: short, around the query's words, found in bounded time however long the document is."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretrieve.core.types import Document
from pretrieve.index.index import Index
from pretrieve.index.pseudo import pseudo_queries
from pretrieve.index.snippets import LENGTH, sentence_spans
from pretrieve.models.bag import Bag
from searching import documents, static_model, word

AROUND = 4  # characters of the signs of what is left out


def hit_of(text: str, query: str):
    """The hit of one document among others, by words."""
    others = [Document(id=f"o{number}", text=f"Something else about {word(number)}.") for number in range(5)]
    return next(hit for hit in Index.of([Document(id="d", text=text), *others]).search(query) if hit.id == "d")


def test_a_sentence_that_fits_is_shown_whole():
    hit = hit_of("Keys are made. To rotate the keys, run it again. That is all.", "rotating keys")
    assert hit.sentence == "To rotate the keys, run it again."
    assert [hit.sentence[start:stop] for start, stop in hit.marks] == ["rotate", "keys"]


@pytest.mark.parametrize("separator", [" ", "\n"])
def test_a_long_sentence_is_cut_at_words_around_the_words_of_the_query(separator):
    words = [word(number) for number in range(400)]
    words[250] = "violin"
    words[255] = "castle"
    hit = hit_of(separator.join(words), "violin castle")
    assert len(hit.sentence) <= LENGTH + AROUND
    assert hit.sentence.startswith("… ")
    assert hit.sentence.endswith(" …")
    assert [hit.sentence[start:stop] for start, stop in hit.marks] == ["violin", "castle"]
    assert set(hit.sentence.strip("… ").split()) <= set(words)  # whole words


def test_the_densest_group_of_words_is_shown():
    filler = " ".join(word(number) for number in range(120))
    hit = hit_of(f"violin {filler} violin {filler} violin castle bridge {filler} violin", "violin castle bridge")
    assert "violin castle bridge" in hit.sentence


def test_a_sentence_far_behind_is_found():
    parts = [f"Nothing happens in part {word(number)} of it." for number in range(20_000)]
    parts[15_000] = "Here the locksmith rotates the keys at night."
    text = " ".join(parts)
    assert len(text) > 700_000
    assert hit_of(text, "when does the locksmith rotate keys").sentence == parts[15_000]


def test_text_without_spaces_is_cut_too():
    hit = hit_of("木" * 40_000 + "鍵を交換する" + "木" * 40_000, "鍵を交換")
    assert len(hit.sentence) <= LENGTH + AROUND
    assert "鍵を交換" in hit.sentence


@pytest.mark.parametrize("text", ["word " * 600_000, "x" * 3_000_000, "A word. " * 400_000], ids=["line", "x", "many"])
def test_megabytes_take_no_time(text, tmp_path):
    model = Bag.load(static_model(tmp_path / "model", documents(20)))
    index = Index.build(tmp_path / "index", [Document(id="long", text=text)], model)
    for mode in ("hybrid", "lexical", "dense"):
        began = time.process_time()
        hits = index.search("word", mode=mode)
        assert time.process_time() - began < 0.5
        assert all(len(hit.sentence) <= LENGTH + AROUND for hit in hits)


def test_a_text_of_spaces_has_no_sentences():
    assert sentence_spans("") == sentence_spans(" \n ") == []
    (hit,) = Index.of([Document(id="d", title="A violin", text="")]).search("violin")
    assert hit.sentence == "A violin"


@given(st.text(max_size=3000), st.text(min_size=1, max_size=40).filter(str.strip), st.integers(1, 9))
def test_any_text_gives_a_short_snippet_with_marks_inside(text, query, times):
    index = Index.of([Document(id="a", text=text * times), Document(id="b", text=query)])
    for hit in index.search(query):
        assert len(hit.sentence) <= LENGTH + AROUND
        assert all(0 <= first < last <= len(hit.sentence) for first, last in hit.marks)


def test_a_document_of_megabytes_gives_no_pseudo_queries():
    made = [Document(id="long", text="One two three four. " * 60_000), *documents(40)]
    sets = pseudo_queries(made, 100, 0, sentence_spans)
    assert {one.kind for one in sets} == {"title", "sentence"}
    assert all(0 not in one.documents for one in sets)


def test_the_vector_of_a_very_long_text_is_that_of_its_tokens(tmp_path):
    bag = Bag.load(static_model(tmp_path / "model", documents(20)))
    some = " ".join(documents(20)[0].text.lower().replace(".", "").split())
    short, long = bag.encode([some]), bag.encode([f"{some} " * 8000])
    assert len(some.split()) * 8000 > 1 << 17
    assert np.allclose(short / np.linalg.norm(short), long / np.linalg.norm(long), atol=1e-4)
