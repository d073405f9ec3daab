"""The fused probe: against plain NumPy on a small collection, and with encoders whose gain is known beforehand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from zlib import crc32

import numpy as np
import pytest

from pretrieve.core.types import Document
from pretrieve.evaluation.fused_probe import (
    LEXICAL,
    SENTENCE,
    TITLED,
    TOPICAL,
    WEIGHTS,
    FusedProbe,
    FusedProbeOptions,
    repeated_titles,
)
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.hits import sentence_spans
from pretrieve.index.lexical import Lexical
from pretrieve.index.pseudo import full_text, pseudo_queries
from searching import documents, word

MADE = documents(240)
HELD_OUT = np.arange(0, 240, 4)


def tokens(text: str) -> list[str]:
    return text.lower().replace(".", " ").split()


def noise(texts):
    """A vector that depends on the whole text: no two are alike."""
    return np.array([np.random.default_rng(crc32(text.encode())).normal(size=16) for text in texts], np.float32)


def bags(texts):
    """What words alone can say: a random vector a word, summed."""
    return np.array([np.sum([vector(said) for said in tokens(text) or [""]], axis=0) for text in texts], np.float32)


@cache
def vector(said):
    return np.random.default_rng(crc32(said.encode())).normal(size=32)


def both(texts):
    """Topics and words, so that no two documents are equally near."""
    return np.hstack([topics(texts), 0.1 * bags(texts)])


class Oracle:
    """Knows which document a text comes from, by any of its words in that order."""

    def __init__(self, made: list[Document]) -> None:
        self.owners: dict[str, int] = {}
        for number, document in enumerate(made):
            for start, stop in sentence_spans(document.text):
                self.owners[" ".join(tokens(document.text[start:stop])[:5])] = number
        self.size = len(made)

    def __call__(self, texts):
        found = np.zeros((len(texts), self.size), np.float32)
        for row, text in zip(found, texts, strict=True):
            words = tokens(text)
            for at in range(len(words) - 4):
                owner = self.owners.get(" ".join(words[at : at + 5]))
                if owner is not None:
                    row[owner] = 1
                    break
        return found


def topics(texts):
    """The topic of a text: which of the twelve its words are of."""
    table = {said: number for number in range(12) for said in _topic_words(number)}
    found = np.zeros((len(texts), 12), np.float32)
    for row, text in zip(found, texts, strict=True):
        for said in tokens(text):
            if said in table:
                row[table[said]] += 1
    return found


def _topic_words(number: int) -> set[str]:
    return {word(pick) for pick in range(100 + 40 * number, 140 + 40 * number)}


@pytest.fixture(scope="module")
def scores():
    probe = FusedProbe(MADE, HELD_OUT)
    return probe({"noise": noise}, {"oracle": Oracle(MADE), "topics": topics, "words": bags})


def test_gains_have_the_sign_that_they_have_to_have(scores) -> None:
    known = scores.gain("oracle", SENTENCE)
    assert (known > 0).all()
    assert (np.diff(known) >= 0).all(), "more of what is right is better"
    assert (scores.bm25[SENTENCE] + known.max() <= 1.0 + 1e-9).any()
    for kind in (SENTENCE, "title", TOPICAL, LEXICAL):
        assert scores.gain("noise", kind)[-1] < 0, kind
        assert scores.gain("noise", kind)[-1] < scores.gain("noise", kind)[0], "more of what is wrong is worse"
    assert (scores.gain("topics", TOPICAL)[1:] > 0).all()
    assert scores.gain("topics", TOPICAL)[-1] > scores.gain("words", TOPICAL)[-1]
    assert scores.pool == len(MADE)
    assert scores.queries == sum(len(values) for values in scores.bm25.values())
    assert set(scores.fused) == {"noise", "oracle", "topics", "words"}
    for kinds in scores.fused.values():
        for kind, values in kinds.items():
            assert values.shape == (len(WEIGHTS), len(scores.bm25[kind]))
            assert ((values >= 0) & (values <= 1 + 1e-6)).all()


def z(row):
    deviation = row.std()
    return (row - row.mean()) / deviation if deviation > 1e-9 else np.zeros_like(row)


def unit(vectors):
    return vectors / max(np.linalg.norm(vectors), 1e-12)


def first_ten(row, own):
    order = [number for number in np.argsort(-row, kind="stable").tolist() if number != own]
    return order[:10]


def test_scores_are_those_of_plain_numpy() -> None:
    """Every kind, every weight, one query after another."""
    options = FusedProbeOptions(queries=30, topical=12, distractors=40, seed=3)
    made = [replace(document, title="" if n % 5 == 0 else document.title) for n, document in enumerate(MADE)]
    probe = FusedProbe(made, HELD_OUT, options)
    start, trained = {"noise": noise}, {"both": both, "words": bags}
    found = probe(start, trained)
    texts, systems = probe._texts, {**start, **trained}
    own = [made[number] for number in HELD_OUT]
    assert found.pool == len(texts) == 60 + 40
    assert texts[:60] == [full_text(document) for document in own]
    assert set(texts[60:]) <= {full_text(made[number]) for number in set(range(240)) - set(HELD_OUT.tolist())}

    lexical = Lexical.build(Analyzer(Analysis(languages=("en",))), texts)
    sets = {one.kind: one for one in pseudo_queries(own, 30, 3, sentence_spans)}
    assert set(found.bm25) == {*sets, TOPICAL, LEXICAL}
    encoded = {name: np.array([unit(v.astype(np.float64)) for v in encode(texts)]) for name, encode in systems.items()}
    for kind, asked in sets.items():
        for row, (query, number, rest) in enumerate(zip(asked.queries, asked.documents, asked.remainders, strict=True)):
            words = lexical.scores([query])[0].astype(np.float64)
            words[number] = lexical.score_pairs([query], [rest])[0]  # the document without what asks for it
            words = z(words)
            assert found.bm25[kind][row] == pytest.approx(known_gain(words, number), abs=1e-9)
            for name, encode in systems.items():
                mine, left = (unit(one.astype(np.float64)) for one in encode([query, rest]))
                dense = encoded[name] @ mine
                dense[number] = left @ mine
                for place, weight in enumerate(WEIGHTS):
                    expected = known_gain(words + weight * z(dense), number)
                    assert found.fused[name][kind][place, row] == pytest.approx(expected, abs=1e-9)

    assert len(probe._asking) == 12
    for row, number in enumerate(probe._asking.tolist()):
        document = own[number]
        short = document.title or " ".join(document.text.split()[:12])
        whole = z(lexical.scores([texts[number]])[0].astype(np.float64))
        committee = whole + sum(0.5 * z(encoded[name] @ encoded[name][number]) for name in trained)
        words = z(lexical.scores([short])[0].astype(np.float64))
        for kind, judges in ((TOPICAL, committee), (LEXICAL, whole)):
            relevant = set(first_ten(judges, number))
            assert number not in relevant
            preferred = np.array([document in relevant for document in range(len(texts))])
            low, high = (topical_gain(words + sign * 1e-5 * preferred, number, relevant) for sign in (-1, 1))
            assert low - 1e-6 <= found.bm25[kind][row] <= high + 1e-6, "ties may fall either way"
            for name, encode in systems.items():
                dense = encoded[name] @ unit(encode([short])[0].astype(np.float64))
                for place, weight in enumerate(WEIGHTS):
                    expected = topical_gain(words + weight * z(dense), number, relevant)
                    assert found.fused[name][kind][place, row] == pytest.approx(expected, abs=1e-6)


def known_gain(row, number) -> float:
    rank = int((row >= row[number] - 1e-9).sum())
    return 1 / np.log2(1 + rank) if rank <= 10 else 0.0


def topical_gain(row, number, relevant) -> float:
    found = [document in relevant for document in first_ten(row, number)]
    return sum(hit / np.log2(2 + rank) for rank, hit in enumerate(found)) / sum(1 / np.log2(2 + r) for r in range(10))


def test_a_known_item_is_found_without_its_query() -> None:
    """An encoder that knows a document by its sentence alone is of no use where the sentence is taken out."""

    class Exact:
        """The same vector where one text holds the other's fifth to eighth word in a row."""

        def __call__(self, texts):
            return np.array([self._of(text) for text in texts], np.float32)

        def _of(self, text):
            grams = {" ".join(tokens(text)[at : at + 8]) for at in range(max(1, len(tokens(text)) - 7))}
            vector = np.zeros(4096)
            for gram in grams:
                vector[crc32(gram.encode()) % 4096] = 1
            return vector

    found = FusedProbe(MADE, HELD_OUT)({}, {"exact": Exact()})
    assert (found.gain("exact", SENTENCE) < 0.05).all(), "it would be near 1 - BM25's with the sentence in"
    assert found.bm25[SENTENCE].mean() < 0.9


