from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, DataError, FingerprintError, UsageError
from pretrieve.core.types import Document
from pretrieve.index.dense import Dense
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.pseudo import full_text
from pretrieve.models.bag import Bag
from searching import documents, queries, static_model

MADE = documents(120)
QUERIES = list(queries(MADE, 25)[0].values())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    model = static_model(folder / "model", MADE)
    Index.build(folder / "index", MADE, Bag.load(model))
    return folder


@pytest.fixture
def index(place):
    return Index.open(place / "index")


def brute_force(index, query, mode):
    """All documents by the scores of plain NumPy, ties by id."""
    words = index.lexical.scores([query])[0].astype(np.float64)
    bag = Bag.load(__import__("pathlib").Path(index.dense.encoder.location))
    vectors = bag.encode([full_text(document) for document in MADE]).astype(np.float64)
    asked = bag.encode([query])[0].astype(np.float64)
    cosine = vectors @ asked / np.maximum(np.linalg.norm(vectors, axis=1) * np.linalg.norm(asked), 1e-12)
    (mean,), (deviation,) = index.lexical.moments([query])  # terms taken as independent: ``test_postings.py``
    fused = (words - mean) / max(deviation, 1e-12) + index.fusion.dense * (cosine - cosine.mean()) / cosine.std()
    scores = {"lexical": words, "dense": cosine, "hybrid": fused}[mode]
    order = sorted(range(len(MADE)), key=lambda number: (-round(float(scores[number]), 5), MADE[number].id))
    return [MADE[number].id for number in order if mode != "lexical" or words[number] > 0]


@pytest.mark.parametrize("mode", ["lexical", "dense", "hybrid"])
def test_search_gives_what_brute_force_gives(index, mode):
    for query in QUERIES:
        assert [hit.id for hit in index.search(query, k=7, mode=mode)] == brute_force(index, query, mode)[:7]


def test_in_memory_and_on_disk_are_the_same(place, index):
    memory = Index.of(MADE, Bag.load(place / "model"))
    assert memory.fusion == index.fusion
    for query in QUERIES:
        assert memory.search(query) == index.search(query)
    assert len(memory) == len(index) == len(MADE)
    assert "Fusion" in index.describe()


def test_a_batch_is_its_queries_one_by_one(index):
    for query, (found, scores) in zip(QUERIES, index.rank(QUERIES, 5), strict=True):
        ((alone, _),) = index.rank([query], 5)
        assert found.tolist() == alone.tolist()
        assert (np.diff(scores) <= 0).all()


def test_hits_show_the_best_sentence_with_the_words_marked():
    made = [
        Document(id="a", title="Keys", text="Nothing here. To rotate the keys, run it again. The end."),
        Document(id="b", title="", text="Something else entirely."),
    ]
    (hit,) = Index.of(made).search("rotating KEY", mode="lexical")
    assert (hit.rank, hit.id, hit.title) == (1, "a", "Keys")
    assert hit.sentence == "To rotate the keys, run it again."
    assert [hit.sentence[start:stop] for start, stop in hit.marks] == ["rotate", "keys"]
    assert hit.to_json()["marks"] == hit.marks


def test_without_a_shared_word_the_nearest_sentence_is_shown(index):
    class Nearest:
        fingerprint, similarity, location = "x", "dot", "nowhere"

        def encode_queries(self, texts):
            return np.ones((len(texts), 1), np.float32)

        def encode_documents(self, texts):
            return np.array([["yes" in text] for text in texts], np.float32)

    made = [Document(id="a", text="One no. This yes. Another no.")]
    (hit,) = Index.of(made, Nearest()).search("foreign", mode="dense")
    assert hit.sentence == "This yes."
    assert hit.marks == []


def test_an_empty_query_and_an_unknown_mode(index):
    assert index.search("neverheardof", mode="lexical") == []
    with pytest.raises(UsageError, match="the query is empty"):
        index.search("", mode="lexical")
    assert len(index.search("neverheardof", k=3)) == 3
    with pytest.raises(UsageError, match="Did you mean 'dense'"):
        index.search("x", mode="dens")  # type: ignore[arg-type]


