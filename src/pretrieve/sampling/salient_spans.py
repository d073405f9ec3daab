"""Salient spans: the names, dates and quantities of a text, whose prediction needs world knowledge.

Guu et al., *REALM*, ICML 2020, masks named entities and dates, found by a tagger and by regular
expressions. Here rules find them (runs of capitalised words, dates, numbers with units), or spaCy where it is
installed. A vocabulary may have lost the capitals, so the documents' own text is read, which lies beside the store;
where it does not, or has nothing of the kind, rare words take the names' place.
"""

from __future__ import annotations

import importlib
import re
import sys
import weakref
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from pretrieve.core import files
from pretrieve.core.errors import UsageError
from pretrieve.core.types import BoolArray, IntArray
from pretrieve.sampling.spans import offsets_of
from pretrieve.text.documents import Documents
from pretrieve.text.encoding import pieces
from pretrieve.text.store import Store

CharSpans = list[tuple[int, int]]  # [start, stop) in characters, ascending
Tagger = Callable[[Sequence[str], Sequence[Sequence[int]]], list[CharSpans]]

_RARE_SHARE = 0.15  # of the tokens: about what named entities make up of running text
_SPACY_MODEL = "en_core_web_sm"
_SPACY_LABELS = frozenset({"CARDINAL", "ORDINAL"})  # left out: bare numbers are no knowledge
_MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_UNITS = (
    "%|percent|per cent|km|cm|mm|m|kg|mg|g|lb|lbs|s|ms|min|h|hours?|minutes?|seconds?|days?|weeks?|months?|years?|"
    "miles?|feet|meters?|metres?|kilometers?|kilometres?|grams?|kilograms?|tons?|tonnes?|litres?|liters?|mL|L|"
    "°C|°F|K|Hz|kHz|MHz|GHz|W|kW|MW|V|J|kJ|N|Pa|dollars?|euros?|pounds?|million|billion|trillion|MB|GB|KB"
)
_DATES = re.compile(
    rf"\b(?:\d{{4}}-\d{{2}}-\d{{2}}\b"
    rf"|(?:\d{{1,2}} )?(?:{_MONTHS})(?: \d{{1,2}}(?:st|nd|rd|th)?\b)?(?:,? \d{{4}}\b)?(?!\w)"
    rf"|(?:1\d|20)\d\ds?\b(?![.,]?\d)"
    rf"|\d[\d.,]*[  ]?(?:{_UNITS})(?!\w))|[$€£]\d[\d.,]*\d(?: (?:million|billion|trillion))?"
)
_JOINTS = "of the|of|de la|de|la|del|di|du|da|van der|van|von|der|den|bin|al"
# Words that are capitalised for other reasons than being a name: at the start of a sentence or a heading.
_STOP = frozenset(
    re.findall(
        r"\w+",
        """
        a an the this that these those it its he she they we i you his her their our my your who whom whose which what
        when where why how if then than as at by for from in into of off on onto out over to up with without within and
        or nor but so yet not no yes is are was were be been being am do does did has have had can could may might must
        shall should will would there here all any both each few many more most much other some such only own same one
        two three first second next last also although though because since while during after before until unless
        however therefore thus hence moreover furthermore about above across against along among around behind below
        between beyond despite under upon via per like unlike instead let note see figure table chapter section
        """,
    )
)


class SalientSpans(NamedTuple):
    """Salient spans of a store, by sentence.

    ``sentences`` (M,) is the sentence of each, ascending; ``starts`` and ``stops`` (M,) its tokens, absolute. ``by``
    says what found them: "rules", "spacy" or "rare words".
    """

    sentences: IntArray
    starts: IntArray
    stops: IntArray
    by: str


_found: weakref.WeakKeyDictionary[Store, dict[str, SalientSpans]] = weakref.WeakKeyDictionary()


def salient_spans(store: Store, tagger: str = "rules") -> SalientSpans:
    """Find the salient spans of all sentences, once a store; each lies in one sentence.

    Args:
        store: the documents; the ``Documents`` they came from are looked for beside it.
        tagger: "rules", "spacy", or "spacy:MODEL" with the name or folder of one of its models.

    Raises:
        UsageError: the tagger is unknown or not installed, or needs text that is not there.
    """
    known = _found.setdefault(store, {})
    if tagger not in known:
        known[tagger] = _find(store, tagger)
    return known[tagger]


def _find(store: Store, tagger: str) -> SalientSpans:
    find, documents = _tagger(tagger), _documents(store)
    if documents is not None:
        found = _by_sentence(store, *_tagged(store, documents, find), by=tagger.partition(":")[0])
        if len(found.starts):
            return found
    if tagger == "rules":  # no text, or one without capitals, dates and quantities
        return _by_sentence(store, *rare_words(store), by="rare words")
    raise UsageError(f"tagger={tagger}: there is no text that it finds anything in: take tagger=rules.")


