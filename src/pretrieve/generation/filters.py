"""Which generated queries are dropped without a search, and why."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pretrieve.core.types import Document

WORDS, CHARACTERS = 64, 512  # of the longest query; some languages put no space between words
EMPTY, LONG, DUPLICATE, TITLE, COPIED = "empty", "too_long", "duplicate", "equal_to_title", "copied"
NOT_FOUND = "not_retrieved"  # by the round trip
REASONS = (EMPTY, LONG, DUPLICATE, TITLE, COPIED, NOT_FOUND)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Filtered:
    """The queries of one document: the kept ones, and the reason for each other one."""

    kept: list[str]
    dropped: list[str]


def plain(text: str) -> str:
    """A text in small letters without marks: what makes two queries the same."""
    return " ".join(_WORD.findall(text.casefold()))


def sift(queries: Iterable[str], document: Document, *, copied_words: int) -> Filtered:
    """Filter the queries of a document by their text.

    A short query may stand in its document word for word: people search with words that they expect to find. A longer
    verbatim run teaches nothing but equality of strings, and so does the title.

    Args:
        queries: of this document, in order; of two that are the same the second is a duplicate.
        document: the document.
        copied_words: a query that has a longer run of words of the title or the text is copied; 0 allows any.
    """
    kept: dict[str, str] = {}
    dropped: list[str] = []
    title, text = plain(document.title), f" {plain(document.text)} "
    for query in queries:
        words = plain(query)
        if not words:
            dropped.append(EMPTY)
        elif len(query.split()) > WORDS or len(query) > CHARACTERS:
            dropped.append(LONG)
        elif words in kept:
            dropped.append(DUPLICATE)
        elif words == title:
            dropped.append(TITLE)
        elif copied_words and (_has_run(words, text, copied_words) or _has_run(words, f" {title} ", copied_words)):
            dropped.append(COPIED)
        else:
            kept[words] = query
    return Filtered(list(kept.values()), dropped)


def _has_run(query: str, text: str, longest: int) -> bool:
    """Whether more than ``longest`` words of a query stand in a text side by side."""
    words = query.split()
    size = longest + 1
    return any(f" {' '.join(words[at : at + size])} " in text for at in range(len(words) - longest))
