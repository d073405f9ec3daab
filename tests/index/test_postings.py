"""Postings: many runs give the bytes of one, parts score as one, and the best are those of scoring all documents."""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core import files
from pretrieve.core.errors import CorruptError
from pretrieve.core.types import Rows
from pretrieve.index import maxscore
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.bm25 import BM25
from pretrieve.index.lexical import Lexical
from pretrieve.index.passages import PassagePostings
from pretrieve.index.postings import Postings
from pretrieve.index.ranking import id_ranks, top_k
from pretrieve.index.terms import SortedTerms
from pretrieve.index.ties import Ties
from searching import documents, queries

ANALYZER = Analyzer(Analysis(languages=("en",)))
WORDS = Analyzer(Analysis(stop_words="none", stemmer="none"))
MADE = documents(60, sentences=12)
TEXTS = [*(document.text for document in MADE), "", "only once", "again again again " * 200, "..."]
QUERIES = [*queries(MADE, 10)[0].values(), "", "unknownword", "again again once", MADE[3].text]
NAMES = [f"t{number}" for number in range(12)]


class Weighed:
    """BM25 with weights that are computed when texts are indexed, as bm25s does it: what scores are compared with."""

    def __init__(self, rows: list[list[int]], options: BM25) -> None:
        made = Rows.of(rows)
        size = max(len(made), 1)
        keys = np.sort(made.tokens * size + np.repeat(np.arange(len(made)), made.lengths))
        distinct, counts = np.unique(keys, return_counts=True)
        self.size, (term, self.documents) = len(made), np.divmod(distinct, size)
        frequencies = np.bincount(term, minlength=len(NAMES))
        self.starts = np.concatenate([[0], np.cumsum(frequencies)])
        idf = np.asarray(np.log(1 + (len(made) - frequencies + 0.5) / (frequencies + 0.5)), np.float32)
        mean = float(made.lengths.mean()) if len(made) else 0.0
        k1, b = options.k1, options.b
        saturated = counts / (k1 * ((1 - b) + b * made.lengths[self.documents] / (mean or 1.0)) + counts)
        self.weights = (idf[term] * saturated).astype(np.float32)

    def scores(self, query: list[int]) -> np.ndarray:
        row = np.zeros(self.size, np.float32)
        for number in query:
            part = slice(self.starts[number], self.starts[number + 1])
            np.add.at(row, self.documents[part], self.weights[part])
        return row


class Named:
    """Texts are numbers of terms, as they stand."""

    def bulk(self, texts):
        return Rows.of([[int(word) for word in text.split()] for text in texts]), NAMES

    def terms(self, text: str) -> list[str]:
        return [NAMES[int(word)] for word in text.split()]


def text(row: list[int]) -> str:
    return " ".join(map(str, row))


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("memory", [1, 3000, 40_000, 300_000])
def test_many_runs_give_the_bytes_of_one(tmp_path, memory):
    for name, size in (("one", 1 << 30), ("many", memory)):
        with files.create(tmp_path / name, "test") as folder:
            Lexical.store(folder, "words", ANALYZER, iter(TEXTS), passages=True, memory=size)
            assert not [*folder.path.rglob(".pretrieve-*")]  # runs are gone
    one, many = everything(tmp_path / "one"), everything(tmp_path / "many")
    assert one.keys() == many.keys()
    assert [name for name in one if one[name] != many[name]] == []
    with files.create(tmp_path / "memory", "test") as folder:
        Lexical.build(ANALYZER, TEXTS, passages=True).write(folder, "words")
    assert everything(tmp_path / "memory") == one
    files.verify(tmp_path / "many")


def test_small_memory_makes_many_runs(tmp_path, monkeypatch):
    made = []
    write = Postings.write
    monkeypatch.setattr(Postings, "write", lambda self, *given: (made.append(given[1]), write(self, *given))[1])
    with files.create(tmp_path / "words", "test") as folder:
        Lexical.store(folder, "words", ANALYZER, iter(TEXTS), memory=40_000)
    assert len(made) > 20


