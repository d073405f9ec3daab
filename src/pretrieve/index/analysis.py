"""From text to the terms that BM25 counts, in any language and for code.

A word is a run of letters, digits, underscores and their marks. It is lower-cased and stemmed by the language's
Snowball stemmer. Where words have no spaces (Han, kana, Hangul, Thai, Lao, Khmer, Burmese) every two neighbouring
characters are a term. ``camelCase``, ``snake_case``, ``utf8`` and words with a zero-width non-joiner (Persian) give the
whole and their parts. Stop words are left out of queries, not of documents (``stop_words.py``).

An ``Analysis`` can also express the defaults of bm25s and Lucene: ``SETTINGS`` in ``settings.py``.

Every distinct word is analysed once: the bulk path looks words up in a table and works on arrays.
"""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np

from pretrieve.core.errors import UsageError, suggest
from pretrieve.core.types import IntArray, Rows
from pretrieve.index.lexicon import Lexicon, WordSizes, WordTable, cannot_have, is_plain
from pretrieve.index.stop_words import StopWords, content_pairs, content_words, stop_word_lists
from pretrieve.index.words import BORDER, IS_SPACELESS, PATTERNS, POSSESSIVE, RUN, ZWJ, ZWNJ, Tokenizer

_DETECT = 500  # characters used to detect the language
_REMEMBERED = 1 << 15  # words whose terms are kept: 8 MB
_ASKED, _SHORT = 1 << 8, 1 << 10  # queries whose terms are kept, and their characters at most
MEMORY = 512 << 20  # bytes that indexing may take, by default
_TOKEN, _WORD = 64, 384  # bytes that a word of a block takes, and a distinct word of the table

STEMMERS = {
    "ar": "arabic", "ca": "catalan", "da": "danish", "de": "german", "el": "greek", "en": "english", "es": "spanish",
    "et": "estonian", "eu": "basque", "fi": "finnish", "fr": "french", "ga": "irish", "hi": "hindi", "hu": "hungarian",
    "hy": "armenian", "id": "indonesian", "it": "italian", "lt": "lithuanian", "nb": "norwegian", "ne": "nepali",
    "nl": "dutch", "nn": "norwegian", "no": "norwegian", "pt": "portuguese", "ro": "romanian", "ru": "russian",
    "sr": "serbian", "sv": "swedish", "ta": "tamil", "tr": "turkish", "yi": "yiddish",
}  # fmt: skip

SAME_BEGINNING = frozenset({
    "arabic", "armenian", "basque", "catalan", "danish", "english", "finnish", "french", "german", "greek",
    "hindi", "hungarian", "italian", "lithuanian", "nepali", "none", "norwegian", "porter", "portuguese", "romanian",
    "russian", "spanish", "swedish", "tamil", "yiddish",
})  # stemmers that keep the first two letters of ASCII words, up to accents, y that becomes i, and CHANGED  # fmt: skip
CHANGED = ("ae", "oe", "ue", *(2 * letter for letter in string.ascii_lowercase))  # German vowels, Finnish consonants


