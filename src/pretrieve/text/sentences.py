"""Where the sentences of a text begin, in some three hundred languages (sentencex, by Wikimedia)."""

from __future__ import annotations

from itertools import pairwise

import sentencex


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
    for piece in sentencex.segment(language or "en", text):
        sentence = piece.strip()
        if not sentence:
            continue
        found = text.find(sentence, position)
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