def test_memory_does_not_grow_with_the_documents(tmp_path):
    """Four times the documents take the same memory, but a few bytes of each document and of each term of a run."""
    words = [f"w{number}" for number in range(200)]
    rng = np.random.default_rng(0)
    peaks = []
    for size in (4000, 16_000):
        texts = (" ".join(rng.choice(words, 40)) for _ in range(size))
        tracemalloc.start()
        with files.create(tmp_path / str(size), "test") as folder:
            Lexical.store(folder, "words", WORDS, texts, memory=4 << 20)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 8 << 20
    assert peaks[1] < peaks[0] + 64 * 12_000


def test_blocks_are_what_bulk_gives():
    mixed = Analyzer(Analysis(languages=("en", "de")), detect=lambda text: "de" if "e" in text[:9] else "en")
    rows, terms = mixed.bulk(TEXTS)
    expected = [[terms[number] for number in rows.row(index)] for index in range(len(rows))]
    for memory in (1, 5000, 200_000, 1 << 30):
        found, lists = [], []
        for block, names in mixed.blocks(iter(TEXTS), memory):
            found += [[names[number] for number in block.row(index)] for index in range(len(block))]
            lists.append(id(names))
        assert found == expected
        assert (len(lists) > 1) == (memory < 1 << 30)
        if memory > 1000 and memory < 1 << 30:
            assert len(set(lists)) < len(lists)  # blocks share the table while it lasts


def test_lists_are_those_of_the_texts():
    postings = Postings.of(*ANALYZER.bulk(TEXTS))
    every = Analyzer(Analysis(languages=("en",), stop_words="none"))
    counted = [every.terms(text) for text in TEXTS]
    for term in (*{*itertools.chain.from_iterable(counted)}, "absent"):
        found, counts = postings.list(term)
        assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == {
            number: terms.count(term) for number, terms in enumerate(counted) if term in terms
        }
    assert postings.list("again")[1].tolist() == [600]


def stored(tmp_path: Path, name: str, texts: list[str], memory: int = 1 << 30) -> Path:
    with files.create(tmp_path / name, "test") as folder:
        Lexical.store(folder, "words", ANALYZER, texts, passages=True, memory=memory)
    return tmp_path / name


@pytest.mark.parametrize("memory", [1, 20_000, 1 << 30])
def test_merged_parts_are_those_of_the_documents_that_stay(tmp_path, memory):
    edges = [0, 17, 17, 40, len(TEXTS)]
    made = [
        stored(tmp_path, f"part{n}", TEXTS[first:last]) / "words"
        for n, (first, last) in enumerate(itertools.pairwise(edges))
    ]
    rng = np.random.default_rng(0)
    kept = [np.flatnonzero(rng.random(last - first) < 0.5) for first, last in itertools.pairwise(edges)]
    kept[2] = None
    stay = [
        TEXTS[first + place]
        for (first, last), which in zip(itertools.pairwise(edges), kept, strict=True)
        for place in (range(last - first) if which is None else which.tolist())
    ]
    with files.create(tmp_path / "merged", "test") as folder:
        Postings.merge(folder, "words", [Postings.open(path) for path in made], kept, memory)
        parts = [PassagePostings.open(path / "passages") for path in made]
        PassagePostings.merge(folder, "words/passages", parts, kept, memory)
    merged, anew = everything(tmp_path / "merged"), everything(stored(tmp_path, "anew", stay))
    assert {n: d for n, d in merged.items() if n != "MANIFEST.json"} == {
        n: d for n, d in anew.items() if n != "MANIFEST.json"
    }


def test_a_merge_that_keeps_nothing_is_empty(tmp_path):
    part = Postings.open(stored(tmp_path, "part", TEXTS) / "words")
    with files.create(tmp_path / "merged", "test") as folder:
        Postings.merge(folder, "words", [part, part], [np.zeros(0, np.int64)] * 2)
    merged = Postings.open(tmp_path / "merged" / "words")
    assert (len(merged), len(merged.vocabulary), len(merged.documents), merged.total) == (0, 0, 0, 0)


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    part = Postings.of(*ANALYZER.bulk(TEXTS))
    for name in ("starts", "documents", "counts", "largest", "shortest"):
        with files.create(tmp_path / name, "test") as folder:
            part.write(folder, "words")
            folder.array(f"words/{name}", getattr(part, name)[:-1])
        with pytest.raises(CorruptError, match="do not fit"):
            Postings.open(tmp_path / name / "words")


