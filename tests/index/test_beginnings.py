"""Words that begin otherwise than the wanted terms are not stemmed: what is counted and marked stays the same."""

from __future__ import annotations

import random
import string

import pytest
import Stemmer

from pretrieve.index import analysis
from pretrieve.index.analysis import SAME_BEGINNING, STEMMERS, Analysis, Analyzer, beginnings

PREFIXES = (
    "", "ae", "be", "al", "di", "dy", "ge", "h", "i", "ke", "lo", "ly", "me", "mh", "nd", "oe", "pp", "qu",
    "s", "sk", "ty", "u", "xx", "y",
)  # fmt: skip
ENDINGS = ("", "s", "ing", "ies", "en", "ung", "er", "ed", "ly", "eur", "mente", "heid", "nya", "lar", "ov", "ai")


def words(count: int, chance: random.Random) -> list[str]:
    """Made-up words with beginnings and endings that stemmers know."""
    letters = ["".join(chance.choices("aeiou" + string.ascii_lowercase, k=chance.randint(0, 7))) for _ in range(count)]
    made = [chance.choice(PREFIXES) + middle + chance.choice(ENDINGS) for middle in letters]
    return [word for word in made if word]


def missed(name: str) -> list[str]:
    """Words whose stem has no beginning of theirs."""
    stem = Stemmer.Stemmer(name).stemWord
    forms = [(word, stem(word)) for word in words(20_000, random.Random(7))]
    return [word for word, found in forms if (heads := beginnings(frozenset([found]))) and word[:2] not in heads]


@pytest.mark.parametrize("name", sorted(SAME_BEGINNING - {"none"}))
def test_a_stemmer_keeps_the_beginning_of_ascii_words(name) -> None:
    assert not missed(name)
    stem = Stemmer.Stemmer(name).stemWord
    assert all(stem(number) == number for number in map(str, range(3000)))


@pytest.mark.parametrize("name", ["dutch", "estonian", "indonesian", "irish"])
def test_the_test_finds_a_stemmer_that_does_not(name) -> None:
    assert missed(name)
    assert name in STEMMERS.values()
    assert name not in SAME_BEGINNING


@pytest.mark.parametrize(
    "chosen",
    [
        Analysis(),
        Analysis(languages=("en", "de", "es")),
        Analysis(languages=("nl", "en")),
        Analysis(stemmer="porter"),
        Analysis(stop_documents=True),
        Analysis(tokenizer="lucene"),
        Analysis(tokenizer="bm25s"),
    ],
    ids=lambda chosen: f"{'-'.join(chosen.languages)} {chosen.stemmer} {chosen.tokenizer} {chosen.stop_documents}",
)
def test_counts_and_marks_are_those_of_all_words(chosen, monkeypatch) -> None:
    chance = random.Random(11)
    others = "s the Äpfel Única camelCase snake_case 東京都 utf8 ISBN aero dying lie ebb a 7 1998 19 २०२५"
    known = [*words(60, chance), *others.split()]
    texts = [
        " ".join(chance.choice((str, str.title, str.upper))(word) for word in chance.choices(known, k=40))
        for _ in range(60)
    ]
    quick, plain = Analyzer(chosen, detect=_language), Analyzer(chosen, detect=_language)
    monkeypatch.setattr(plain, "_beginnings", lambda terms: frozenset())
    queries = [" ".join(chance.choices(known, k=3)) for _ in range(30)]
    terms = [list(dict.fromkeys(quick.terms(query))) for query in queries]
    assert any(map(quick._beginnings, terms)) != (chosen.stop_documents or "nl" in chosen.languages)
    seen = 0
    for wanted in terms:
        (counts, lengths), (expected, numbers) = quick.count(texts, wanted), plain.count(texts, wanted)
        assert counts.tolist() == expected.tolist()
        assert lengths.tolist() == numbers.tolist()
        seen += int(counts.sum())
        for text in texts:
            assert quick.spans(text, frozenset(wanted), {}) == plain.spans(text, frozenset(wanted), {})
    assert seen > 100


def test_most_words_are_not_stemmed(monkeypatch) -> None:
    stemmed = []
    usual = analysis._stemmer

    def counting(name: str):
        stem = usual(name)
        return lambda word: stemmed.append(word) or stem(word)

    monkeypatch.setattr(analysis, "_stemmer", counting)
    analyzer = Analyzer(Analysis())
    text = "Keys rotate while other people sleep and dream of locks"
    counts, lengths = analyzer.count([text], ["key"])
    assert (counts.tolist(), lengths.tolist(), stemmed) == ([[1]], [10], ["keys"])
    assert analyzer.spans(text, frozenset(["key"])) == [(0, 4)]
    assert stemmed == ["keys"]


def _language(text: str) -> str:
    return ("en", "de", "es", "nl")[len(text) % 4]
