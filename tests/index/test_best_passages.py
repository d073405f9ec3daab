"""Passages: windows against plain Python, scores against BM25 over the windows' texts, and their part in search."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest

from pretrieve.core import files
from pretrieve.core.errors import CorruptError
from pretrieve.core.types import Rows
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.lexical import BM25, Lexical
from pretrieve.index.passages import SIZE, STRIDE, PassagePostings, cut
from pretrieve.index.pseudo import full_text
from pretrieve.models.bag import Bag
from searching import documents, queries, static_model

WORDS = Analyzer(Analysis(stop_words="none", stemmer="none"))  # a term is the word as it stands
LONG = documents(40, sentences=20)  # some 180 terms each
TEXTS = [*(document.text.lower().replace(".", "") for document in LONG), "", "only once", "again again again"]
QUERIES = [*queries(LONG, 20)[0].values(), "", "unknownword", "again once"]


def windows(row: list[int], size: int, stride: int) -> list[list[int]]:
    """``cut`` of one row in plain Python."""
    found = [row[:size]]
    start = 0
    while start + size < len(row):
        start += stride
        found.append(row[start : start + size])
    return found


@pytest.mark.parametrize(("size", "stride"), [(50, 25), (4, 4), (5, 2), (3, 1), (1, 1)])
def test_windows_are_those_of_plain_python(size: int, stride: int) -> None:
    rng = np.random.default_rng(size)
    lengths = [0, 1, size - 1, size, size + 1, size + stride, size + stride + 1, 0, *rng.integers(0, 9 * size, 60), 0]
    rows = [rng.integers(0, 99, length).tolist() for length in lengths]
    found, starts = cut(Rows.of(rows), size, stride)
    expected = [windows(row, size, stride) for row in rows]
    flat = list(itertools.chain.from_iterable(expected))
    assert [found.row(number).tolist() for number in range(len(found))] == flat
    assert starts.tolist() == [sum(map(len, expected[:number])) for number in range(len(rows))]


def test_every_term_is_in_a_window_and_windows_have_their_sizes_and_strides() -> None:
    lengths = [0, 1, 49, 50, 51, 75, 76, 400]
    total = sum(lengths)
    rows = Rows(np.arange(total), np.concatenate([[0], np.cumsum(lengths)]))  # each term is its own place
    found, starts = cut(rows)
    assert len(starts) == len(lengths)
    assert set(found.tokens.tolist()) == set(range(total))
    stops = [*starts[1:].tolist(), len(found)]
    for number, (first, stop) in enumerate(zip(starts.tolist(), stops, strict=True)):
        mine = [found.row(window) for window in range(first, stop)]
        assert len(mine) == max(1, int(np.ceil((lengths[number] - SIZE) / STRIDE)) + 1)
        assert all(len(window) == SIZE for window in mine[:-1])
        assert len(mine[-1]) <= SIZE
        if lengths[number]:
            assert np.concatenate(mine)[-1] == rows.offsets[number + 1] - 1
        assert all(later[0] - earlier[0] == STRIDE for earlier, later in itertools.pairwise(mine))


def test_no_rows_have_no_windows() -> None:
    found, starts = cut(Rows.of([]))
    assert (len(found), len(starts)) == (0, 0)


@pytest.mark.parametrize("options", [BM25(), BM25(k1=1.2, b=0.9)])
def test_the_score_is_that_of_the_best_window(options: BM25) -> None:
    """Windows as texts of their own, indexed by BM25: the same scores, and their greatest is the document's."""
    built = Lexical.build(WORDS, TEXTS, options, passages=True)
    parts = [windows(text.split(), SIZE, STRIDE) for text in TEXTS]
    assert max(map(len, parts)) > 3
    alone = Lexical.build(WORDS, [" ".join(part) for part in itertools.chain.from_iterable(parts)], options)
    scores = alone.scores(QUERIES)
    edges = np.cumsum([0, *map(len, parts)])
    expected = np.stack([scores[:, a:b].max(axis=1) for a, b in itertools.pairwise(edges)], axis=1)
    np.testing.assert_array_equal(built.passages.scores(QUERIES), expected)
    assert built.passages.mean_length == alone.mean_length
    plain = Lexical.build(WORDS, TEXTS, options)
    assert plain.passages is None
    np.testing.assert_array_equal(built.scores(QUERIES), plain.scores(QUERIES))


def test_what_is_written_is_what_is_opened(tmp_path) -> None:
    lexical = Lexical.build(WORDS, TEXTS, passages=True)
    with files.create(tmp_path / "a", "test") as folder:
        lexical.write(folder, "words")
    opened = Lexical.open(tmp_path / "a" / "words", WORDS, lexical.facts())
    np.testing.assert_array_equal(opened.passages.scores(QUERIES), lexical.passages.scores(QUERIES))
    np.testing.assert_array_equal(opened.scores(QUERIES), lexical.scores(QUERIES))


