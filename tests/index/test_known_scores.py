"""What a batch of queries keeps: scores, moments and terms are those that are computed without it."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from pretrieve.index import analysis
from pretrieve.index.analysis import Analysis, Analyzer
from pretrieve.index.backends.remote import Remote
from pretrieve.index.candidates import CANDIDATES
from pretrieve.index.fuse import choose
from pretrieve.index.hits import sentence_spans
from pretrieve.index.index import Index
from pretrieve.index.lexical import Lexical
from pretrieve.index.options import IndexOptions
from pretrieve.index.pseudo import pseudo_queries
from pretrieve.index.rankers import Queries, completed, remember
from pretrieve.index.relevance import self_scores
from pretrieve.index.vector_options import VectorOptions
from pretrieve.index.weighing import choose_on_candidates
from pretrieve.models.bag import Bag
from searching import documents, static_model

TEXTS = [
    "Running runners ran to the camelCase of 東京都, 京都 too.",
    "",
    "läuft running a_b c3po Running ran",
    "the the of",
    "runs " * 40 + "camel Case",
]
LANGUAGES = [("en",), ("en", "de"), ("ja",)]


@pytest.mark.parametrize("languages", LANGUAGES)
@pytest.mark.parametrize(
    "query",
    ["running camelCase running", "京都 runners", "the of", "unknown words", "case a_b c3po ran läuft runs to a b c"],
)
def test_texts_are_scored_to_the_last_bit_as_pairs_are(languages, query) -> None:
    analyzer = Analyzer(Analysis(languages=languages), lambda text: "de" if "läuft" in text else "en")
    lexical = Lexical.build(analyzer, [*TEXTS, "camel cases", "京都 の 店"])
    rows, terms = analyzer.bulk(TEXTS)
    expected = lexical.scorer.score_pairs([analyzer.terms(query)] * len(TEXTS), rows, terms)
    np.testing.assert_array_equal(lexical.score_pairs([query] * len(TEXTS), TEXTS), expected)


def test_known_scores_are_not_computed_again_and_others_are() -> None:
    batch, asked = Queries(["a", "b"]), list[list[list[int]]]()
    remember(batch, "key", [(np.array([7, 2]), np.array([0.7, 0.2], np.float32)), (np.zeros(0, int), np.zeros(0))])

    def score(numbers):
        asked.append([some.tolist() for some in numbers])
        return [some.astype(np.float32) / 10 for some in numbers]

    found = completed(batch, "key", [np.array([2, 3, 7, 9]), np.array([7])], score)
    assert asked == [[[3, 9], [7]]]
    np.testing.assert_allclose(np.concatenate(found), [0.2, 0.3, 0.7, 0.9, 0.7])
    completed(["a", "b"], "key", [np.array([2]), np.array([7])], score)  # no batch: nothing is known
    assert asked[-1] == [[2], [7]]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    folder, made = tmp_path_factory.mktemp("known"), documents(3 * CANDIDATES)
    model = Bag.load(static_model(folder / "model", made))
    near = IndexOptions(languages=("en",), vectors=VectorOptions(recall=0.95, exact_up_to=1000))
    return Index.build(folder / "index", made, model, near)


def test_an_approximate_index_reads_no_vector_twice(index, monkeypatch) -> None:
    pytest.importorskip("faiss")
    assert index.dense is not None
    read, take = list[int](), type(index.dense).take

    def counted(self, numbers):
        read.extend(numbers.tolist())
        return take(self, numbers)

    query = " ".join(index.documents[5].text.split()[2:8])
    index.search(query)  # what is read once for all queries
    monkeypatch.setattr(type(index.dense), "take", counted)
    hits = index.search(query)
    assert len(read) == len(set(read)) > CANDIDATES
    monkeypatch.undo()
    alone = index.rankers()
    assert [hit.id for hit in hits] == index.members.names(next(iter(index.rank([query], 10)))[0])
    for ranker, _ in alone:  # the scores that are kept are those that are not
        batch = Queries([query])
        ((numbers, scores),) = ranker.top(batch, 50)
        np.testing.assert_array_equal(ranker.score_documents(batch, [numbers])[0], scores)
        np.testing.assert_array_equal(ranker.score_documents([query], [numbers])[0], scores)


def test_weights_on_candidates_are_those_over_all_documents(index) -> None:
    assert index.dense is not None
    sets = pseudo_queries(index.documents, 100, 0, sentence_spans)
    for own in (False, True):
        everywhere = choose(index.lexical, index.dense, sets, own=own)
        found = choose_on_candidates(index.lexical, index.dense, sets, index.members, own=own, block=7)
        assert (found.dense, found.queries, found.reason) == (everywhere.dense, everywhere.queries, everywhere.reason)
        for weight, gain in everywhere.seen.items():
            assert found.seen[weight] == pytest.approx(gain, abs=0.01)


def test_a_large_collection_is_weighed_on_candidates(index, tmp_path, monkeypatch) -> None:
    made, small = list(index.documents), IndexOptions(languages=("en",))
    model = index.dense.encoder
    expected = Index.build(tmp_path / "small", made, model, small).fusion
    monkeypatch.setattr("pretrieve.index.building.SMALL", 100)
    monkeypatch.setattr(Lexical, "scores", lambda *_: pytest.fail("all documents are scored"))
    found = Index.build(tmp_path / "large", made, model, small).fusion
    assert found.dense == expected.dense
    assert found.reason == expected.reason


class Unasked:
    """A collection that nobody may ask."""

    path = None

    @property
    def backend(self):
        pytest.fail("nothing is looked up")


def test_a_document_that_says_the_query_has_one_score_wherever_the_best_come_from(index) -> None:
    assert index.dense is not None
    remote = Remote(
        field="dense", local=index.dense, members=index.members, holder=Unasked(), vectors=index.dense.encode
    )
    query = Queries([" ".join(index.documents[5].text.split()[2:8])])
    assert self_scores(index.lexical, remote, query) == self_scores(index.lexical, index.dense, query)


def test_terms_of_queries_are_kept_but_not_shared(monkeypatch) -> None:
    monkeypatch.setattr(analysis, "_ASKED", 2)
    analyzer = Analyzer(Analysis())
    for query in ("the running man", "a camelCase", "third", "the running man", "long " * 400):
        analyzer.terms(query).append("changed by the caller")
        assert analyzer.terms(query) == Analyzer(Analysis()).terms(query)
        assert len(analyzer._asked) <= 2
    assert not any(len(text) > 1024 for text in analyzer._asked)
    assert copy.copy(analyzer).terms("the running man") == analyzer.terms("the running man")


def test_words_without_terms_do_not_hide_marks() -> None:
    analyzer, known = Analyzer(Analysis()), {}
    terms = frozenset(analyzer.terms("running camelCase"))
    for text in ("He runs and Running.", "and camelCase runs", "and he"):
        assert analyzer.spans(text, terms, known) == analyzer.spans(text, terms)
    assert {word for word, spans in known.items() if not spans} == {"He", "and", "he"}
