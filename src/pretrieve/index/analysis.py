"""From text to the terms that BM25 counts, in any language and for code.

A word is a run of letters, digits, underscores and their marks. It is lower-cased and stemmed by the language's
Snowball stemmer. Where words have no spaces (Han, kana, Hangul, Thai, Lao, Khmer, Burmese) every two neighbouring
characters are a term. ``camelCase``, ``snake_case`` and ``utf8`` give the whole and their parts. There are no stop
words: the idf of BM25 gives frequent words next to nothing, and a list would be needed for every language.

Every different word is analysed once: the bulk path looks words up in a table and stays in arrays.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from pretrieve.core.types import Rows

# ``\w`` leaves out combining marks, which would cut Indic, Arabic and decomposed words in two.
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc"
    "\u0900-\u0903\u093a-\u094f\u0951-\u0957\u0962\u0963\u0981-\u0983\u09bc-\u09d7\u0a01-\u0a03\u0a3c-\u0a51\u0a70\u0a71"
    "\u0a81-\u0a83\u0abc-\u0acd\u0b01-\u0b03\u0b3c-\u0b57\u0b82\u0bbe-\u0bd7\u0c00-\u0c04\u0c3c-\u0c56\u0c81-\u0c83"
    "\u0cbc-\u0cd6\u0d00-\u0d03\u0d3b-\u0d57\u0dca-\u0ddf\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ecd"
    "\u0f18-\u0f84\u102b-\u103e\u17b4-\u17d3\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u3099\u309a"
)
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
_WORD = re.compile(f"[\\w{_MARKS}]+")
_RUN = re.compile(f"[{_SPACELESS}]+|[^{_SPACELESS}]+")
_IS_SPACELESS = re.compile(f"[{_SPACELESS}]")
_BORDER = re.compile(
    r"_+|(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=[^\W\d_])|(?<=[^\W\d_])(?=\d)",
)

_DETECT = 500  # characters shown to the detector of languages

STEMMERS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali",
    "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip


class Terms(Protocol):
    """What turns text into terms: words (``Analyzer``) or the pieces of a model's tokenizer."""

    def bulk(self, texts: Iterable[str]) -> tuple[Rows, list[str]]:
        """Analyse many texts: ragged rows of term ids, and the terms that the ids number."""
        ...

    def terms(self, text: str) -> list[str]:
        """Analyse one text: its terms in order, repeated as often as they occur."""
        ...


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """How words become terms; saved with the index.

    Attributes:
        languages: ISO 639-1 codes of the collection's languages, most frequent first. With one, its stemmer is used for
            everything; with several, each text is stemmed in the language that it is detected to be in.
        stem: reduce words to their stems where the language has a Snowball stemmer.
        split_identifiers: add the parts of ``camelCase``, ``snake_case`` and ``utf8`` to the whole.
        bigrams: two-character terms where words have no spaces; off, each run is one term.
    """

    languages: tuple[str, ...] = ("en",)
    stem: bool = True
    split_identifiers: bool = True
    bigrams: bool = True