def test_another_model_is_refused_by_both_fingerprints(place, tmp_path):
    other = Bag.load(static_model(tmp_path / "other", MADE, seed=1))
    with pytest.raises(FingerprintError) as error:
        Index.open(place / "index", other)
    assert other.fingerprint in str(error.value)
    assert Bag.load(place / "model").fingerprint in str(error.value)


def test_an_index_is_searched_without_the_folder_of_its_model_and_a_missing_index_is_refused(tmp_path):
    model = static_model(tmp_path / "model", MADE)
    hits = Index.build(tmp_path / "index", MADE, Bag.load(model)).search(QUERIES[0])
    model.rename(tmp_path / "moved")
    assert Index.open(tmp_path / "index").search(QUERIES[0]) == hits
    assert Index.open(tmp_path / "index", Bag.load(tmp_path / "moved")).search(QUERIES[0]) == hits
    with pytest.raises(UsageError, match="no such folder"):
        Index.open(tmp_path / "none")


DAMAGED = ["vectors", "words/counts", "words/terms.text", "ranks", "keys", "contents", "documents/records.jsonl"]


@pytest.mark.parametrize("name", [*(f"parts/000001/{name}" for name in DAMAGED), "model/tokenizer.json"])
def test_damage_is_refused(tmp_path, name):
    model = static_model(tmp_path / "model", MADE)
    Index.build(tmp_path / "index", MADE, Bag.load(model))
    path = tmp_path / "index" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(data)
    with pytest.raises(CorruptError, match=path.name):
        Index.open(tmp_path / "index")


def test_failure_leaves_nothing_behind(tmp_path):
    class Broken:
        fingerprint, similarity, location = "x", "dot", "a broken model"

        def encode_documents(self, texts):
            return np.full((len(texts), 2), np.nan, np.float32)

    with pytest.raises(DataError, match="not finite"):
        Index.build(tmp_path / "index", MADE, Broken())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_index_is_replaced_only_when_asked(tmp_path):
    bag = Bag.load(static_model(tmp_path / "model", MADE))
    Index.build(tmp_path / "index", MADE, bag)
    with pytest.raises(UsageError):
        Index.build(tmp_path / "index", MADE[:50], bag)
    assert len(Index.build(tmp_path / "index", MADE[:50], bag, replace=True)) == 50
    assert files.verify(tmp_path / "index")["files"] > 5


def test_dot_and_cosine_are_what_they_say(place):
    bag = Bag.load(place / "model")
    texts = [full_text(document) for document in MADE[:10]]
    raw = bag.encode(texts)
    asked = bag.encode(QUERIES[:3])

    class Dot:
        similarity, fingerprint, location = "dot", "x", "y"
        encode_queries = encode_documents = staticmethod(bag.encode)

    np.testing.assert_allclose(Dense.build(Dot(), [texts]).scores(QUERIES[:3]), asked @ raw.T, rtol=1e-5)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (asked, raw)]
    np.testing.assert_allclose(Dense.build(bag, [texts]).scores(QUERIES[:3]), unit[0] @ unit[1].T, rtol=1e-5)


def test_short_documents_take_the_weight_that_is_safe_for_them(place):
    short = [Document(id=str(number), text=" ".join(d.text.split()[:8])) for number, d in enumerate(MADE)]
    fusion = Index.of(short, Bag.load(place / "model")).fusion
    assert fusion.dense == 0.5
    assert "short" in fusion.reason
    assert Index.of(MADE, Bag.load(place / "model"), IndexOptions(dense=2.0)).fusion.dense == 2.0


def test_a_cold_search_imports_neither_torch_nor_transformers(place):
    code = (
        "import sys, json; from pathlib import Path; from pretrieve.index.index import Index\n"
        f"hits = Index.open(Path({str(place / 'index')!r})).search({QUERIES[0]!r})\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'scipy', 'bm25s', 'faiss', 'py3langid'}\n"
        "print(json.dumps([[hit.id for hit in hits], sorted(heavy & set(sys.modules))]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found, heavy = json.loads(done.stdout)
    assert found == [hit.id for hit in Index.open(place / "index").search(QUERIES[0])]
    assert heavy == []
