"""An index of several vectors a document: the best view counts, a document stands once, nothing is missed."""

import numpy as np
import pytest

from pretrieve.core import files
from pretrieve.core.errors import DataError
from pretrieve.core.types import Document
from pretrieve.index.dense import Dense
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.scoring import best_scores, pair_scores
from searching import documents, queries

MADE = documents(80)
QUERIES = list(queries(MADE, 20)[0].values())
VIEWS, SIZE = 3, 8


def hashed(text: str, stream: str) -> np.ndarray:
    """A vector that depends on the text's words alone."""
    words = text.lower().replace(".", "").split() or [""]
    seeds = [[sum(map(ord, stream)), *map(ord, word)] for word in words]
    return np.sum([np.random.default_rng(seed).normal(size=SIZE) for seed in seeds], axis=0)


class Viewed:
    """A model with three views: of a text's first, second and last third."""

    fingerprint, similarity, location = "views", "dot", "a model with views"

    def encode_queries(self, texts):
        return np.array([hashed(text, "q") for text in texts], np.float32)

    def encode_documents(self, texts):
        parts = [np.array_split(np.array(text.split() or [""]), VIEWS) for text in texts]
        return np.array([[hashed(" ".join(part), "q") for part in row] for row in parts], np.float32)


class Single(Viewed):
    """The same model with the first view alone, (R, D)."""

    def encode_documents(self, texts):
        return super().encode_documents(texts)[:, 0]


def test_the_score_is_that_of_the_best_view() -> None:
    rng = np.random.default_rng(0)
    asked, views = rng.normal(size=(5, SIZE)), rng.normal(size=(7, VIEWS, SIZE))
    slow = np.array([[max(float(q @ view) for view in document) for document in views] for q in asked])
    np.testing.assert_allclose(best_scores(asked, views), slow, rtol=0, atol=1e-12)
    np.testing.assert_allclose(best_scores(asked, views[:, 0]), asked @ views[:, 0].T, rtol=0, atol=1e-12)
    np.testing.assert_allclose(pair_scores(asked, views[:5]), np.diag(slow[:, :5]), rtol=0, atol=1e-12)
    alone = [
        np.concatenate([best_scores(query[None], views), best_scores(query[None], views[:, 0])]) for query in asked
    ]
    together = [best_scores(asked, views), best_scores(asked, views[:, 0])]
    np.testing.assert_allclose(np.stack(alone, 1), together, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_all_views_searched_and_grouped_by_document_keep_the_best(mode, tmp_path) -> None:
    """Against a search over all vectors one by one, from which later hits of a document are dropped."""
    index = Index.build(tmp_path / "index", MADE, Viewed(), IndexOptions(dense=0.7))
    vectors = np.asarray(index.dense.vectors)
    flat, owners = vectors.reshape(-1, SIZE), np.repeat(np.arange(len(MADE)), VIEWS)
    for query in QUERIES:
        scores = flat @ Viewed().encode_queries([query])[0]
        firsts = list(dict.fromkeys(owners[np.argsort(-scores, kind="stable")].tolist()))  # best view first, once each
        best = np.array([scores[owners == number].max() for number in range(len(MADE))])
        if mode == "hybrid":
            words = index.lexical.scores([query])[0]
            (mean,), (deviation,) = index.lexical.moments([query])
            best = (words - mean) / deviation + 0.7 * (best - best.mean()) / best.std()
            firsts = np.argsort(-best, kind="stable").tolist()
        hits = index.search(query, k=10, mode=mode)
        assert [hit.id for hit in hits] == [MADE[number].id for number in firsts[:10]]
        assert len({hit.id for hit in hits}) == 10
        np.testing.assert_allclose([hit.score for hit in hits], best[firsts[:10]], rtol=1e-4, atol=1e-4)


def test_every_document_is_reached_whatever_k(tmp_path) -> None:
    index = Index.of(MADE, Viewed(), IndexOptions(dense=1.0))
    ((found, _),) = index.rank([QUERIES[0]], len(MADE), "dense")
    assert sorted(found.tolist()) == list(range(len(MADE)))
    blocks = [numbers.tolist() for numbers, _ in index.rank(QUERIES, 5, "dense")]
    assert blocks == [next(iter(index.rank([query], 5, "dense")))[0].tolist() for query in QUERIES]


def test_the_manifest_says_how_many_views_and_an_index_of_one_says_nothing(tmp_path) -> None:
    several = Index.build(tmp_path / "several", MADE, Viewed())
    single = Index.build(tmp_path / "single", MADE, Single())
    facts = [files.load_manifest(tmp_path / name, "index")["meta"]["model"] for name in ("several", "single")]
    assert facts[0]["views"] == several.dense.views == VIEWS
    assert "views" not in facts[1]
    assert single.dense.views == 1
    assert np.asarray(several.dense.vectors).shape == (len(MADE), VIEWS, SIZE)
    assert np.asarray(single.dense.vectors).shape == (len(MADE), SIZE)
    assert "3 a document" in several.describe()
    assert "a document" not in single.describe()
    again = Index.open(tmp_path / "several", Viewed())
    assert again.search(QUERIES[0]) == several.search(QUERIES[0]) == Index.of(MADE, Viewed()).search(QUERIES[0])


def test_a_sentence_is_shown_by_its_best_view_where_no_word_is_shared() -> None:
    class Nearest(Viewed):
        def encode_queries(self, texts):
            return np.ones((len(texts), 1), np.float32)

        def encode_documents(self, texts):
            return np.array([[[-1.0], [float("yes" in text)]] for text in texts], np.float32)

    (hit,) = Index.of([Document(id="a", text="One no. This yes. Another no.")], Nearest()).search("x", mode="dense")
    assert hit.sentence == "This yes."


def test_a_view_that_is_not_finite_is_refused() -> None:
    class Broken(Viewed):
        def encode_documents(self, texts):
            views = super().encode_documents(texts)
            views[1, 2, 0] = np.nan
            return views

    with pytest.raises(DataError, match="not finite, for the text 'second'"):
        Dense.build(Broken(), [["first", "second"]])


def test_cosine_makes_every_view_of_length_one() -> None:
    class Cosine(Viewed):
        similarity = "cosine"

    dense = Dense.build(Cosine(), [[document.text for document in MADE[:9]]])
    np.testing.assert_allclose(np.linalg.norm(dense.vectors, axis=2), 1, atol=1e-6)
