"""The part of a document that answers a query best, cut to what fits on a screen.

A long document is not read whole: only its start and the windows where words of the query stand are split into
sentences, so that the time is bounded by the query, not by the document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pretrieve.core.types import Document, FloatArray
from pretrieve.index.analysis import Analyzer, Span
from pretrieve.index.dense import Dense
from pretrieve.index.lexical import Lexical
from pretrieve.text.sentences import sentence_starts

LENGTH = 300  # maximum number of characters of a snippet, without the signs of what is left out
CUT = "…"  # stands for text that is left out
_SENTENCES = 64  # maximum number of sentences of a document to compare
_WHOLE = 20_000  # characters of a text that is split into sentences whole
_WINDOW = 2_000  # characters of a window of a longer text
_WINDOWS = 8  # windows with words of the query; the start of the text is one more
_LOOKS = 200  # windows that one word is looked up in
_NEEDLES = 32  # words of a query that are looked up
_QUERY = 2_000  # characters of a query that snippets are chosen by
_BORDER = 40  # characters within which a cut moves to the next white space


@dataclass(frozen=True, slots=True)
class Snippet:
    """A part of a text.

    Attributes:
        text: at most ``LENGTH`` characters of it, with ``CUT`` where a sentence goes on.
        marks: (first, last + 1) characters of the query's words in ``text``.
    """

    text: str
    marks: list[Span]


def sentence_spans(text: str) -> list[Span]:
    """(first, last + 1) characters of the sentences of a text, without the white space around them."""
    starts = sentence_starts(text)
    ends = [*starts[1:], len(text)] if starts else []
    return [(start, start + len(text[start:end].rstrip())) for start, end in zip(starts, ends, strict=True)]


@dataclass(frozen=True)
class _Sentence:
    """A sentence, and whether a window cuts the text off before and after it."""

    text: str
    before: bool = False
    after: bool = False


class Snippets:
    """Chooses snippets for one query.

    A document's best sentence has the highest BM25 score; where none shares a word with the query, and there are
    vectors, it has the nearest vector. A long sentence is cut at words around the densest group of the query's words.

    Args:
        query: the query.
        lexical: BM25 of the documents.
        dense: vectors of the documents, if any.
    """

    def __init__(self, query: str, lexical: Lexical, dense: Dense | None) -> None:
        assert isinstance(lexical.analyzer, Analyzer)
        self._query, self._lexical, self._dense = query[:_QUERY], lexical, dense
        self._analyzer = lexical.analyzer
        self._terms = frozenset(self._analyzer.terms(self._query))
        self._needles = _needles(self._query, self._terms)
        self._known: dict[str, list[Span]] = {}  # where words have the query's terms

    def of(self, documents: Sequence[Document]) -> list[Snippet]:
        """The snippet of each document; of its title where it has no text.

        The sentences of all documents are scored at once: most of their words are the same.
        """
        found = [self._sentences(document.text) for document in documents]
        snippets = []
        for document, sentences, scores in zip(documents, found, self._scores(found), strict=True):
            best = sentences[int(np.argmax(scores))] if sentences else _Sentence("")
            snippets.append(self._cut(best.text or document.title, before=best.before, after=best.after))
        return snippets

    def _scores(self, found: Sequence[Sequence[_Sentence]]) -> list[FloatArray]:
        """Scores of the sentences of each document: by BM25, or by vectors where none shares a word with the query."""
        texts = [one.text for sentences in found for one in sentences]
        scores = self._lexical.score_pairs([self._query] * len(texts), texts)
        rows = _divided(scores, found)
        other = [place for place, row in enumerate(rows) if len(row) > 1 and not row.any()]
        if self._dense is not None and other:
            left = [found[place] for place in other]
            texts = [one.text[:_WINDOW] for sentences in left for one in sentences]
            near = self._dense.score_pairs([self._query] * len(texts), texts)
            for place, row in zip(other, _divided(near, left), strict=True):
                rows[place] = row
        return rows

    def _sentences(self, text: str) -> list[_Sentence]:
        """The sentences of a document that may be its best."""
        windows = _windows(text, self._needles)
        spans = [(start, stop, window) for window in windows for start, stop in _within(text, window)]
        return [
            _Sentence(
                text=text[start:stop],
                before=start == window[0] and start > 0,
                after=stop == window[1] and bool(text[stop : stop + _WINDOW].strip()),
            )
            for start, stop, window in self._promising(text, spans)
        ]

    def _promising(self, text: str, spans: list[tuple[int, int, Span]]) -> list[tuple[int, int, Span]]:
        """At most ``_SENTENCES`` sentences, in order; those with words of the query go first."""
        if len(spans) <= _SENTENCES:
            return spans
        lowered = [text[start:stop].lower() for start, stop, _ in spans]
        counts = [-sum(needle in sentence for needle in self._needles) for sentence in lowered]
        chosen = sorted(range(len(spans)), key=lambda number: (counts[number], number))[:_SENTENCES]
        return [spans[number] for number in sorted(chosen)]

    def _cut(self, sentence: str, *, before: bool, after: bool) -> Snippet:
        """A sentence, or the best part of a long one, with its marks."""
        marks = self._analyzer.spans(sentence[: 2 * _WHOLE], self._terms, self._known)
        start, stop = 0, len(sentence)
        if len(sentence) > LENGTH:
            start, stop = _around(sentence, _densest(sentence, marks))
        head, tail = (f"{CUT} " if before or start else ""), (f" {CUT}" if after or stop < len(sentence) else "")
        moved = [(max(first, start), min(last, stop)) for first, last in marks if first < stop and last > start]
        shift = len(head) - start
        return Snippet(
            text=head + sentence[start:stop] + tail,
            marks=[(first + shift, last + shift) for first, last in moved],
        )


def _divided(values: FloatArray, like: Sequence[Sequence[object]]) -> list[FloatArray]:
    """Consecutive parts of an array, as many values each as sequences have."""
    ends = np.cumsum([len(one) for one in like]).tolist()
    return [values[end - len(one) : end] for end, one in zip(ends, like, strict=True)]


def _needles(query: str, terms: frozenset[str]) -> list[str]:
    """What is looked up in lower-case text: the query's words, and its terms without what a stemmer changes."""
    words = {word for word in query.lower().split() if len(word) > 2}
    stems = {term[:-1] if len(term) > 4 else term for term in terms}
    return sorted(words | stems, key=lambda needle: (-len(needle), needle))[:_NEEDLES]