def test_first_passages_that_do_not_fit_are_refused(tmp_path) -> None:
    lexical = Lexical.build(WORDS, TEXTS, passages=True)
    (found,) = lexical.passages.parts
    with files.create(tmp_path / "a", "test") as folder:
        PassagePostings(postings=found.postings, starts=found.starts + 1).write(folder, "passages")
    with pytest.raises(CorruptError, match="do not fit"):
        PassagePostings.open(tmp_path / "a" / "passages")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model that was trained for a best passage of weight .4, and an index of it."""
    folder = tmp_path_factory.mktemp("passages")
    plain = static_model(folder / "plain", LONG)
    with files.create(folder / "model", "model", meta={"weight": 0.5, "passages": 0.4}) as made:
        shutil.copytree(plain, made.path, dirs_exist_ok=True)
        made.adopt()
    Index.build(folder / "index", LONG, Bag.load(folder / "model"))
    return folder


def every_score(index: Index, mode: str) -> np.ndarray:
    """Scores of all documents for all queries, (Q, R)."""
    rows = np.full((len(QUERIES), len(index)), -np.inf)
    for row, (found, scores) in zip(rows, index.rank(QUERIES, len(index), mode), strict=True):
        row[found] = scores
    return rows


def standard(scores: np.ndarray) -> np.ndarray:
    scores = scores.astype(np.float64)
    deviation = scores.std(axis=1, keepdims=True)
    return (scores - scores.mean(axis=1, keepdims=True)) / np.where(deviation > 1e-9, deviation, np.inf)


def by_moments(scores: np.ndarray, ranker) -> np.ndarray:
    """Standardised by the moments of a lexical ranker, whose terms are taken as independent (``test_postings.py``)."""
    mean, deviation = ranker.moments(QUERIES)
    return (scores - mean[:, None]) / np.where(deviation > 1e-9, deviation, np.inf)[:, None]


def test_the_best_passage_joins_hybrid_search_with_the_models_weight(place) -> None:
    bag = Bag.load(place / "model")
    index = Index.open(place / "index")
    assert (bag.weight, bag.passages) == (0.5, 0.4)
    assert (index.fusion.dense, index.fusion.passages) == (0.5, 0.4)
    analyzer = index.lexical.analyzer
    texts = [full_text(document) for document in LONG]
    rows, terms = analyzer.bulk(texts)
    whole = Lexical.of(analyzer, rows, terms, index.lexical.options).scores(QUERIES)
    parts = [windows(rows.row(number).tolist(), SIZE, STRIDE) for number in range(len(rows))]
    passages = Lexical.of(
        analyzer, Rows.of(list(itertools.chain.from_iterable(parts))), terms, index.lexical.options
    ).scores(QUERIES)
    edges = np.cumsum([0, *map(len, parts)])
    best = np.stack([passages[:, a:b].max(axis=1) for a, b in itertools.pairwise(edges)], axis=1)
    asked, vectors = (bag.encode(list(said)).astype(np.float64) for said in (QUERIES, texts))
    asked, vectors = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12) for x in (asked, vectors))
    expected = by_moments(whole, index.lexical) + 0.5 * standard(asked @ vectors.T)
    expected += 0.4 * by_moments(best, index.lexical.passages)
    np.testing.assert_allclose(every_score(index, "hybrid"), expected, rtol=0, atol=1e-4)
    assert "BM25 1, vectors 0.5, best passage 0.4" in index.describe()
    memory = Index.of(LONG, bag)
    np.testing.assert_array_equal(every_score(memory, "hybrid"), every_score(index, "hybrid"))


def test_passages_are_left_out_where_they_are_not_wanted(place, tmp_path) -> None:
    bag, index = Bag.load(place / "model"), Index.open(place / "index")
    without = Index.build(tmp_path / "index", LONG, bag, IndexOptions(passages=0.0))
    assert without.lexical.passages is None
    assert not (tmp_path / "index" / "parts/000001/words/passages").exists()
    assert without.fusion.passages == 0.0
    assert "best passage" not in without.describe()
    for mode in ("lexical", "dense"):
        np.testing.assert_array_equal(every_score(without, mode), every_score(index, mode))
    asked, words = every_score(without, "dense"), without.lexical.scores(QUERIES)
    expected = by_moments(words, without.lexical) + 0.5 * standard(asked)
    np.testing.assert_allclose(every_score(without, "hybrid"), expected, atol=1e-4)
    assert not np.allclose(every_score(without, "hybrid"), every_score(index, "hybrid"), atol=1e-2)


def test_passages_can_be_asked_for_beside_any_model(place) -> None:
    plain = Bag.load(place / "plain")
    assert Index.of(LONG, plain).lexical.passages is None
    given = Index.of(LONG, plain, IndexOptions(passages=0.3, dense=0.5))
    assert given.fusion.passages == 0.3
    words = Index.of(LONG).lexical  # without passages: made again where they are asked for
    again = Index.of(LONG, plain, IndexOptions(passages=0.3, dense=0.5), lexical=words)
    np.testing.assert_array_equal(every_score(again, "hybrid"), every_score(given, "hybrid"))


def test_a_damaged_array_of_passages_is_refused(place, tmp_path) -> None:
    shutil.copytree(place / "index", tmp_path / "index")
    path = tmp_path / "index" / "parts/000001/words/passages/first"
    data = bytearray(path.read_bytes())
    data[-8] ^= 255
    path.write_bytes(data)
    with pytest.raises(CorruptError, match="first"):
        Index.open(tmp_path / "index")
