from __future__ import annotations

import bm25s
import numpy as np
import pytest

from pretrieve.core import files
from pretrieve.core.errors import CorruptError
from pretrieve.core.types import Document
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.bm25 import idf, saturate
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.lexical import BM25, SHORT, SHORT_TERMS, Lexical, Titles, choose
from pretrieve.index.terms import SortedTerms
from searching import documents, queries

ANALYZER = Analyzer(Analysis(languages=("en",)))
TEXTS = [document.text for document in documents(80)] + ["", "only once", "again again again"]
QUERIES = [*queries(documents(80), 20)[0].values(), "", "unknownword", "again again once"]


@pytest.mark.parametrize("options", [BM25(), BM25(k1=1.2, b=0.75), BM25(k1=2.0, b=0.0)])
def test_equals_bm25s_to_the_last_bit(options):
    reference = bm25s.BM25(method="lucene", k1=options.k1, b=options.b, backend="numpy")
    reference.index([ANALYZER.terms(text) for text in TEXTS], show_progress=False)
    scores = Lexical.build(ANALYZER, TEXTS, options).scores(QUERIES)
    for query, row in zip(QUERIES, scores, strict=True):
        terms = [term for term in ANALYZER.terms(query) if term in reference.vocab_dict]
        expected = reference.get_scores(terms) if terms else np.zeros(len(TEXTS), np.float32)
        np.testing.assert_array_equal(row, expected)
        if terms:
            _, found = reference.retrieve([terms], k=10, show_progress=False)
            np.testing.assert_array_equal(np.sort(row)[::-1][:10], found[0])


def test_pairs_are_scored_as_documents_are():
    lexical = Lexical.build(ANALYZER, TEXTS)
    scores = lexical.scores(QUERIES)
    for number in (0, 5, len(TEXTS) - 1, len(TEXTS) - 3):
        pairs = lexical.score_pairs(QUERIES, [TEXTS[number]] * len(QUERIES))
        np.testing.assert_allclose(pairs, scores[:, number], rtol=1e-6)


def test_pairs_are_scored_by_the_terms_of_their_queries_alone():
    """Bit by bit as by the plain way, which numbers every term of every text and weighs the whole vocabulary."""
    lexical = Lexical.build(ANALYZER, TEXTS)
    queries = [query for query in [*QUERIES, "absent", "rare absent rare", ""] for _ in TEXTS]
    texts = [text for _ in range(len(queries) // len(TEXTS)) for text in [*TEXTS[1:], "no term of these is known"]]
    weights = idf(np.diff(lexical.parts[0].starts), lexical.size)
    for query, text, found in zip(queries, texts, lexical.score_pairs(queries, texts), strict=True):
        rows, terms = ANALYZER.bulk([text])
        own = [number[0] if (number := lexical.vocabulary.numbers([term])) else -1 for term in terms]
        numbers = np.array(own, np.int64)[rows.tokens]
        key = np.array(lexical.vocabulary.numbers(ANALYZER.terms(query)), np.int64)
        counts = (numbers[None, :] == key[:, None]).sum(1)
        plain = (weights[key] * saturate(counts, rows.lengths[0], lexical.mean_length, lexical.options)).sum()
        assert found == np.float32(plain)


def test_what_is_written_is_what_is_opened(tmp_path):
    lexical = Lexical.build(ANALYZER, TEXTS)
    with files.create(tmp_path / "words", "test") as folder:
        lexical.write(folder, "words")
    opened = Lexical.open(tmp_path / "words" / "words", ANALYZER, lexical.facts())
    np.testing.assert_array_equal(opened.scores(QUERIES), lexical.scores(QUERIES))


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    lexical = Lexical.build(ANALYZER, TEXTS)
    with files.create(tmp_path / "words", "test") as folder:
        lexical.write(folder, "words")
        folder.array("words/counts", lexical.parts[0].counts[:-1])
    with pytest.raises(CorruptError, match="do not fit"):
        Lexical.open(tmp_path / "words" / "words", ANALYZER, lexical.facts())


def counted(titles: list[str]) -> Titles:
    found = Titles()
    assert len(list(found.watch(Document(id=str(n), title=title, text="") for n, title in enumerate(titles)))) == len(
        titles
    )
    return found


def test_titles_of_earlier_documents_are_repeated():
    assert counted([]).repeated == counted(["", ""]).repeated == counted(["a", "b", ""]).repeated == 0.0
    assert counted(["a", "a", "a", "b"]).repeated == 0.5


@pytest.mark.parametrize(
    ("length", "titles", "expected"),
    [
        (SHORT_TERMS - 1, ["", ""], SHORT),
        (SHORT_TERMS, ["", ""], BM25()),
        (5, ["a", "b"], SHORT),
        (5, ["a", "a"], BM25()),  # passages of one document
    ],
)
def test_short_documents_choose_other_parameters(length, titles, expected):
    assert choose(np.array([length, length]), counted(titles)) == expected
    made = [Document(id=str(n), title=title, text="word " * (length - bool(title))) for n, title in enumerate(titles)]
    options = IndexOptions(languages=("en",))
    assert Index.of(made, None, options).lexical.options == expected
    given = IndexOptions(languages=("en",), bm25=BM25(k1=2.0, b=0.1))
    assert Index.of(made, None, given).lexical.options == BM25(k1=2.0, b=0.1)


def test_a_collection_without_documents_chooses_the_fixed_parameters():
    assert choose(np.zeros(0, np.int64), Titles()) == BM25()


def test_sorted_terms_find_each_term_and_nothing_else():
    terms = ["b", "a", "é", "東京", "aa", "z" * 50, ""]
    vocabulary, rank = SortedTerms.of(terms)
    assert vocabulary.numbers(terms) == rank.tolist()
    assert list(vocabulary) == sorted(term.encode() for term in terms)
    assert vocabulary.numbers(["absent", "b", "b"]) == [int(rank[0])] * 2


def test_a_collection_without_words_scores_nothing():
    assert Lexical.build(ANALYZER, ["", "..."]).scores(["anything"]).tolist() == [[0.0, 0.0]]
