"""Recurring spans against a plain twin that follows the rule word by word."""

import itertools
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tiny
from pretrieve.sampling.recurring_spans import Recurring, Rule, find

Span = tuple[int, tuple[tuple[int, int], ...], int]  # document, (passage's first token, place)s, tokens


def shown(found: Recurring) -> list[Span]:
    """What was found, in the order in which it was found."""
    spans = []
    for document in range(len(found.document_spans) - 1):
        for span in range(found.document_spans[document], found.document_spans[document + 1]):
            places = range(found.span_places[span], found.span_places[span + 1])
            where = tuple((int(found.starts[found.passages[k]]), int(found.places[k])) for k in places)
            spans.append((document, where, int(found.lengths[span])))
    return spans


def frequent(store: Any, limit: int) -> set[int]:
    ids = store.tokens.tolist()
    counts = Counter(
        a for a, b in itertools.pairwise(ids)
        if store.word_starts[a] and store.word_starts[b] and store.lettered[a]
    )  # fmt: skip
    order = sorted(counts, key=lambda token: (-counts[token], token))
    return set(order[: min(limit, len(counts) // 100)])


def passages_of(store: Any, document: int, rule: Rule) -> list[tuple[int, int, list[tuple[int, int]]]]:
    """The passages of a document: first token, end, and (first token, end) of the words."""
    body, end = int(store.bodies[document]), int(store.ends[document])
    begins = [p for p in range(body, end) if p == body or store.word_starts[store.tokens[p]]]
    words = list(zip(begins, [*begins[1:], end], strict=True))
    words = [(a, b) for a, b in words if store.lettered[store.tokens[a:b]].any()]
    cut = [words[i : i + rule.passage] for i in range(0, len(words), rule.passage)]
    following = [piece[0][0] for piece in cut[1:]] + [end]
    whole = [(piece[0][0], stop, piece) for piece, stop in zip(cut, following, strict=True)]
    whole = [passage for passage in whole if len(passage[2]) == rule.passage]
    return whole if len(whole) >= 3 else []


def twin(store: Any, rule: Rule) -> list[Span]:
    """Every n-gram of every passage, in dictionaries."""
    common, spans = frequent(store, rule.stop_words), []
    for document in range(len(store)):
        passages = passages_of(store, document, rule)
        places: dict[tuple[Any, ...], list[tuple[int, int, int]]] = {}
        for number, (_, _, words) in enumerate(passages):
            for i in range(len(words)):
                for n in range(rule.shortest, rule.longest + 1):
                    piece = words[i : i + n]
                    if len(piece) < n or any(a[1] != b[0] for a, b in itertools.pairwise(piece)):
                        break
                    texts = tuple(tuple(store.tokens[a:b].tolist()) for a, b in piece)
                    edges = [t for t in (texts[0], texts[-1]) if len(t) == 1 and t[0] in common]
                    if not edges and piece[-1][1] - piece[0][0] <= rule.tokens:
                        places.setdefault(texts, []).append((number, piece[0][0], piece[-1][1]))
        several = {texts: at for texts, at in places.items() if len({number for number, _, _ in at}) > 1}
        longer = [(len(texts), a, b) for texts, at in several.items() for _, a, b in at]
        for texts, at in several.items():
            inside = [any(n > len(texts) and c <= a and b <= d for n, c, d in longer) for _, a, b in at]
            first = {number: a for number, a, _ in reversed(at)}
            if not all(inside) and len(first) < len(passages):
                where = tuple((passages[number][0], first[number]) for number in sorted(first))
                spans.append((document, where, at[0][2] - at[0][1]))
    return sorted(spans, key=lambda span: (span[0], span[1][0][1], span[2]))


RULES = [
    Rule(passage=20, shortest=2, longest=4, stop_words=150),
    Rule(passage=12, shortest=1, longest=3, stop_words=0),
    Rule(passage=30, shortest=3, longest=10, tokens=9, stop_words=1),
]


@pytest.mark.parametrize("rule", RULES)
def test_the_twin_finds_the_same(rule: Rule) -> None:
    store = _repetitive(60)
    expected = twin(store, rule)
    found = find(store, rule)
    assert len(expected) > 100
    assert shown(found) == expected
    assert len({length for _, _, length in expected}) > 3
    cut = [passage for document in range(len(store)) for passage in passages_of(store, document, rule)]
    assert list(zip(found.starts.tolist(), found.stops.tolist(), strict=True)) == [(a, b) for a, b, _ in cut]
    counts = [len(passages_of(store, document, rule)) for document in range(len(store))]
    assert np.diff(found.document_passages).tolist() == counts


def test_blocks_change_nothing() -> None:
    store, rule = _repetitive(60), RULES[0]
    whole = find(store, rule)
    for block in (1, 500, 3000):
        parts = find(store, rule, block)
        for name in Recurring.__dataclass_fields__:
            assert np.array_equal(getattr(parts, name), getattr(whole, name)), (block, name)


def test_by_hand() -> None:
    """Letters are words, "." is a sign; passages of four words; "a b c" covers "b c" but not the "a b" of passage 4."""
    text = "a b c d  x . b q r  a b c e  f a b g  m n o p  k k"
    alphabet = [".", *sorted(set(text) - {" ", "."})]
    tokens = np.array([alphabet.index(letter) for letter in text if letter != " "])
    store = _store(tokens, np.array([0]), np.array([len(tokens)]), len(alphabet))
    found = find(store, Rule(passage=4, shortest=2, longest=3, stop_words=0))
    words = ["".join(alphabet[t] for t in tokens[p : p + n]) for p, n in zip(*_firsts(found), strict=True)]
    assert words == ["ab", "abc"]
    assert found.starts.tolist() == [0, 4, 9, 13, 17]
    assert found.stops.tolist() == [4, 9, 13, 17, 21]
    assert found.passages.tolist() == [0, 2, 3, 0, 2]


def test_documents_without_spans_have_none() -> None:
    store = tiny.store(10, words=(3, 4), sentences=(1, 2))
    found = find(store, Rule())
    assert len(found.lengths) == len(found.starts) == 0
    assert found.document_spans.tolist() == [0] * 11


def _firsts(found: Recurring) -> tuple[np.ndarray, np.ndarray]:
    return found.places[found.span_places[:-1]], found.lengths


def _store(tokens: np.ndarray, starts: np.ndarray, ends: np.ndarray, vocabulary: int) -> Any:
    return SimpleNamespace(
        tokens=tokens, starts=starts, bodies=starts, ends=ends, word_starts=np.ones(vocabulary, np.bool_),
        lettered=np.arange(vocabulary) > 0,
    )  # fmt: skip


def _repetitive(documents: int) -> Any:
    """Documents that say the same few phrases again and again, with titles, signs and words of several tokens."""
    rng = np.random.default_rng(5)
    tokens: list[int] = []
    starts, bodies, ends = [], [], []
    for _ in range(documents):
        starts.append(len(tokens))
        tokens += rng.integers(0, 200, size=rng.integers(0, 4)).tolist()
        bodies.append(len(tokens))
        phrases = [rng.integers(0, 200, size=rng.integers(1, 12)).tolist() for _ in range(6)]
        for _ in range(rng.integers(1, 40)):
            other = rng.integers(0, 200, size=rng.integers(1, 5)).tolist()
            tokens += phrases[int(rng.integers(6))] if rng.random() < 0.7 else other
        ends.append(len(tokens))
    ids = np.arange(200)
    return _Sized(
        tokens=np.array(tokens, np.uint16), starts=np.array(starts), bodies=np.array(bodies), ends=np.array(ends),
        word_starts=ids % 4 != 0, lettered=ids % 15 != 1,
    )  # fmt: skip


class _Sized(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.ends)
