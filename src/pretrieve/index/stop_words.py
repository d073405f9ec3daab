"""Stop words: which words of a query BM25 leaves out, by language.

The idf of BM25 gives little to words that are frequent in documents. It gives much to "how", "do" or "which" where
documents do not ask questions: commands, code, abstracts. A list repairs that.

* Lists come from two libraries: those of bm25s (MIT; the lists of NLTK, made from Snowball's) where it has the
  language, else those of ``stop-words`` (BSD-3-Clause). bm25s goes first because the English list of ``stop-words`` has
  1,333 entries, among them "system" and "text", and its Turkish one is damaged.
* These lists were made for documents, and most lack the interrogatives that begin a query: ``_ADDED`` has them, and
  the forms of pronouns that the Russian list leaves out.
* A piece of a contraction is a stop word beside an apostrophe only: the "won" of "won't", the "d" of "you'd", but
  not "who won" or "vitamin d".
* Where words have no spaces, terms are pairs of characters, and no pair is in a list. In Chinese and Japanese, a pair
  that holds a particle or an interrogative is left out: ``_SIGNS``.

Figures are in ``records/lexical``. An index keeps its list: searching imports neither library.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pretrieve.core.disk import storage
from pretrieve.core.errors import DataError, UsageError, suggest

_LUCENE = (  # EnglishAnalyzer.ENGLISH_STOP_WORDS_SET of Lucene 9
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this "
    "to was will with"
)

_LANGUAGES = {
    "ar": "arabic", "bg": "bulgarian", "ca": "catalan", "cs": "czech", "da": "danish", "de": "german", "el": "greek",
    "en": "english", "es": "spanish", "fa": "persian", "fi": "finnish", "fr": "french", "gu": "gujarati",
    "he": "hebrew", "hi": "hindi", "hu": "hungarian", "id": "indonesian", "it": "italian", "ja": "japanese",
    "ko": "korean", "ms": "malaysian", "nb": "norwegian", "nl": "dutch", "nn": "norwegian", "no": "norwegian",
    "pl": "polish", "pt": "portuguese", "ro": "romanian", "ru": "russian", "sk": "slovak", "sv": "swedish",
    "tr": "turkish", "uk": "ukrainian", "vi": "vietnamese", "zh": "chinese",
}  # fmt: skip
_OF_BM25S = {
    "danish", "dutch", "french", "german", "italian", "norwegian", "portuguese", "russian", "spanish", "swedish",
    "turkish",
}  # fmt: skip
_ADDED = {
    "catalan": "què que qui quin quina quins quines quan on com quant quanta quants quantes",
    "czech": "kdo co který která které kde kdy jak proč kolik čí kam jaký jaká jaké",
    "danish": "hvem hvad hvilken hvilket hvilke hvor hvornår hvordan hvorfor hvis",
    "dutch": "wie wat welk welke waar wanneer hoe waarom hoeveel wiens",
    "finnish": "kuka mikä mitä mitkä missä mistä mihin milloin miten miksi kuinka kumpi kenen ketkä",
    "french": "qui que quoi quel quelle quels quelles quand où comment pourquoi combien lequel laquelle lesquels "
    "lesquelles",
    "german": "wer wen wem wessen was welche welcher welches welchem welchen wo wohin woher wann wie warum wieso "
    "weshalb wieviel",
    "hungarian": "ki mi kik mik melyik hol hova honnan mikor hogyan miért mennyi hány milyen",
    "italian": "chi che cosa quale quali quando dove come perché quanto quanta quanti quante",
    "norwegian": "hvem hva hvilken hvilket hvilke hvor når hvordan hvorfor",
    "polish": "kto co który która które gdzie kiedy jak dlaczego ile czyj jaki jaka jakie",
    "portuguese": "quem que quê qual quais quando onde como porque quanto quanta quantos quantas",
    "romanian": "cine ce care când unde cum de câți câte cât câtă",
    "russian": "кто что какой какая какое какие где когда куда откуда как почему зачем сколько чей чья который которая "
    "которое которые которого которой которых это эта эти этих этим этими эту та те тех также весь вся всё её ещё",
    "spanish": "quién quiénes qué cuál cuáles cuándo dónde cómo cuánto cuánta cuántos cuántas",
    "swedish": "vem vad vilken vilket vilka var när hur varför vems",
    "turkish": "kim ne hangi nerede nereye nereden zaman nasıl neden niçin niye kaç kimin",
    "ukrainian": "хто що який яка яке які де коли куди звідки як чому навіщо скільки чий",
}  # fmt: skip
_EVIDENCE = 2  # stop words of a language in a query, to take it for the query's language
_SIGNS = {
    "chinese": "的了是在有和与與及或之其于於以为為也都而被从從到对對吗嗎呢什么麼哪谁誰何怎几幾",
    "japanese": "をはがのにでともへや",
}
_ELIDING = frozenset({"english", "french", "italian", "catalan"})  # their consonants stand beside an apostrophe
_LOOSE = frozenset({"ma", "o", "y"})  # English pieces of ma'am, o'clock, y'all
_APOSTROPHE = re.compile("['\u2019\u02bc\uff07]")
_AROUND = ' \t\ufeff",'  # around entries of a few published lists (Hebrew, Slovak)
_HIRAGANA = re.compile("[\u3041-\u309f]")
_WORD = re.compile(r"\w[\w\u0300-\u036f\u0900-\u097f]*")


@dataclass(frozen=True, kw_only=True)
class StopWords:
    """A list of stop words.

    Attributes:
        name: of the list, for people: ``"english"``, ``"lucene"``, ``"none"`` or a file's name.
        words: in lower case.
        clitics: pieces of contractions, stop words beside an apostrophe only.
        signs: characters of a script without spaces; a pair that holds one of them is a stop word.
    """

    name: str = "none"
    words: frozenset[str] = frozenset()
    clitics: frozenset[str] = frozenset()
    signs: frozenset[str] = frozenset()

    @staticmethod
    def of(name: str, entries: Iterable[str], *, eliding: bool = False) -> StopWords:
        """Make a list of entries such as ``"the"`` and ``"don't"``.

        Args:
            name: for people.
            entries: words, in any case; what has an apostrophe is a contraction, what has other signs is left out.
            eliding: one-letter consonants are pieces of contractions in this language.
        """
        plain = {_APOSTROPHE.sub("'", entry).strip(_AROUND).lower() for entry in entries}
        clitics = {piece for entry in plain if "'" in entry for piece in _pieces(entry)}
        words = {entry for entry in plain if _WORD.fullmatch(entry)}
        clitics |= {word for word in words if eliding and re.fullmatch("[b-df-hj-np-tv-xz]", word)}
        return StopWords(name=name, words=frozenset(words - clitics), clitics=frozenset(clitics))

    @property
    def title(self) -> str:
        """Name and number of words: ``"english (179)"``."""
        size = len(self.words) + len(self.clitics) + len(self.signs)
        return f"{self.name} ({size})" if size else "none"

    def holds(self, text: str, match: re.Match[str]) -> bool:
        """Whether a word of a query is a stop word where it stands.

        Args:
            text: the query.
            match: the word in it.
        """
        word = unicodedata.normalize("NFKC", match[0]).lower()
        if word in self.words:
            return not _is_name(text, match)
        beside = f"{text[match.start() - 1 : match.start()]}{text[match.end() : match.end() + 1]}"
        return word in self.clitics and _APOSTROPHE.search(beside) is not None

    def facts(self) -> dict[str, Any]:
        """As JSON."""
        sets = {"words": self.words, "clitics": self.clitics, "signs": self.signs}
        return {"name": self.name, **{name: sorted(found) for name, found in sets.items()}}

    @staticmethod
    def from_facts(facts: Mapping[str, Any]) -> StopWords:
        """Read what ``facts`` gave."""
        sets = {name: frozenset(facts[name]) for name in ("words", "clitics", "signs")}
        return StopWords(name=facts["name"], **sets)


def stop_words(choice: str, language: str) -> StopWords:
    """Return the stop words of a language.

    Args:
        choice: ``"auto"`` for the language's own list, ``"none"``, ``"lucene"`` for the 33 words of Lucene's
            EnglishAnalyzer, the name or ISO 639-1 code of a language, or a file with one word a line.
        language: ISO 639-1 code of the collection's language.

    Returns:
        The list; empty where there is none for the language.

    Raises:
        UsageError: no such list or file.
        DataError: the file is not UTF-8.
    """
    if choice == "auto":
        return _of_language(_LANGUAGES.get(language))
    if choice == "none":
        return StopWords()
    if choice == "lucene":
        return StopWords.of("lucene", _LUCENE.split())
    if choice in _LANGUAGES or choice in _LANGUAGES.values():
        return _of_language(_LANGUAGES.get(choice, choice))
    if not Path(choice).is_file():
        known = ["auto", "none", "lucene", *sorted(set(_LANGUAGES.values()))]
        raise UsageError(f"unknown list of stop words, and no such file: {choice!r}.{suggest(choice, known)}")
    return _of_file(Path(choice))


def stop_word_lists(choice: str, languages: Sequence[str]) -> dict[str, StopWords]:
    """Return the stop words of each language, by its code; see ``stop_words``.

    Raises:
        UsageError: no such list or file.
        DataError: the file is not UTF-8.
    """
    return {language: stop_words(choice, language) for language in languages}


def content_words(text: str, words: re.Pattern[str], lists: Mapping[str, StopWords]) -> list[str]:
    """Return the words of a query without its stop words; all of them where it has no others ("who are you").

    A collection in several languages has queries in several, and a word may be a stop word in one of them only ("die",
    "man"). The languages with the most stop words in the query are taken for its own, if that are two at least; a word
    is left out if it is a stop word in all of these, or without them in all languages.

    Args:
        text: the query.
        words: pattern of a word.
        lists: stop words by language.
    """
    found = list(words.finditer(text))
    known = [entry for entry in lists.values() if entry.words]
    marks = [[entry.holds(text, match) for match in found] for entry in known]
    most = max(map(sum, marks), default=0)
    own = [row for row in marks if sum(row) == most] if most >= _EVIDENCE else marks
    kept = [match[0] for place, match in enumerate(found) if not own or not all(row[place] for row in own)]
    return kept or [match[0] for match in found]


def content_pairs(word: str, terms: Sequence[str], lists: Mapping[str, StopWords]) -> list[str]:
    """Return the terms of a word of a query without pairs of characters that hold a particle.

    Two characters between spaces are a word that was meant. A word with hiragana is Japanese, where Chinese particles
    are parts of words.

    Args:
        word: the word; in scripts without spaces, a phrase.
        terms: of it.
        lists: stop words by language.
    """
    signs = frozenset[str]().union(*(entry.signs for entry in lists.values()))
    if not signs or len(word) < 3:
        return list(terms)
    if _HIRAGANA.search(word):
        signs = frozenset(sign for sign in signs if _HIRAGANA.match(sign))
    return [term for term in terms if len(term) != 2 or signs.isdisjoint(term)]


def _is_name(text: str, match: re.Match[str]) -> bool:
    """Whether a word is in capitals where the query is not: WHO, IT, US, vitamin A; "I" and a first "A" are not."""
    word = match[0]
    if not word.isupper() or text.isupper():
        return False
    return len(word) > 1 or (word != "I" and bool(text[: match.start()].strip()))


def _of_file(path: Path) -> StopWords:
    try:
        with storage(path):
            lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8; a list of stop words has one word a line.") from None
    return StopWords.of(path.name, [line for line in lines if line.strip() and not line.startswith("#")])


def _of_language(name: str | None) -> StopWords:
    if name is None:
        return StopWords()
    entries = [*_library(name), *_ADDED.get(name, "").split()]
    found = StopWords.of(name, entries, eliding=name in _ELIDING)
    return replace(found, signs=frozenset(_SIGNS.get(name, "")))


def _library(name: str) -> Sequence[str]:
    if name == "english" or name in _OF_BM25S:
        from bm25s import stopwords

        if name == "english":
            return [word for word in stopwords.STOPWORDS_EN_PLUS if word not in _LOOSE]
        found: Sequence[str] = getattr(stopwords, f"STOPWORDS_{name.upper()}")
        return found
    from stop_words import get_stop_words

    return list(get_stop_words(name))


def _pieces(contraction: str) -> set[str]:
    """Pieces that are no words of their own: ``t`` and ``don`` of ``don't``, ``ll`` of ``we'll``, ``l`` of ``l'``."""
    first, _, last = contraction.partition("'")
    pieces = {last} if last else {first}
    if last == "t" and first.endswith("n"):
        pieces.add(first)
    return pieces
