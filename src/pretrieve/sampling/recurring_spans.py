"""Spans that recur in a document: n-grams of words that stand in more than one of its passages.

Ram et al., *Learning to retrieve passages without supervision* (Spider), NAACL 2022, arXiv 2112.07708.

Found once, in blocks of documents, with sorts of hashes: an n-gram can only recur if its two (n-1)-grams do, so each
length looks at what the one before has left. Equal hashes of 64 bits are taken for equal words: in a block of a
million words the chance of a mistake is below one in ten million.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pretrieve.core.rng import generator
from pretrieve.core.types import BoolArray, IntArray
from pretrieve.sampling.items import TokenStore
from pretrieve.sampling.spans import lay_out, offsets_of

_BLOCK = 1 << 20  # tokens looked at at a time, and so the memory: about 100 bytes a token
_FEWEST = 3  # passages of a document: two with the span and one without


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a recurring span is.

    Attributes:
        passage: words of a passage; what is left at the end of a document is dropped.
        shortest: words of the shortest span.
        longest: words of the longest span.
        tokens: most tokens of a span.
        stop_words: a span neither begins nor ends with one of so many most frequent words, or of the most frequent
            hundredth of the words where that is fewer. Only words of one token are counted: in any vocabulary made
            from text the most frequent words are such.
    """

    passage: int = 100
    shortest: int = 2
    longest: int = 10
    tokens: int = 25
    stop_words: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """Passages of n documents, and the spans that recur in them; positions are absolute in the store's tokens.

    Attributes:
        starts: (P,) first token of each passage.
        stops: (P,) one past its last token.
        document_passages: (n+1,) first passage of each document, and P; none of one with fewer than three.
        document_spans: (n+1,) first span of each document, and G.
        lengths: (G,) tokens of each span.
        span_places: (G+1,) first place of each span; a span has a place in each passage that it stands in.
        places: (K,) first token of the span where it stands first in a passage.
        passages: (K,) that passage.
    """

    starts: IntArray
    stops: IntArray
    document_passages: IntArray
    document_spans: IntArray
    lengths: IntArray
    span_places: IntArray
    places: IntArray
    passages: IntArray


class _Words(NamedTuple):
    """Words with a letter or digit of a block, (W,): their tokens, ``hashes``, ``documents``, whether frequent."""

    starts: IntArray
    stops: IntArray
    hashes: IntArray
    documents: IntArray
    frequent: BoolArray


class _Spans(NamedTuple):
    """Spans of a block: ``documents``, ``lengths`` and ``counts`` of places (G,); ``places``, ``passages`` (K,)."""

    documents: IntArray
    lengths: IntArray
    counts: IntArray
    places: IntArray
    passages: IntArray


def find(store: TokenStore, rule: Rule, block: int = _BLOCK) -> Recurring:
    """Find the recurring spans of every document.

    Passages are cut at words; words are told apart by ``word_starts``, and signs without a letter or digit are none.
    A span lies inside a passage, has no sign between its words, and stands in at least two passages of its document,
    but not in all: one is left as a passage without it. A span is left out where every place that it stands in lies
    inside a longer span.

    Args:
        store: the documents.
        rule: what a span is.
        block: tokens looked at at a time (whole documents).
    """
    reader = _Reader(store, rule)
    starts, stops, counts, spans = [], [], [], []
    seen = 0
    for first, last in _blocks(np.asarray(store.ends), block):
        words = reader.words(first, last)
        own = _passages(words, last - first, np.asarray(store.ends)[first:last], rule.passage)
        found = _spans(words, own, rule)
        starts.append(own.starts)
        stops.append(own.stops)
        counts.append(np.diff(own.first))
        spans.append(found._replace(documents=found.documents + first, passages=found.passages + seen))
        seen += len(own.starts)
    every = _Spans(*(np.concatenate([np.zeros(0, np.int64), *parts]) for parts in zip(*spans, strict=True)))
    return Recurring(
        starts=np.concatenate(starts),
        stops=np.concatenate(stops),
        document_passages=offsets_of(np.concatenate(counts)),
        document_spans=offsets_of(np.bincount(every.documents, minlength=len(store.starts))),
        lengths=every.lengths,
        span_places=offsets_of(every.counts),
        places=every.places,
        passages=every.passages,
    )


