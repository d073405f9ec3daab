from __future__ import annotations

import pytest

from pretrieve.index.analysis import Analysis, Analyzer, languages_of

ENGLISH = Analyzer(Analysis(languages=("en",)))


def test_words_are_lower_cased_and_stemmed():
    assert ENGLISH.terms("Keys, rotated; ROTATING keys!") == ["key", "rotat", "rotat", "key"]
    assert Analyzer(Analysis(languages=("de",))).terms("Häuser des Hauses") == ["haus", "haus"]
    assert Analyzer(Analysis(stemmer="none")).terms("rotating Keys") == ["rotating", "keys"]
    assert Analyzer(Analysis(stemmer="german")).terms("rotating Häuser") == ["rotating", "haus"]


def test_a_language_without_stemmer_keeps_its_words():
    assert Analyzer(Analysis(languages=("sw",))).terms("Vitabu vizuri") == ["vitabu", "vizuri"]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("getUserName", ["getusernam", "get", "user", "name"]),
        ("snake_case_name", ["snake_case_nam", "snake", "case", "name"]),
        ("HTTPServer2", ["httpserver2", "http", "server", "2"]),
        ("utf8", ["utf8", "utf", "8"]),
        ("__init__", ["init"]),
        ("____", []),
        ("NASA", ["nasa"]),
    ],
)
def test_identifiers_give_the_whole_and_their_parts(text, terms):
    assert ENGLISH.terms(text) == terms


def test_scripts_without_spaces_give_pairs_of_characters():
    assert ENGLISH.terms("東京都") == ["東京", "京都"]
    assert ENGLISH.terms("猫") == ["猫"]
    assert ENGLISH.terms("Python言語の") == ["python", "言語", "語の"]
    assert ENGLISH.terms("ภาษาไทย")[:2] == ["ภา", "าษ"]
    assert Analyzer(Analysis(bigrams=False)).terms("東京都") == ["東京都"]


def test_marks_do_not_cut_words_and_forms_of_a_letter_are_one():
    hindi = Analyzer(Analysis(languages=("hi",), stemmer="none"))
    assert hindi.terms("हिन्दी भाषा") == ["हिन्दी", "भाषा"]
    assert ENGLISH.terms("cafe\u0301") == ENGLISH.terms("café")
    assert ENGLISH.terms("ﬁle") == ["file"]


TEXTS = ["getUserName of the users", "", "東京都 and rotating keys", "!!!", "users users Users"]


def test_bulk_gives_what_terms_give():
    rows, terms = ENGLISH.bulk(iter(TEXTS))
    every = Analyzer(Analysis(stop_words="none"))
    assert [[terms[number] for number in rows.row(index)] for index in range(len(rows))] == [
        every.terms(text) for text in TEXTS
    ]
    assert len(set(terms)) == len(terms)


def test_several_languages_are_stemmed_by_text_and_asked_in_all():
    mixed = Analyzer(Analysis(languages=("en", "de")), detect=lambda text: "de" if "die" in text else "xx")
    rows, terms = mixed.bulk(["rotating houses", "die Häuser"])
    assert [terms[number] for number in rows.row(1)] == ["die", "haus"]
    assert [terms[number] for number in rows.row(0)] == ["rotat", "hous"]  # "xx" is none of them: the first is taken
    assert mixed.terms("Häuser") == ["häuser", "haus"]


def test_spans_are_where_the_words_stand():
    text = "Rotate your KEYS; userName, 東京都庁."
    found = ENGLISH.spans(text, frozenset(ENGLISH.terms("keys user 東京都")))
    assert [text[start:stop] for start, stop in found] == ["KEYS", "userName", "東京都"]


def test_rare_detections_are_mistakes():
    codes = ["en"] * 17 + ["la"] + ["fr"] * 3
    assert languages_of(map(str, range(21)), lambda text: codes[int(text)]) == ("en", "fr")
    assert languages_of([], lambda text: "en") == ("en",)
