"""Where the sentences of a text begin, in some three hundred languages (sentencex, by Wikimedia)."""

from __future__ import annotations

import re
from itertools import pairwise

import sentencex

_WIDE = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")  # white space of several bytes
_LINES = re.compile(r"[^\n]+")


def sentence_starts(text: str, language: str = "en") -> list[int]:
    """Return the position of the first character of every sentence.

    Blank lines end a sentence too. The pieces that sentencex gives are found again in the text one after the other, so
    that a character it drops (it does, in long runs of line ends) moves no boundary.

    Args:
        text: any text.
        language: ISO 639-1 code, whose abbreviations and rules are used; an unknown one falls back to general rules.

    Returns:
        Increasing positions in ``text``, each of a character that is not white space; empty for blank text.
    """
    starts: list[int] = []
    position = 0
    narrow = _WIDE.sub(_narrow, text)
    for piece in _segment(narrow, language or "en"):
        sentence = piece.strip()
        if not sentence:
            continue
        found = narrow.find(sentence, position)
        if found >= 0:
            starts.append(found)
            position = found + len(sentence)
    return starts


def sentences(text: str, language: str = "en") -> list[str]:
    """Return the sentences of a text, without the white space around them; none for blank text.

    Args:
        text: any text.
        language: ISO 639-1 code; an unknown one falls back to general rules.
    """
    starts = sentence_starts(text, language)
    return [text[start:end].strip() for start, end in pairwise([*starts, len(text)])]


def _narrow(space: re.Match[str]) -> str:
    """Return a white space of one byte for one of several: sentencex 1.0.32 panics where a mark follows the latter."""
    return "\n" if space[0] in "\x85\u2028\u2029" else " "


def _segment(text: str, language: str) -> list[str]:
    """Return the pieces that sentencex gives; the lines of a text that it cannot cut: one text must not end a run."""
    try:
        return list(sentencex.segment(language, text))
    except BaseException as error:  # a panic of Rust is no Exception to Python, and its class has no public name
        if type(error).__name__ != "PanicException":
            raise
        return _LINES.findall(text)