@dataclass
class Analyzer:
    """Turns text into terms by an ``Analysis``.

    Attributes:
        analysis: how.
        detect: text to ISO 639-1 code; asked only when there are several languages, and taken when it is one of them.
    """

    analysis: Analysis
    detect: Callable[[str], str] | None = None
    _stems: dict[str, Callable[[str], str]] = field(default_factory=dict)

    def terms(self, text: str) -> list[str]:
        """Return the terms of a query in order, repeated as often as they occur.

        A query is too short to detect its language: with several languages, each word gives its stems in all of them.
        """
        return [term for word in _WORD.findall(text) for term in self._in_all(word)]

    def bulk(self, texts: Iterable[str]) -> tuple[Rows, list[str]]:
        """Analyse many texts, each different word once.

        Returns:
            Ragged rows of term ids (R rows), and the terms in the order of their ids.
        """
        lexicon = _Lexicon(self._analyse)
        tables = {language: _WordTable(lexicon, language) for language in self.analysis.languages}
        words = []
        for text in texts:
            table = tables[self._language(text)]
            words.append(np.array([table[word] for word in _WORD.findall(text)], dtype=np.int64))
        return lexicon.expand(Rows.of(words)), list(lexicon.terms)

    def spans(self, text: str, wanted: frozenset[str]) -> list[tuple[int, int]]:
        """Return where the wanted terms stand in a text: (first, last + 1) characters, merged, in order."""
        found: list[tuple[int, int]] = []
        for match in _WORD.finditer(text):
            for start, stop in self._pieces(match):
                if not wanted.isdisjoint(self._in_all(text[start:stop])):
                    found.append((start, stop))
        return _merged(found)

    def _pieces(self, match: re.Match[str]) -> Iterable[tuple[int, int]]:
        if self.analysis.bigrams and len(match[0]) > 2 and _IS_SPACELESS.search(match[0]):
            return ((at, at + 2) for at in range(match.start(), match.end() - 1))
        return (match.span(),)

    def _in_all(self, word: str) -> list[str]:
        languages = self.analysis.languages
        if len(languages) == 1:
            return self._analyse(word, languages[0])
        return list(dict.fromkeys(term for language in languages for term in self._analyse(word, language)))

    def _language(self, text: str) -> str:
        languages = self.analysis.languages
        if len(languages) == 1 or self.detect is None:
            return languages[0]
        found = self.detect(text[:_DETECT])
        return found if found in languages else languages[0]

    def _stem(self, language: str) -> Callable[[str], str]:
        if language not in self._stems:
            self._stems[language] = _stemmer(language) if self.analysis.stem else str
        return self._stems[language]

    def _analyse(self, word: str, language: str) -> list[str]:
        stem = self._stem(language)
        if word.isascii() and word.isalpha() and (word.islower() or word.istitle() or word.isupper()):
            return [stem(word.lower())]  # what most words are, ahead of the general case
        found: list[str] = []
        for run in _RUN.findall(unicodedata.normalize("NFKC", word)):
            if self.analysis.bigrams and _IS_SPACELESS.match(run):
                found += [run[at : at + 2] for at in range(len(run) - 1)] or [run]
                continue
            parts = [part for part in _BORDER.split(run) if part] if self.analysis.split_identifiers else [run]
            whole = run.strip("_")
            if whole:
                found.append(stem(whole.lower()))
            if len(parts) > 1:
                found += [stem(part.lower()) for part in parts]
        return found


class _Lexicon:
    """Numbers terms, and keeps the terms of each numbered word."""

    def __init__(self, analyse: Callable[[str, str], list[str]]) -> None:
        self._analyse = analyse
        self.terms: dict[str, int] = {}
        self.entries: list[list[int]] = []

    def add(self, word: str, language: str) -> int:
        """Analyse a word that was not met before; return its number."""
        terms = self.terms
        self.entries.append([terms.setdefault(term, len(terms)) for term in self._analyse(word, language)])
        return len(self.entries) - 1

    def expand(self, words: Rows) -> Rows:
        """Replace each word of ragged rows by its terms."""
        sizes = np.array([len(entry) for entry in self.entries], np.int64)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        terms = np.fromiter(itertools.chain.from_iterable(self.entries), np.int32, int(starts[-1]))
        taken = sizes[words.tokens]
        ends = np.concatenate([[0], np.cumsum(taken)])
        flat = terms[np.repeat(starts[:-1][words.tokens] - ends[:-1], taken) + np.arange(ends[-1])]
        return Rows(flat, ends[words.offsets])


class _WordTable(dict[str, int]):
    """Numbers the words of one language as they stand in the text."""

    def __init__(self, lexicon: _Lexicon, language: str) -> None:
        super().__init__()
        self._lexicon, self._language = lexicon, language

    def __missing__(self, word: str) -> int:
        number = self[word] = self._lexicon.add(word, self._language)
        return number


def _stemmer(language: str) -> Callable[[str], str]:
    if language not in STEMMERS:
        return str
    import Stemmer

    stem: Callable[[str], str] = Stemmer.Stemmer(STEMMERS[language]).stemWord
    return stem


def _merged(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def languages_of(texts: Iterable[str], detect: Callable[[str], str], share: float = 0.1) -> tuple[str, ...]:
    """Return the languages of a collection by a sample of its texts, most frequent first.

    A language that holds less than ``share`` of the sample is taken for a mistake of the detector, which short texts
    and code invite.
    """
    counts = Counter(detect(text[:_DETECT]) for text in texts)
    total = counts.total()
    frequent = sorted(
        (code for code in counts if counts[code] >= share * total), key=lambda code: (-counts[code], code)
    )
    return tuple(frequent) or ("en",)