Span = tuple[int, int]  # first and last + 1 character


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
        stop_words: list of stop words: ``"auto"`` for each language's own, ``"none"``, or a name or file that
            ``stop_words.stop_words`` knows.
        stop_documents: leave stop words out of documents too.
        stemmer: ``"auto"`` for each language's own Snowball stemmer, ``"none"``, or the name of one for all of them.
        split_identifiers: add the parts of ``camelCase``, ``snake_case`` and ``utf8`` to the whole.
        bigrams: two-character terms where words have no spaces; off, each run is one term.
        tokenizer: definition of a word; ``"bm25s"`` and ``"lucene"`` are those of these programs, which neither split
            identifiers nor form bigrams.
    """

    languages: tuple[str, ...] = ("en",)
    stop_words: str = "auto"
    stop_documents: bool = False
    stemmer: str = "auto"
    split_identifiers: bool = True
    bigrams: bool = True
    tokenizer: Tokenizer = "pretrieve"


@dataclass
class Analyzer:
    """Turns text into terms by an ``Analysis``.

    Attributes:
        analysis: how.
        detect: function from text to ISO 639-1 code; called only with several languages, and used if its result is one.
        stop_words: list of stop words of each language; default: those that ``analysis`` names.

    Raises:
        UsageError: no such list of stop words, or no such stemmer.
    """

    analysis: Analysis
    detect: Callable[[str], str] | None = None
    stop_words: Mapping[str, StopWords] | None = None
    _stems: dict[str, Callable[[str], str]] = field(default_factory=dict)
    _analysed: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)
    _asked: dict[str, list[str]] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.stop_words is None:
            self.stop_words = stop_word_lists(self.analysis.stop_words, self.analysis.languages)
        if self.analysis.stemmer not in ("auto", "none"):
            _check_stemmer(self.analysis.stemmer)
        self._pattern = PATTERNS[self.analysis.tokenizer]

    def __getstate__(self) -> dict[str, Any]:
        """Stemmers of C cannot be copied, and are made anew."""
        return {**self.__dict__, "_stems": {}, "_analysed": {}, "_asked": {}}

    @property
    def lists(self) -> Mapping[str, StopWords]:
        """The stop words of each language."""
        assert self.stop_words is not None
        return self.stop_words

    def describe(self) -> str:
        """Stop words and stemmers, as text: ``"stop words: english (169); stemmer: english"``."""
        names = list(dict.fromkeys(found.title for found in self.lists.values() if found.words))
        if not names and self.analysis.stop_words == "auto":
            names = [f"none (no list for {', '.join(self.analysis.languages)})"]
        stemmers = [self._stemmer_of(language) for language in self.analysis.languages]
        return f"stop words: {', '.join(names) or 'none'}; stemmer: {', '.join(dict.fromkeys(stemmers))}"

    def terms(self, text: str) -> list[str]:
        """Return the terms of a query in order, repeated as often as they occur.

        Stop words are left out, unless the query has no other words. A query is too short to detect its language: with
        several languages, each word gives its stems in all of them.
        """
        found = self._asked.get(text)
        if found is None:
            found = self._terms_of_query(text)
            if len(text) <= _SHORT:
                if len(self._asked) >= _ASKED:
                    self._asked.clear()
                self._asked[text] = found
        return list(found)

    def _terms_of_query(self, text: str) -> list[str]:
        if self.analysis.stop_documents:  # documents do not have them either
            return [term for word in self._words(text) for term in self._in_all(word)]
        words = [(word, self._in_all(word)) for word in content_words(text, self._pattern, self.lists)]
        kept = [term for word, terms in words for term in content_pairs(word, terms, self.lists)]
        return kept or [term for _, terms in words for term in terms]

    def bulk(self, texts: Iterable[str]) -> tuple[Rows, list[str]]:
        """Analyse many texts, each distinct word once.

        Returns:
            Ragged rows of term ids (R rows), and the terms in the order of their ids.
        """
        lexicon = Lexicon(self._analyse)
        tables = self._tables(lexicon)
        return lexicon.expand(Rows.of([self._numbers(text, tables) for text in texts])), lexicon.names

    def count(self, texts: Sequence[str], terms: Sequence[str]) -> tuple[IntArray, IntArray]:
        """Count some terms in R texts, without numbering all others.

        Returns:
            How often each text has each term, (R, T), and the numbers of all terms of the texts (R,).
        """
        number = {term: at for at, term in enumerate(terms)}
        heads = self._beginnings(terms)
        tables = {
            code: WordSizes(partial(self._analyse, language=code), number, heads) for code in self.analysis.languages
        }
        counts, lengths = np.zeros((len(texts), len(terms)), np.int64), np.zeros(len(texts), np.int64)
        for row, text in enumerate(texts):
            words, table = self._words(text), tables[self._language(text)]
            lengths[row] = sum([table[word] for word in words])
            for word, places in table.having.items():
                if often := words.count(word):
                    for at in places:  # a term may be there twice
                        counts[row, at] += often
        return counts, lengths

    def blocks(self, texts: Iterable[str], memory: int = MEMORY) -> Iterator[tuple[Rows, list[str]]]:
        """Analyse any number of texts, block by block.

        Args:
            texts: the texts.
            memory: bytes that the block and the table of distinct words take, roughly.

        Yields:
            Ragged rows of term ids, and the terms in the order of their ids. As long as the table lasts, blocks share
            one list, which grows; one that is full is given up for a new one.
        """
        lexicon, words, size = Lexicon(self._analyse), [], 0
        tables = self._tables(lexicon)
        for text in texts:
            words.append(self._numbers(text, tables))
            size += len(words[-1]) + 1
            full = len(lexicon.entries) * _WORD >= memory * 3 // 4
            if full or size * _TOKEN >= memory // 4:
                yield lexicon.expand(Rows.of(words)), lexicon.names
                words, size = [], 0
                if full:
                    lexicon = Lexicon(self._analyse)
                    tables = self._tables(lexicon)
        if words:
            yield lexicon.expand(Rows.of(words)), lexicon.names

    def sequences(self, text: str) -> list[list[str]]:
        """Return the terms of a text in order, as documents have them: for each language, stop words included."""
        words = self._words(text)
        found = (
            tuple(term for word in words for term in self._analyse(word, language))
            for language in self.analysis.languages
        )
        return [list(terms) for terms in dict.fromkeys(found)]

    def spans(self, text: str, terms: frozenset[str], known: dict[str, list[Span]] | None = None) -> list[Span]:
        """Return the spans of some terms in a text: (first, last + 1) characters, merged, in order.

        Args:
            text: the text.
            terms: the terms.
            known: spans in words that were seen before, for these terms; others that are seen join them.
        """
        found: list[Span] = []
        known, heads = {} if known is None else known, self._beginnings(terms)
        for match in self._pattern.finditer(text):
            own = known.get(word := match[0])
            if own is None:
                own = known[word] = [] if cannot_have(word, heads) else self._having(word, terms)
            if own:
                start = match.start()
                found += [(start + first, start + last) for first, last in own]
        return _merged(found)

    def _having(self, word: str, terms: frozenset[str]) -> list[Span]:
        """The spans in a word that have some of the terms: all of it, or two characters where words have no spaces."""
        spaceless = self.analysis.bigrams and len(word) > 2 and IS_SPACELESS.search(word)
        pieces = [(at, at + 2) for at in range(len(word) - 1)] if spaceless else [(0, len(word))]
        return [span for span in pieces if not terms.isdisjoint(self._in_all(word[span[0] : span[1]]))]

    def _beginnings(self, terms: Iterable[str]) -> frozenset[str]:
        """How plain words begin that may have some of the terms; empty: in any way."""
        stemmers = {self._stemmer_of(language) for language in self.analysis.languages}
        if self.analysis.stop_documents or not stemmers <= SAME_BEGINNING:
            return frozenset()
        return beginnings(frozenset(terms))

    def _tables(self, lexicon: Lexicon) -> dict[str, WordTable]:
        return {language: WordTable(lexicon, language) for language in self.analysis.languages}

    def _numbers(self, text: str, tables: Mapping[str, WordTable]) -> IntArray:
        """Numbers of the words of a text, by the table of its language."""
        table = tables[self._language(text)]
        return np.array([table[word] for word in self._words(text)], dtype=np.int64)

    def _words(self, text: str) -> list[str]:
        # bm25s lower-cases first; the lower case of a few letters has a mark that parts words
        return self._pattern.findall(text.lower() if self.analysis.tokenizer == "bm25s" else text)

    def _in_all(self, word: str) -> Sequence[str]:
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
            self._stems[language] = _stemmer(self._stemmer_of(language))
        return self._stems[language]

    def _stemmer_of(self, language: str) -> str:
        chosen = self.analysis.stemmer
        return STEMMERS.get(language, "none") if chosen == "auto" else chosen

    def _analyse(self, word: str, language: str) -> tuple[str, ...]:
        """The terms of a word; those of the latest words are kept, as the documents found share most of theirs.

        They are tuples: Python's garbage collection does not go through a tuple of strings again and again.
        """
        key = (word, language)
        found = self._analysed.get(key)
        if found is None:
            if len(self._analysed) >= _REMEMBERED:
                self._analysed.clear()
            found = self._analysed[key] = tuple(self._terms_of(word, language))
        return found

    def _terms_of(self, word: str, language: str) -> list[str]:
        stem = self._stem(language)
        if self.analysis.tokenizer != "pretrieve":
            word = POSSESSIVE.sub("", word) if self.analysis.tokenizer == "lucene" else word
            return [] if self._dropped(word, language) else [stem(word.lower())]
        if self._dropped(word, language):
            return []
        if is_plain(word):
            return [stem(word.lower())]  # what most words are, ahead of the general case
        found: list[str] = []
        for run in RUN.findall(unicodedata.normalize("NFKC", word)):
            if self.analysis.bigrams and IS_SPACELESS.match(run):
                found += [run[at : at + 2] for at in range(len(run) - 1)] or [run]
                continue
            run = run.replace(ZWJ, "")
            whole = run.strip("_").replace(ZWNJ, "")
            parts = [part for part in BORDER.split(run) if part] if self.analysis.split_identifiers else [whole]
            if whole:
                found.append(stem(whole.lower()))
            if len(parts) > 1:
                found += [stem(part.lower()) for part in parts]
        return found

    def _dropped(self, word: str, language: str) -> bool:
        return self.analysis.stop_documents and word.lower() in self.lists[language].words


def _stemmer(name: str) -> Callable[[str], str]:
    if name == "none":
        return str
    import Stemmer

    stem: Callable[[str], str] = Stemmer.Stemmer(name, 0).stemWord  # without its cache: every word comes once
    return stem


def _check_stemmer(name: str) -> None:
    import Stemmer

    known = Stemmer.algorithms(aliases=False)
    if name not in known:
        raise UsageError(f"unknown stemmer {name!r}.{suggest(name, ['auto', 'none', *known])}")


@lru_cache(maxsize=256)
def beginnings(terms: frozenset[str]) -> frozenset[str]:
    """The first two letters, or the one there is, of the plain words that ``SAME_BEGINNING`` may make such terms of.

    Args:
        terms: the terms; an empty one gives no beginnings: every word may be it.
    """
    found = set(CHANGED)
    for term in terms:
        head = "".join(unicodedata.normalize("NFD", letter)[0] for letter in term[:2])
        if not head:
            return frozenset()
        found |= {head, f"{head[0]}y"} if len(head) > 1 else {head, *(head + other for other in string.ascii_lowercase)}
    return frozenset(found | {head.title() for head in found} | {head.upper() for head in found})


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, stop in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged


def languages_of(texts: Iterable[str], detect: Callable[[str], str], share: float = 0.1) -> tuple[str, ...]:
    """Return the languages of a collection by a sample of its texts, most frequent first.

    A language with less than ``share`` of the sample is ignored as an error of the detector, as common with short texts
    and code.
    """
    counts = Counter(detect(text[:_DETECT]) for text in texts)
    total = counts.total()
    frequent = sorted(
        (code for code in counts if counts[code] >= share * total), key=lambda code: (-counts[code], code)
    )
    return tuple(frequent) or ("en",)