def test_topical_relevance_leaves_the_document_itself_out() -> None:
    """A committee of an encoder that sees nothing but a text's identity would name the document itself, first."""
    probe = FusedProbe(MADE, HELD_OUT)
    scores = np.zeros((len(probe._asking), len(probe._texts)), np.float32)
    scores[np.arange(len(scores)), probe._asking] = 100.0
    scores[:, 7:20] += np.arange(13, 0, -1)
    first = probe._first(scores)
    assert first.shape == (len(scores), 10)
    for row, own in zip(first.tolist(), probe._asking.tolist(), strict=True):
        assert own not in row
        assert row == [number for number in range(7, 20) if number != own][:10]


def passages(repeats: int) -> list[Document]:
    """Documents of which so many in a row have the same title."""
    return [replace(document, title=f"Contract {n // repeats} of many") for n, document in enumerate(MADE)]


def test_queries_name_the_title_exactly_where_titles_repeat() -> None:
    assert repeated_titles(passages(1)) == 0.0
    assert repeated_titles(passages(4)) == 0.75
    assert repeated_titles([]) == 0.0
    assert TITLED not in FusedProbe(passages(2), HELD_OUT)._known, "half of them is not most"
    probe = FusedProbe(passages(3), HELD_OUT)
    named, plain = probe._known[TITLED], probe._known[SENTENCE]
    own = [passages(3)[number] for number in HELD_OUT]
    assert named.documents.tolist() == plain.documents.tolist()
    assert named.remainders == plain.remainders
    for query, sentence, number in zip(named.queries, plain.queries, named.documents, strict=True):
        title = own[number].title
        assert query.startswith(f"{title} ")
        assert sentence.startswith(query.removeprefix(f"{title} "))
        assert len(query) < len(f"{title} {sentence}")
    assert TITLED in probe({}, {"noise": noise}).bm25
    untitled = [replace(document, title="") for document in MADE]
    assert {TITLED, "title"}.isdisjoint(FusedProbe(untitled, HELD_OUT)._known)


