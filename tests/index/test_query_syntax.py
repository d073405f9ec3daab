"""What a query says: phrases, words that must and must not occur, fields; and prose that only looks like it."""

from __future__ import annotations

import pytest

from pretrieve.core.errors import UsageError
from pretrieve.index.query import parse

FIELDS = ["lang", "Author", "date", "file", "title"]


@pytest.mark.parametrize(
    "text",
    [
        "how do I rotate the keys",
        "state-of-the-art e-mail servers",
        "it's the user's choice, isn't it?",
        "https://example.org/a:b?c=d and ftp://x",
        "error: file not found",
        "note:this is prose",
        'a 5" disk and a 3" disk',
        "tar -xz and ls -la --all",
        "minus -5 degrees, call +49 30 1234",
        "C++ and C-- and a + b - c",
        "Haupt- und Nebenfach",
        'an "open quote',
        "title: of a book",
        "std::vector file:///etc/passwd",
        "  blanks   stay  ",
        "- a list item",
    ],
)
def test_prose_is_left_as_it_is(text) -> None:
    query = parse(text, FIELDS)
    assert query.is_plain
    assert query.text == text


@pytest.mark.parametrize(
    ("text", "ranked", "phrases", "must", "without", "where"),
    [
        ('"rotate keys" now', "rotate keys now", ("rotate keys",), (), (), ""),
        ('say "rotate keys", please', "say rotate keys, please", ("rotate keys",), (), (), ""),
        ("how “rotate keys”", "how rotate keys", ("rotate keys",), (), (), ""),
        ("rotate +keys -windows", "rotate keys", (), ("keys",), ("windows",), ""),
        ('rotate -"old keys" keys', "rotate keys", (), (), ("old keys",), ""),
        ("keys lang:en", "keys", (), (), (), "lang=en"),
        ("keys -lang:en", "keys", (), (), (), "not lang=en"),
        ('keys LANG:en author:"Ada L"', "keys", (), (), (), "(lang=en) and (Author='Ada L')"),
        ("keys date:>=2025-01 lang:de?", "keys", (), (), (), "(date>=2025-01) and (lang=de)"),
    ],
)
def test_signs_are_read(text, ranked, phrases, must, without, where) -> None:
    query = parse(text, FIELDS)
    assert (query.text, query.phrases, query.must, query.without) == (ranked, phrases, must, without)
    assert (query.filter.text if query.filter else "") == where


def test_a_query_needs_words() -> None:
    with pytest.raises(UsageError, match="no words to search for"):
        parse("lang:en -windows", FIELDS)