def by_rules(texts: Sequence[str], sentences: Sequence[Sequence[int]]) -> list[CharSpans]:
    """Find dates, quantities and runs of capitalised words.

    A run loses the function words at its ends; a letter alone, or a whole line of capitalised words, is none. A single
    word at the start of a sentence counts only if the same text has it capitalised inside a sentence too. Languages
    that capitalise all nouns get those as well.

    Args:
        texts: of documents.
        sentences: of each text the characters at which its sentences start.
    """
    return [_rules(text, starts) for text, starts in zip(texts, sentences, strict=True)]


def rare_words(store: Store) -> tuple[IntArray, IntArray]:
    """Find runs of rare words by their ids alone: starts and stops in tokens, (M,) each.

    Words are counted by the documents that have them; the rarest that more than one document has, up to 15 % of all
    words, count as rare. Ours: a stand-in for names where there is no text.
    """
    tokens, bodies, ends = (np.asarray(values) for values in (store.tokens, store.bodies, store.ends))
    place = np.arange(len(tokens))
    owners = np.searchsorted(np.asarray(store.starts), place, side="right") - 1
    begins = np.asarray(store.word_starts)[tokens]
    begins[bodies] = True  # bodies are not empty
    first = np.flatnonzero(begins & (place >= bodies[owners]))
    last = np.minimum(np.append(first[1:], len(tokens)), ends[owners[first]])
    words = _word_keys(tokens, first, last)
    pairs = np.unique(np.stack([words, owners[first]], axis=1), axis=0)
    frequency = np.bincount(pairs[:, 0])[words]
    shared = np.sort(frequency[frequency > 1])
    rare = (frequency > 1) & (frequency <= (shared[int(len(shared) * _RARE_SHARE)] if len(shared) else 0))
    return _runs(first[rare], last[rare])


def _word_keys(tokens: IntArray, first: IntArray, last: IntArray) -> IntArray:
    """A number for each word (W,), the same for the same pieces in the same order."""
    lengths = last - first
    offsets = offsets_of(lengths)
    turn = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    values = tokens[turn + np.repeat(first, lengths)].astype(np.uint64) + np.uint64(1)
    mixed = values * np.uint64(0x9E3779B97F4A7C15) ** (turn.astype(np.uint64) + np.uint64(1))  # wraps around
    mixed ^= mixed >> np.uint64(29)
    keys = np.unique(np.add.reduceat(mixed, offsets[:-1]), return_inverse=True)[1]
    return np.asarray(keys, np.int64)


def _runs(first: IntArray, last: IntArray) -> tuple[IntArray, IntArray]:
    """Join spans that touch."""
    fresh = np.ones(len(first), np.bool_)
    fresh[1:] = first[1:] != last[:-1]
    where = np.flatnonzero(fresh)
    return first[where], last[np.append(where[1:], len(first)) - 1] if len(first) else last


def _by_sentence(store: Store, starts: IntArray, stops: IntArray, by: str) -> SalientSpans:
    """Keep the spans that lie in one sentence, in the order of sentences."""
    bounds = np.asarray(store.sentences)[:-1]
    sentences = np.searchsorted(bounds, starts, side="right") - 1
    whole: BoolArray = (np.searchsorted(bounds, stops - 1, side="right") - 1 == sentences) & (stops > starts)
    return SalientSpans(sentences[whole], starts[whole], stops[whole], by)


def _documents(store: Store) -> Documents | None:
    """The documents that the store was made of, where they lie beside it."""
    folder = store.path.parent / "documents"
    if not (folder / files.MANIFEST).is_file():
        return None
    documents = Documents.open(folder)
    return documents if documents.fingerprint == store.corpus else None


def _tagged(store: Store, documents: Documents, find: Tagger) -> tuple[IntArray, IntArray]:
    """Tag the text of all documents: starts and stops in tokens of the store, (M,) each."""
    starts: list[IntArray] = []
    stops: list[IntArray] = []
    at = 0
    for batch in documents.batches(512, np.asarray(store.origins)):
        texts, firsts, limits = _texts(store, [document.text for document in batch], at)
        encodings = store.tokenizer.backend.encode_batch(texts, add_special_tokens=False)
        offsets = [np.array(encoding.offsets, np.int64).reshape(-1, 2) for encoding in encodings]
        firsts += _before(offsets, limits)
        for first, spans, chars in zip(
            firsts.tolist(), find(texts, _sentence_chars(store, firsts, offsets)), offsets, strict=True
        ):
            found = np.array(spans, np.int64).reshape(-1, 2)
            starts.append(first + np.searchsorted(chars[:, 1], found[:, 0], side="right"))
            stops.append(first + np.searchsorted(chars[:, 0], found[:, 1], side="left"))
        at += len(batch)
    return np.concatenate(starts), np.concatenate(stops)


