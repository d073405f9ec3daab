"""Documents to token ids, with the token where each sentence begins: the inner loop of preparing a corpus.

Almost all time is spent in the tokenizer; the code around it takes a few operations per document. Sentence starts
come from the tokenizer's character offsets, by bisection.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise
from operator import itemgetter
from typing import Any

import numpy as np

from pretrieve.core.types import Document, IntArray
from pretrieve.text.sentences import sentence_starts
from pretrieve.text.tokenizer import Tokenizer

_PIECE = 1 << 16  # characters encoded in one go: bounds the memory of an encoding (some 150 bytes a token)
_GROUP = 1 << 20  # characters given to the tokenizer at once, so that all its threads have work
_CHARACTERS = 6  # of a token and the space after it, roughly
_BLANK = re.compile(r"[ \t\n\r]+")  # part words everywhere: BERT drops the control characters that Python calls white
_WORD = re.compile(r"[^\W_][^ \t\n\r]*")  # from a word's first letter or digit to its end
_end_of = itemgetter(1)


@dataclass(frozen=True, slots=True)
class EncodedDocuments:
    """Some documents as token ids laid end to end, titles before bodies.

    Attributes:
        tokens: (S,).
        titles: tokens in the title of each document, (n,).
        bodies: tokens in the body of each document, (n,).
        sentences: start of every sentence, (m,), in tokens from the first of these documents.
        sentence_counts: sentences of each document, (n,).
    """

    tokens: IntArray
    titles: IntArray
    bodies: IntArray
    sentences: IntArray
    sentence_counts: IntArray


def encode(documents: Sequence[Document], tokenizer: Tokenizer, *, sentences: bool) -> EncodedDocuments:
    """Encode titles and bodies without special tokens; a body that gives no token leaves its document with none.

    Args:
        documents: n documents.
        tokenizer: tokenizer of the texts.
        sentences: find the sentences of bodies, by the rules of the language that ``group`` names, if it does.
    """
    texts: list[str] = []
    languages: list[str | None] = []  # None: no sentences for this text
    owners: list[int] = []
    for index, document in enumerate(documents):
        parts = pieces(document.text)
        texts += [document.title, *parts]
        languages += [None, *([document.group if sentences else None] * len(parts))]
        owners += [index] * (len(parts) + 1)
    tokens, lengths, starts = _encode_texts(texts, languages, tokenizer)
    return _by_document(tokens, lengths, starts, np.asarray(owners, dtype=np.int64), len(documents))


def pieces(text: str, size: int = _PIECE) -> list[str]:
    """Cut a long text before a white space, so that encoding the pieces gives the tokens of the whole.

    Args:
        text: any text; most are shorter than ``size`` and stay whole.
        size: most characters of a piece; where no white space is near, the cut is hard.
    """
    if len(text) <= size:
        return [text]
    parts, start = [], 0
    while len(text) - start > size:
        window = text[start : start + size]
        cut = max(window.rfind("\n", size // 2), -1)
        cut = cut if cut > 0 else window.rfind(" ", size // 2)
        end = start + (cut if cut > 0 else size)
        parts.append(text[start:end])
        start = end
    return [*parts, text[start:]]


def first_words(text: str, tokens: int) -> str:
    """The opening of a text, cut before a white space, that has at least so many tokens; the whole where it is short.

    A model reads no more than its longest row: what follows need not be cut into tokens. A word with a letter or digit
    is at least one token, and no token holds a white space and what follows, so the opening's first tokens are the
    whole's.

    Args:
        text: any text.
        tokens: minimum number of tokens.
    """
    if len(text) <= _CHARACTERS * tokens:  # little to win
        return text
    most = tokens + tokens // 4  # some may hold no letter
    cut = next(islice(_BLANK.finditer(text), most - 1, None), None)
    if cut is None:
        return text
    opening = text[: cut.start()]
    return opening if len(_WORD.findall(opening)) >= tokens else text


def _encode_texts(
    texts: list[str], languages: list[str | None], tokenizer: Tokenizer
) -> tuple[IntArray, IntArray, list[list[int]]]:
    """Ids end to end (S,), tokens of each text, and of each text the tokens at which its sentences start."""
    tokens: list[IntArray] = []
    lengths: list[int] = []
    starts: list[list[int]] = []
    for first, last in _groups(texts):
        group_texts, group_languages = texts[first:last], languages[first:last]
        if all(language is None for language in group_languages):
            encodings = tokenizer.backend.encode_batch_fast(group_texts, add_special_tokens=False)
            starts += [[]] * len(group_texts)
        else:
            encodings = tokenizer.backend.encode_batch(group_texts, add_special_tokens=False)
            starts += map(_sentence_tokens, group_texts, group_languages, encodings)
        ids = [encoding.ids for encoding in encodings]
        lengths += map(len, ids)
        tokens.append(np.fromiter(chain.from_iterable(ids), np.uint32))
    return np.concatenate(tokens), np.asarray(lengths, dtype=np.int64), starts


def _groups(texts: list[str]) -> list[tuple[int, int]]:
    ends = list(accumulate(map(len, texts)))
    cuts = sorted({bisect_right(ends, limit) for limit in range(_GROUP, ends[-1], _GROUP)} | {0, len(texts)})
    return [(first, last) for first, last in pairwise(cuts) if first < last]


def _sentence_tokens(text: str, language: str | None, encoding: Any) -> list[int]:
    """The first token of each sentence: the first whose characters end after the sentence's first character."""
    if language is None:
        return []
    positions = sentence_starts(text, language)
    if len(positions) < 2:
        return [0]
    offsets = encoding.offsets
    found = [bisect_right(offsets, position, key=_end_of) for position in positions[1:]]
    return sorted({0, *(token for token in found if token < len(offsets))})


def _by_document(
    tokens: IntArray, lengths: IntArray, starts: list[list[int]], owners: IntArray, count: int
) -> EncodedDocuments:
    is_title = np.diff(owners, prepend=-1) > 0
    titles = lengths[is_title]
    bodies = np.bincount(owners, lengths, count).astype(np.int64) - titles
    kept = bodies > 0
    if not kept.all():  # rare: a text of nothing but characters that the tokenizer removes
        keep_text = kept[owners]
        tokens = tokens[np.repeat(keep_text, lengths)]
        lengths = np.where(keep_text, lengths, 0)
        starts = [found if length else [] for found, length in zip(starts, lengths.tolist(), strict=True)]
    firsts = np.cumsum(lengths) - lengths
    number = np.asarray([len(found) for found in starts], dtype=np.int64)
    sentences = np.fromiter(chain.from_iterable(starts), np.int64) + np.repeat(firsts, number)
    return EncodedDocuments(
        tokens, np.where(kept, titles, 0), bodies, sentences, np.bincount(owners, number, count).astype(np.int64)
    )
