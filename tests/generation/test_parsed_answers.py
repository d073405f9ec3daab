"""Answers and prompts: queries without their decoration, documents in their place."""

from __future__ import annotations

import pytest

from pretrieve.core.errors import UsageError
from pretrieve.core.types import Document
from pretrieve.generation.answers import queries_of
from pretrieve.generation.prompts import DEFAULTS, Prompt, opening

DOCUMENT = Document(id="d", title="Honey {document}", text="it keeps\nfor many  years {title}")


@pytest.mark.parametrize(
    ("answer", "queries"),
    [
        ("1. how long does honey keep\n2) is honey safe\n(3) honey years", None),
        ("- how long does honey keep\n* is honey safe\n• honey years", None),
        ('Here are three queries:\n\n"how long does honey keep"\n“is honey safe”\n**honey years**\n', None),
        ('["how long does honey keep", "is honey safe", "honey years"]', None),
        ('```json\n["how long does honey keep", "is honey safe", "honey years"]\n```', None),
        (
            "<think>They want:\n1. noise</think>\nhow long does honey keep\n---\nis honey safe\nhoney years\na fourth",
            None,
        ),
        ("Query 1: how long does honey keep\nQuery 2: is honey safe\nquery: honey years", None),
        ("3.5 inch disk\n2024 budget\n'tis so", ["3.5 inch disk", "2024 budget", "'tis so"]),
        ("how\x1b[31m red\x00 \ud800", ["how [31m red ?"]),
        ("[not json\nq", ["[not json", "q"]),
        ("[1, 2]", ["[1, 2]"]),
        ("<think>without an end", [""]),
        ("", [""]),
        ("Here they are:", [""]),
    ],
)
def test_lines_of_a_chat(answer, queries) -> None:
    expected = queries or ["how long does honey keep", "is honey safe", "honey years"]
    assert queries_of(answer, 3, lines=True) == expected


def test_one_text_is_one_query() -> None:
    assert queries_of(" 1. how  long\nDocument: more", 3, lines=False) == ["1. how long"]
    assert queries_of("", 3, lines=False) == [""]


def test_a_document_is_filled_in_once_and_cut() -> None:
    prompt = Prompt("{number} for {title}: {document}!", 3, 4)
    assert prompt.at_once
    assert prompt.fill(DOCUMENT) == "3 for Honey {document}: it keeps\nfor many!"
    assert prompt.fill(DOCUMENT, 1) == "3 for Honey {document}: it!"
    assert opening(" a b ", 5) == " a b "
    assert opening("a b", 0) == ""


def test_a_line_about_the_title_goes_where_there_is_none() -> None:
    bare = Document(id="d", text="text")
    assert Prompt("T: {title}\nD: {document}", 1, 9).fill(bare) == "D: text"
    assert Prompt("{title} {document}", 1, 9).fill(bare) == "text"
    assert "Title" not in Prompt(DEFAULTS["chat"], 1, 9).fill(bare)


def test_the_usual_prompts() -> None:
    assert Prompt(DEFAULTS["chat"], 3, 9).at_once
    assert not Prompt(DEFAULTS["plain"], 3, 9).at_once
    assert Prompt(DEFAULTS["seq2seq"], 3, 9).fill(DOCUMENT) == f"{DOCUMENT.title} {DOCUMENT.text}"
    assert Prompt(DEFAULTS["plain"], 3, 9).fill(DOCUMENT).endswith("years {title}\nQuery:")


def test_bad_templates() -> None:
    with pytest.raises(UsageError, match=r"\{documnt\}.*Did you mean 'document'"):
        Prompt("{documnt}", 1, 9)
    with pytest.raises(UsageError, match=r"holds no \{document\}"):
        Prompt("{title}", 1, 9)
