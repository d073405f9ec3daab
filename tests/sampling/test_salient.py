"""Salient spans: what the rules take for a name, a date or a quantity, and where it lies in the store."""

from pathlib import Path

import numpy as np
import pytest

import tiny
from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.sampling.salient_spans import by_rules, rare_words, salient_spans
from pretrieve.text import tokenizer
from pretrieve.text.documents import Documents
from pretrieve.text.sentences import sentence_starts
from pretrieve.text.store import Store

TEXTS = [
    "In March 1999 the engineer Ada Lovelace went to Paris. She saw the University of Oxford. Then it rained.",
    "The bridge is 12 km long. It cost $3.5 million in 1937, says O'Brien's report of 2001-05-17.",
    "Rivers run to the sea. Water is wet! Here and there Rivers meet. I am. However, You see.",
    "Nothing to see here at all, only small words that nobody names.",
]


def found(text: str) -> list[str]:
    (spans,) = by_rules([text], [sentence_starts(text)])
    return [text[start:stop] for start, stop in spans]


def build(folder: Path, texts: list[str], *, lowercase: bool = True) -> Store:
    documents = Documents.write(
        folder / "documents", [Document(id=str(n), text=text, title=f"Title {n}") for n, text in enumerate(texts)]
    )
    vocabulary = tokenizer.train(texts, vocabulary_size=300, algorithm="wordpiece", lowercase=lowercase)
    return Store.build(folder / "store", documents, vocabulary)


def test_rules_take_names_dates_and_quantities() -> None:
    assert found(TEXTS[0]) == ["March 1999", "Ada Lovelace", "Paris", "University of Oxford"]
    assert found(TEXTS[1]) == ["12 km", "$3.5 million", "1937", "O'Brien", "2001-05-17"]
    assert found("On 4 July 1776 and July 4, 1776 in the U.S. Senate, in the 1990s, 45% of it.") == [
        "4 July 1776",
        "July 4, 1776",
        "U.S. Senate",
        "1990s",
        "45%",
    ]
    assert found("wir in Köln, Émile Zola, Łódź und Анна Каренина.") == [
        "Köln",
        "Émile Zola",
        "Łódź",
        "Анна Каренина",
    ]
    assert found("a maybe of 12345 things, may it be 3.14159") == []


def test_a_capital_that_only_begins_a_sentence_is_no_name() -> None:
    assert found(TEXTS[2]) == ["Rivers", "Rivers"]  # capitalised inside a sentence too
    assert found("Water is wet. Water is cold.\nWater again.") == []
    assert found("(Water) is what Einstein drank. The Einstein said.") == ["Einstein", "Einstein"]
    assert found("Review Questions\nMuscle is red. Vitamin D and K in the Muscle Tissue.\nMuscle Tissue") == [
        "Muscle",
        "Vitamin D",
        "Muscle Tissue",
    ]


@pytest.mark.parametrize("lowercase", [True, False])
def test_spans_of_a_store_are_the_words_of_the_text(tmp_path: Path, lowercase: bool) -> None:
    store = build(tmp_path, TEXTS, lowercase=lowercase)
    spans = salient_spans(store)
    assert spans.by == "rules"
    expected = [word for text in TEXTS for word in found(text)]
    shown = [store.decode(store.tokens[start:stop]) for start, stop in zip(spans.starts, spans.stops, strict=True)]
    plain = [shown_one.replace(" ", "").lower() for shown_one in shown]
    assert plain == [word.replace(" ", "").lower() for word in expected]
    for sentence, start, stop in zip(spans.sentences, spans.starts, spans.stops, strict=True):
        assert store.sentences[sentence] <= start < stop <= store.sentences[sentence + 1]
    assert (np.diff(spans.sentences) >= 0).all()
    assert salient_spans(store) is spans, "found once"


def test_long_documents_that_are_encoded_in_pieces(tmp_path: Path) -> None:
    long = " ".join(f"It was seen in Berlin by number {number % 900}." for number in range(4000))
    store = build(tmp_path, ["A word from Rome here.", long, "And then Madrid."])
    spans = salient_spans(store)
    shown = [store.decode(store.tokens[start:stop]) for start, stop in zip(spans.starts, spans.stops, strict=True)]
    assert len(long) > 1 << 17
    assert [name.replace(" ", "") for name in shown] == ["rome", *["berlin"] * 4000, "madrid"]


def test_selected_documents_keep_their_own_text(tmp_path: Path) -> None:
    whole = build(tmp_path, TEXTS)
    store = Store.build(
        tmp_path / "part", Documents.open(tmp_path / "documents"), whole.tokenizer, select=np.array([1, 3, 0])
    )
    spans = salient_spans(store)
    first = store.decode(store.tokens[spans.starts[0] : spans.stops[0]])
    assert (first.replace(" ", ""), len(spans.starts)) == ("12km", 9)


def test_rare_words_stand_in_where_there_is_no_text() -> None:
    store = tiny.store(60, words=(5, 12))
    spans = salient_spans(store)
    assert spans.by == "rare words"
    tokens, begins = np.asarray(store.tokens), tiny._Tokenizer.word_starts
    words: dict[int, tuple[int, ...]] = {}
    documents: dict[tuple[int, ...], set[int]] = {}
    for document, (body, end) in enumerate(zip(store.bodies, store.ends, strict=True)):
        firsts = [place for place in range(body, end) if place == body or begins[tokens[place]]]
        for first, last in zip(firsts, [*firsts[1:], end], strict=True):
            words[first] = tuple(tokens[first:last].tolist())
            documents.setdefault(words[first], set()).add(document)
    counts = sorted(len(documents[word]) for word in words.values() if len(documents[word]) > 1)
    limit = counts[int(len(counts) * 0.15)]
    rare = {first for first, word in words.items() if 1 < len(documents[word]) <= limit}
    starts, stops = rare_words(store)
    covered = {place for start, stop in zip(starts, stops, strict=True) for place in range(start, stop)}
    assert covered == {place for first in rare for place in range(first, first + len(words[first]))}
    assert 0.03 < len(covered) / len(tokens) < 0.4


def test_rare_words_too_where_nothing_is_capitalised(tmp_path: Path) -> None:
    store = build(tmp_path, ["some small words and a falcon", "a falcon and more small words", "words and small words"])
    assert salient_spans(store).by == "rare words"


def test_unknown_taggers_and_missing_libraries_are_said() -> None:
    with pytest.raises(UsageError, match="there are rules, spacy"):
        salient_spans(tiny.store(5), "guess")
    with pytest.raises(UsageError, match="not installed"):
        salient_spans(tiny.store(5), "spacy:no-such-model")


def test_spacy_where_it_is_installed(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    language = spacy.blank("en")
    language.add_pipe("entity_ruler").add_patterns(
        [{"label": "PLACE", "pattern": "rained"}, {"label": "CARDINAL", "pattern": "She"}]
    )
    language.to_disk(tmp_path / "model")
    store = build(tmp_path, TEXTS)
    spans = salient_spans(store, f"spacy:{tmp_path / 'model'}")
    shown = [store.decode(store.tokens[start:stop]) for start, stop in zip(spans.starts, spans.stops, strict=True)]
    assert (spans.by, [name.replace(" ", "") for name in shown]) == ("spacy", ["rained"])