@given(st.lists(st.lists(st.text("ab\ud800é", max_size=4), unique=True, max_size=40), max_size=5))
def test_vocabularies_are_merged(lists):
    made = [SortedTerms.of(terms)[0] for terms in lists]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pretrieve.index.terms._SAMPLE", 4)
        merged, numbers = SortedTerms.union(made)
    assert list(merged) == sorted({term for vocabulary in made for term in vocabulary})
    for vocabulary, found in zip(made, numbers, strict=True):
        assert [merged[number] for number in found.tolist()] == list(vocabulary)
    kept = np.arange(len(merged)) % 3 == 0
    assert list(merged.take(kept)) == [term for term, stay in zip(merged, kept, strict=True) if stay]


ROW = st.lists(st.integers(0, 11).map(lambda value: value * value // 11), max_size=130)


@st.composite
def collections(draw):
    """Rows of terms in parts, which of them are alive, ids, a query, and which documents are allowed."""
    parts = draw(st.lists(st.lists(ROW, max_size=12), min_size=1, max_size=4))
    size = sum(map(len, parts))
    alive = draw(st.lists(st.booleans() | st.just(True), min_size=size, max_size=size))
    allowed = draw(st.none() | st.lists(st.booleans(), min_size=size, max_size=size))
    ids = [f"d{number}" for number in draw(st.permutations(range(size)))]
    return parts, np.array(alive, bool), None if allowed is None else np.array(allowed, bool), ids


def searched(parts: list[list[list[int]]], alive: np.ndarray, ids: list[str], options: BM25) -> Lexical:
    """Several parts with deleted documents."""
    edges = np.cumsum([0, *map(len, parts)]).tolist()
    made = [Named().bulk([*map(text, rows)]) for rows in parts]
    ranks = [id_ranks(ids[first:last]) for first, last in itertools.pairwise(edges)]
    return Lexical.over(
        Named(),
        [Postings.of(*one) for one in made],
        options,
        alive=[alive[first:last] for first, last in itertools.pairwise(edges)],
        passages=[PassagePostings.of(*one) for one in made],
        ties=Ties(ranks=ranks, ids=lambda numbers: [ids[number] for number in numbers.tolist()]),
    )


def of_passages(rows: list[list[int]], options: BM25, query: list[int]) -> np.ndarray:
    """Scores by the best passage, by plain Python and ``Weighed``."""
    found = []
    for row in rows:
        starts = [0, *(start for start in range(25, len(row), 25) if start + 25 < len(row))]
        found.append([row[start : start + 50] for start in starts])
    scores = iter(Weighed([*itertools.chain.from_iterable(found)], options).scores(query))
    return np.array([max(itertools.islice(scores, len(some))) for some in found], np.float32)


@settings(max_examples=150, deadline=None)
@given(
    collections(),
    st.lists(st.integers(0, 11), max_size=8),
    st.integers(1, 9),
    st.sampled_from([BM25(), BM25(k1=1.5, b=0.0), BM25(k1=0.0, b=1.0), BM25(k1=2.0, b=1.0)]),
    st.sampled_from([3, 16, 1 << 16]),
    st.sampled_from([1, 16, 1 << 20]),
)
def test_the_best_are_those_of_scoring_all_documents(collection, query, n, options, window, large):
    parts, alive, allowed, ids = collection
    flat = [row for rows in parts for row in rows]
    lexical = searched(parts, alive, ids, options)
    living = np.flatnonzero(alive)
    ranks = id_ranks(ids)
    own = [flat[number] for number in living.tolist()]
    expected = [Weighed(own, options).scores(query), of_passages(own, options, query)]
    assert lexical.size == len(living)
    for ranker, scores in zip((lexical, lexical.passages), expected, strict=True):
        whole = np.zeros(len(flat), np.float32)
        whole[living] = scores  # a rebuild without the deleted ones gives the same bits
        np.testing.assert_array_equal(ranker.scores([text(query)]), [whole])
        np.testing.assert_array_equal(ranker.scores([text(query)] * 9), [whole] * 9)
        may = whole > 0 if allowed is None else allowed & (whole > 0)
        best = top_k(whole, ranks, n, may)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(maxscore, "WINDOW", window)
            patch.setattr(maxscore, "LARGE", max(window, large))
            patch.setattr(maxscore, "_POSTINGS", 8)
            ((found, values), again) = ranker.top([text(query)] * 2, n, allowed)
        assert found.tolist() == best.tolist() == again[0].tolist()
        np.testing.assert_array_equal(values, whole[best])
        if len(living):
            numbers = np.concatenate([living, living[:2]])[::-1]
            np.testing.assert_array_equal(ranker.score_documents([text(query)], [numbers])[0], whole[numbers])


@settings(max_examples=60, deadline=None)
@given(collections(), st.lists(st.integers(0, 11), max_size=6))
def test_moments_do_not_depend_on_parts_and_deleted_documents(collection, query):
    parts, alive, _, ids = collection
    flat = [row for rows in parts for row in rows]
    lexical = searched(parts, alive, ids, BM25())
    rebuilt = searched([[flat[number] for number in np.flatnonzero(alive)]], alive[alive], ids, BM25())
    for ranker, other in ((lexical, rebuilt), (lexical.passages, rebuilt.passages)):
        means, deviations = ranker.moments([text(query), ""])
        again, others = other.moments([text(query), ""])
        assert means.tolist() == again.tolist()
        assert deviations.tolist() == others.tolist()
        assert means[1] == deviations[1] == 0
        sums = np.zeros(2)
        for number in query:
            scores = other.scores([text([number])])[0].astype(np.float64)
            if len(scores):
                sums[0] += scores.mean()
                sums[1] += query.count(number) * scores.var()
        np.testing.assert_allclose([means[0], deviations[0]], [sums[0], np.sqrt(sums[1])], rtol=1e-5, atol=1e-6)


def test_moments_do_not_depend_on_the_pieces_they_are_summed_in(monkeypatch):
    lexical = Lexical.build(WORDS, TEXTS, passages=True)
    whole = lexical.moments(QUERIES), lexical.passages.moments(QUERIES)
    monkeypatch.setattr("pretrieve.index.scorer._PIECE", 3)
    again = Lexical.build(WORDS, TEXTS, passages=True)
    np.testing.assert_array_equal(whole, (again.moments(QUERIES), again.passages.moments(QUERIES)))


def test_pairs_are_scored_by_their_best_passage():
    lexical = Lexical.build(WORDS, TEXTS, passages=True)
    scores = lexical.passages.scores(QUERIES)
    for number in (0, 7, len(TEXTS) - 2, len(TEXTS) - 4):
        pairs = lexical.passages.score_pairs(QUERIES, [TEXTS[number]] * len(QUERIES))
        np.testing.assert_allclose(pairs, scores[:, number], rtol=1e-6)
    assert lexical.passages.score_pairs([], []).tolist() == []


def test_the_vocabulary_is_that_of_all_parts():
    parts = [Postings.of(*WORDS.bulk(some)) for some in (TEXTS[:5], TEXTS[5:])]
    whole = Lexical.build(WORDS, TEXTS)
    assert list(Lexical.over(WORDS, parts, BM25()).vocabulary) == list(whole.vocabulary)


def test_most_documents_of_frequent_terms_are_not_scored():
    """A pruned search of a larger collection, with the default window: the same best, and few documents summed."""
    rng = np.random.default_rng(0)
    sizes = rng.integers(5, 60, 200_000)
    tokens = np.minimum(rng.zipf(1.3, int(sizes.sum())), 3000)
    rows = Rows(tokens, np.concatenate([[0], np.cumsum(sizes)]))
    lexical = Lexical.over(WORDS, [Postings.of(rows, [f"w{number}" for number in range(3001)])], BM25())
    asked = ["w900 w300 w2 w1", "w3 w4", "w1", "w17 w17 w40 w1 w2 w3 w5"]
    scores = lexical.scores(asked)
    for row, (found, values) in zip(scores, lexical.top(asked, 100), strict=True):
        best = top_k(row, np.arange(len(row)), 100, row > 0)
        assert found.tolist() == best.tolist()
        np.testing.assert_array_equal(values, row[best])