class _Reader:
    """Reads the words of documents; knows the frequent ones."""

    def __init__(self, store: TokenStore, rule: Rule) -> None:
        self._tokens, self._starts = np.asarray(store.tokens), np.asarray(store.starts)
        self._bodies, self._ends = np.asarray(store.bodies), np.asarray(store.ends)
        self._begins, self._lettered = np.asarray(store.word_starts), np.asarray(store.lettered)
        draws = generator(0, "recurring")
        self._table = draws.integers(0, 1 << 64, size=len(self._begins), dtype=np.uint64)
        self._powers = _powers(int(draws.integers(1 << 62)) * 2 + 1, 32)
        self._frequent = self._most_frequent(rule.stop_words)

    def words(self, first: int, last: int) -> _Words:
        """The words of the bodies of documents ``first`` to ``last``, numbered from 0."""
        low, high = int(self._bodies[first]), int(self._ends[last - 1])
        ids = np.asarray(self._tokens[low:high])
        begins = self._begins[ids]
        begins[self._bodies[first:last] - low] = True
        begins[self._starts[first + 1 : last] - low] = True
        where = np.flatnonzero(begins)
        sizes = np.diff(where, append=len(ids))
        documents = np.searchsorted(self._bodies[first:last], where + low, side="right") - 1
        is_word = np.logical_or.reduceat(self._lettered[ids], where)
        is_word &= where + low < self._ends[first:last][documents]  # not a title
        places = np.arange(len(ids)) - np.repeat(where, sizes)
        hashes = np.add.reduceat(self._table[ids] * self._powers[places % len(self._powers)], where)
        frequent = self._frequent[ids[where]] & (sizes == 1)
        starts, sizes = where[is_word] + low, sizes[is_word]
        return _Words(starts, starts + sizes, hashes[is_word], documents[is_word], frequent[is_word])

    def _most_frequent(self, limit: int) -> BoolArray:
        """Ids (vocabulary,) of the most frequent words of one token."""
        counts = np.zeros(len(self._begins), np.int64)
        for low in range(0, len(self._tokens), _BLOCK):
            ids = np.asarray(self._tokens[low : low + _BLOCK + 1])
            begins = self._begins[ids]
            counts += np.bincount(ids[:-1][begins[:-1] & begins[1:]], minlength=len(counts))
        counts[~self._lettered] = 0
        chosen = np.argsort(-counts, kind="stable")[: min(limit, np.count_nonzero(counts) // 100)]
        frequent = np.zeros(len(counts), np.bool_)
        frequent[chosen] = True
        return frequent


class _Passages(NamedTuple):
    """Passages of a block: ``starts`` and ``stops`` (P,), ``first`` (documents + 1,), ``owner`` (W,), -1 for none."""

    starts: IntArray
    stops: IntArray
    first: IntArray
    owner: IntArray


def _passages(words: _Words, documents: int, ends: IntArray, size: int) -> _Passages:
    counts = np.bincount(words.documents, minlength=documents)
    first_word = offsets_of(counts)[:-1]
    full = counts // size
    full[full < _FEWEST] = 0
    first = offsets_of(full)
    number = (np.arange(len(words.starts)) - first_word[words.documents]) // size
    owner = np.where(number < full[words.documents], first[:-1][words.documents] + number, -1)
    begin = np.flatnonzero(np.diff(owner, prepend=-1) * (owner >= 0))
    after = begin + size
    of = words.documents[begin]
    within = after < (first_word + counts)[of]
    stops = np.where(within, words.starts[np.where(within, after, 0)], ends[of]) if len(begin) else begin
    return _Passages(words.starts[begin], stops, first, owner)


def _spans(words: _Words, passages: _Passages, rule: Rule) -> _Spans:
    """The usable spans of a block, in order of document, first place and length."""
    covered = np.zeros(len(words.starts), np.int64)  # where the longest of the longer spans that begin here ends
    found: list[_Spans] = []
    for size, where, groups in reversed(list(_recurring(words, passages, rule))):
        tokens = words.stops[where + size - 1] - words.starts[where]
        ends_well = ~words.frequent[where] & ~words.frequent[where + size - 1] & (tokens <= rule.tokens)
        where, groups = where[ends_well], groups[ends_well]
        inside = np.maximum.accumulate(covered)[where] >= where + size
        maximal = np.zeros(int(groups.max(initial=-1)) + 1, np.bool_)
        maximal[groups[~inside]] = True
        found.append(_placed(words, passages, size, where[maximal[groups]], groups[maximal[groups]]))
        covered[where] = np.maximum(covered[where], where + size)
    if not found:
        none = np.zeros(0, np.int64)
        return _Spans(none, none, none, none, none)
    every = _Spans(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    firsts = offsets_of(every.counts)[:-1]
    order = np.lexsort((every.lengths, every.places[firsts], every.documents))
    counts = every.counts[order]
    places = lay_out(firsts[order, None], counts[:, None]).values
    return _Spans(every.documents[order], every.lengths[order], counts, every.places[places], every.passages[places])


def _recurring(words: _Words, passages: _Passages, rule: Rule) -> Iterator[tuple[int, IntArray, IntArray]]:
    """For each length: first words (M,), ascending, and groups (M,) of the n-grams in two passages or more."""
    owner = passages.owner
    broken = np.flatnonzero((words.stops[:-1] != words.starts[1:]) | (owner[:-1] != owner[1:])) + 1
    edges = np.concatenate([[0], broken, [len(owner)]])
    room = np.repeat(edges[1:], np.diff(edges)) - np.arange(len(owner))  # words up to the next sign or passage
    salts = generator(0, "recurring/document").integers(1, 1 << 63, dtype=np.uint64) * words.documents.astype(np.uint64)
    powers = _powers(int(generator(0, "recurring/word").integers(1 << 62)) * 2 + 1, rule.longest)
    where = np.flatnonzero((room >= rule.shortest) & (owner >= 0))
    hashes = salts[where]
    for place in range(rule.shortest):
        hashes += words.hashes[where + place] * powers[place]
    for size in range(rule.shortest, rule.longest + 1):
        recurs, groups = _repeated(hashes, owner[where])
        where, hashes = where[recurs], hashes[recurs]
        if not len(where):
            return
        yield size, where, groups[recurs]
        if size < rule.longest:
            longer = np.flatnonzero((np.diff(where) == 1) & (room[where[:-1]] > size))
            where = where[longer]
            hashes = hashes[longer] + words.hashes[where + size] * powers[size]


def _repeated(hashes: IntArray, owner: IntArray) -> tuple[BoolArray, IntArray]:
    """Which hashes (M,) stand in two passages or more, and the group (M,) of each of them."""
    recurs, groups = np.zeros(len(hashes), np.bool_), np.zeros(len(hashes), np.int64)
    if len(hashes) < 2:
        return recurs, groups
    order = np.argsort(hashes)
    same = hashes[order[1:]] == hashes[order[:-1]]
    twice = np.append(same, False) | np.append(False, same)
    begins = np.flatnonzero(~np.append(False, same)[twice])
    order = order[twice]
    if not len(order):
        return recurs, groups
    inside = owner[order]
    several = np.minimum.reduceat(inside, begins) < np.maximum.reduceat(inside, begins)
    sizes = np.diff(begins, append=len(order))
    recurs[order] = np.repeat(several, sizes)
    groups[order] = np.repeat(np.arange(len(begins)), sizes)
    return recurs, groups


def _placed(words: _Words, passages: _Passages, size: int, where: IntArray, groups: IntArray) -> _Spans:
    """The first place of each span in each of its passages; spans that stand in every passage are left out."""
    order = np.argsort(groups, kind="stable")
    where, groups = where[order], groups[order]
    inside = passages.owner[where]
    first = (np.diff(groups, prepend=-1) != 0) | (np.diff(inside, prepend=-1) != 0)
    where, groups, inside = where[first], groups[first], inside[first]
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    counts = np.diff(begins, append=len(groups))
    documents = words.documents[where[begins]]
    usable = counts < np.diff(passages.first)[documents]
    kept = np.repeat(usable, counts)
    lengths = words.stops[where[begins] + size - 1] - words.starts[where[begins]]
    return _Spans(documents[usable], lengths[usable], counts[usable], words.starts[where[kept]], inside[kept])


def _blocks(ends: IntArray, block: int) -> Iterator[tuple[int, int]]:
    """Documents first to last, about ``block`` tokens at a time."""
    first = begin = 0
    while first < len(ends):
        last = max(first + 1, int(np.searchsorted(ends, begin + block, side="right")))
        yield first, last
        first, begin = last, int(ends[last - 1])


def _powers(base: int, count: int) -> IntArray:
    """1, base, base ** 2, ... modulo 2 ** 64."""
    return np.array([pow(base, exponent, 1 << 64) for exponent in range(count)], np.uint64)