def test_the_same_seed_gives_the_same_and_another_one_others() -> None:
    def asked(seed: int) -> FusedProbe:
        return FusedProbe(MADE, HELD_OUT, FusedProbeOptions(queries=25, topical=20, distractors=50, seed=seed))

    first, again, other = asked(0), asked(0), asked(1)
    assert first._texts == again._texts != other._texts
    assert first._known[SENTENCE].queries == again._known[SENTENCE].queries != other._known[SENTENCE].queries
    assert first._short == again._short != other._short
    one, two = first({"noise": noise}, {"topics": topics}), again({"noise": noise}, {"topics": topics})
    for kind, values in one.bm25.items():
        np.testing.assert_array_equal(values, two.bm25[kind])
        for name, kinds in one.fused.items():
            np.testing.assert_array_equal(kinds[kind], two.fused[name][kind])


def test_the_start_is_no_member_of_the_committee() -> None:
    probe = FusedProbe(MADE, HELD_OUT, FusedProbeOptions(queries=20, topical=20))
    alone = probe({}, {"topics": topics})
    with_start = probe({"noise": noise}, {"topics": topics})
    member = probe({}, {"topics": topics, "noise": noise})
    np.testing.assert_array_equal(alone.bm25[TOPICAL], with_start.bm25[TOPICAL])
    np.testing.assert_array_equal(alone.fused["topics"][TOPICAL], with_start.fused["topics"][TOPICAL])
    assert not np.array_equal(alone.bm25[TOPICAL], member.bm25[TOPICAL])
    np.testing.assert_array_equal(alone.bm25[LEXICAL], member.bm25[LEXICAL])