def _texts(store: Store, texts: list[str], at: int) -> tuple[list[str], IntArray, BoolArray]:
    """Pieces of texts, first token of the body of each one's document, and whether it begins a document."""
    parts = [pieces(text) for text in texts]
    counts = np.array([len(part) for part in parts])
    bodies = np.asarray(store.bodies)[at : at + len(texts)]
    begins = np.zeros(int(counts.sum()), np.bool_)
    begins[np.cumsum(counts) - counts] = True
    return [piece for part in parts for piece in part], np.repeat(bodies, counts), begins


def _before(offsets: Sequence[IntArray], begins: BoolArray) -> IntArray:
    """Tokens of a document before each of its pieces."""
    sizes = np.array([len(part) for part in offsets])
    before = np.cumsum(sizes) - sizes
    within: IntArray = before - before[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return within


def _sentence_chars(store: Store, firsts: IntArray, offsets: Sequence[IntArray]) -> list[list[int]]:
    """The characters at which the sentences of each text start."""
    sentences = np.asarray(store.sentences)[:-1]
    sizes = np.array([len(part) for part in offsets])
    low, high = np.searchsorted(sentences, firsts), np.searchsorted(sentences, firsts + sizes)
    return [
        chars[sentences[a:b] - first, 0].tolist()
        for chars, first, a, b in zip(offsets, firsts.tolist(), low.tolist(), high.tolist(), strict=True)
    ]


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Runs of capitalised words in any script that has capitals, and their words."""
    upper = "".join(chr(code) for code in range(0x41, min(sys.maxunicode, 0xFFFF)) if chr(code).isupper())
    word = rf"(?:(?:[{upper}]\.)+|[{upper}][\w&-]*(?:['’](?!s\b)\w+)*)"
    return re.compile(rf"(?<![\w.]){word}(?: (?:(?:{_JOINTS}) )?{word})*"), re.compile(r"\S+")


def _rules(text: str, sentences: Sequence[int]) -> CharSpans:
    dates = [match.span() for match in _DATES.finditer(text)]
    stops = [stop for _, stop in dates]
    run, word = _patterns()
    inside: set[str] = set()
    unsure: dict[tuple[int, int], str] = {}
    spans: CharSpans = []
    for match in run.finditer(text):
        initial = _begins_sentence(text, match.start(), sentences)
        if initial and text[match.end() : match.end() + 1] in ("", "\n"):
            continue  # a heading
        words = [found.span() for found in word.finditer(text, *match.span())]
        if not initial:
            inside.update(text[slice(*piece)] for piece in words)
        while words and text[slice(*words[0])].lower() in _STOP:
            words.pop(0)
            initial = False
        while words and text[slice(*words[-1])].lower() in _STOP:
            words.pop()
        if not words or words[-1][1] - words[0][0] == 1:
            continue  # nothing, or a letter
        span = words[0][0], words[-1][1]
        date = bisect_right(stops, span[0])
        if date < len(dates) and dates[date][0] < span[1]:
            continue  # the month of a date
        if initial and len(words) == 1:
            unsure[span] = text[slice(*span)]
        else:
            spans.append(span)
    return sorted([*dates, *spans, *(span for span, name in unsure.items() if name in inside)])


def _begins_sentence(text: str, position: int, sentences: Sequence[int]) -> bool:
    """Whether nothing but marks stands between the start of a sentence or line and a position."""
    before = bisect_right(sentences, position) - 1
    start = sentences[before] if before >= 0 else 0
    start = max(start, text.rfind("\n", start, position) + 1)
    return position - start < 8 and not any(character.isalnum() for character in text[start:position])


def _tagger(name: str) -> Tagger:
    """The tagger of a name.

    Raises:
        UsageError: there is none, or it is not installed.
    """
    if name == "rules":
        return by_rules
    kind, _, model = name.partition(":")
    if kind != "spacy":
        raise UsageError(f"tagger={name}: there are rules, spacy, and spacy:MODEL.")
    model = model or _SPACY_MODEL
    try:
        language: Any = importlib.import_module("spacy").load(model, exclude=["lemmatizer", "parser"])
    except ModuleNotFoundError:
        raise UsageError("tagger=spacy: spaCy is not installed: pip install spacy, or take tagger=rules.") from None
    except OSError:
        raise UsageError(
            f"tagger=spacy: its model {model} is not installed: python -m spacy download {model}, or take tagger=rules."
        ) from None
    return lambda texts, sentences: [
        [(found.start_char, found.end_char) for found in document.ents if found.label_ not in _SPACY_LABELS]
        for document in language.pipe(texts)
    ]
