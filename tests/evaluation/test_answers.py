"""Exact match and answer recall on cases by hand."""

import numpy as np
import pytest

from pretrieve.core.errors import DataError
from pretrieve.evaluation.answers import answer_recall, exact_match, has_answer, normalise, regex_match, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Eiffel Tower!", "eiffel tower"),
        ("a an the", ""),
        ("another theory", "another theory"),  # articles go as whole words only
        ("U.S.", "us"),
        ("$3 + 4", "3 4"),
        ("rock-n-roll", "rocknroll"),
        ("“Quoted”", "quoted"),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_exact_match_folds_case_accents_form_punctuation_and_articles() -> None:
    assert exact_match("the Caf\u00e9.", ["Cafe\u0301"])  # composed and decomposed are one
    assert not exact_match("cafe", ["caf\u00e9"])  # but an accent is no decoration
    assert exact_match("1973", ["the oil crisis", "1973"])
    assert not exact_match("1973 crisis", ["1973"])


def test_words_are_runs_of_letters_marks_and_digits_or_single_signs() -> None:
    assert words("US$3.5-a day, caf\u00e9\u200b_x") == [
        "us",
        "$",
        "3",
        ".",
        "5",
        "-",
        "a",
        "day",
        ",",
        "café",
        "_",
        "x",
    ]


def test_has_answer_finds_whole_words_as_dpr_does() -> None:
    assert has_answer("The party was in October, 1973.", ["october 1973", "OCTOBER , 1973"])
    assert not has_answer("The party was in October, 1973.", ["art", "october 1973"])
    assert has_answer("In the caf\u00e9", ["CAFE\u0301"])
    assert not has_answer("anything", ["\u200b"])
    assert has_answer("It rose to 42 metres", [r"\d+ met(er|re)s"], patterns=True)
    assert regex_match("About 42 Meters", [r"42 met(er|re)s"])
    with pytest.raises(DataError, match="no regular expression"):
        has_answer("x", ["("], patterns=True)


def test_answer_recall() -> None:
    holds = np.array([[0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 1]], bool)
    assert answer_recall(holds, (1, 2, 3, 20)) == {1: 0.25, 2: 0.5, 3: 0.75, 20: 0.75}