def _windows(text: str, needles: Sequence[str]) -> list[Span]:
    """The parts of a text to look at: all of a short one; of a long one the start, and where rare needles meet."""
    if len(text) <= _WHOLE:
        return [(0, len(text))]
    lowered = text.lower()  # a few letters become longer: places are near, not exact
    weights: Counter[int] = Counter()
    for needle in needles:
        found = _places(lowered, needle)
        weights.update(dict.fromkeys(found, 1 << 20 // len(found)) if found else {})
    best = sorted(weights, key=lambda number: (-weights[number], number))[:_WINDOWS]
    half = _WINDOW // 2  # on either side, so that a sentence at a border is whole in the window
    spans = [(0, _WINDOW), *((number * _WINDOW - half, (number + 1) * _WINDOW + half) for number in sorted(best))]
    merged: list[Span] = []
    for start, stop in spans:
        start, stop = _border(text, max(0, start)), _border(text, min(stop, len(text)))
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        elif start < stop:
            merged.append((start, stop))
    return merged


def _places(text: str, needle: str) -> list[int]:
    """Numbers of the windows that a needle occurs in, the first ``_LOOKS`` of them."""
    found: list[int] = []
    at = text.find(needle)
    while at >= 0 and len(found) < _LOOKS:
        found.append(at // _WINDOW)
        at = text.find(needle, (at // _WINDOW + 1) * _WINDOW)
    return found


def _within(text: str, window: Span) -> list[Span]:
    start, stop = window
    return [(start + first, start + last) for first, last in sentence_spans(text[start:stop])]


def _densest(sentence: str, marks: Sequence[Span]) -> Span:
    """First and last character of the group of marks that fits into a snippet and holds most different words."""
    best, value = (0, 0), (0, 0)
    last = 0
    for number, (start, _) in enumerate(marks):
        last = max(last, number)
        while last + 1 < len(marks) and marks[last + 1][1] - start <= LENGTH:
            last += 1
        group = marks[number : last + 1]
        found = (len({sentence[first:stop].lower() for first, stop in group}), len(group))
        if found > value:
            best, value = (start, min(group[-1][1], start + LENGTH)), found
    return best


def _around(sentence: str, group: Span) -> Span:
    """A part of ``LENGTH`` characters around a group, cut at white space where there is some near."""
    spare = LENGTH - (group[1] - group[0])
    start = max(0, min(group[0] - spare // 2, len(sentence) - LENGTH))
    stop = min(len(sentence), start + LENGTH)
    if start and (space := _first_space(sentence, start, min(start + _BORDER, group[0]))) is not None:
        start = space + 1
    if stop < len(sentence) and not sentence[stop].isspace():
        part = sentence[max(stop - _BORDER, group[1]) : stop]
        stop -= len(part) - len(part.rstrip(_last_word(part))) if _last_word(part) != part else 0
    return start, start + len(sentence[start:stop].rstrip())


def _first_space(text: str, start: int, stop: int) -> int | None:
    return next((at for at in range(start, stop) if text[at].isspace()), None)


def _last_word(text: str) -> str:
    return "" if not text or text[-1].isspace() else text.split()[-1]


def _border(text: str, at: int) -> int:
    """The next white space, if it is near; the ends of the text stay."""
    if at in (0, len(text)):
        return at
    found = _first_space(text, at, min(at + _BORDER, len(text)))
    return at if found is None else found
