"""Retrievers, indexes, documents and static models in copies and in other processes."""

from __future__ import annotations

import copy
import pickle
import shutil
import subprocess
import sys

import pytest

import labelling
from pretrieve import Retriever
from pretrieve.core.errors import FingerprintError, UsageError
from pretrieve.core.types import Document
from pretrieve.index.index import Index
from pretrieve.models.bag import Bag
from pretrieve.text.documents import Documents
from searching import documents, static_model

MADE = documents(40)
QUERY = MADE[7].text[:40]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    Index.build(folder / "index", MADE, Bag.load(static_model(folder / "model", MADE)))
    Documents.write(folder / "documents", MADE)
    return folder


def again(value):
    return pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("copied", [again, copy.deepcopy, copy.copy])
def test_what_is_on_disk_is_opened_again(place, copied):
    retriever = Retriever.load(place / "index")
    hits = retriever.search(QUERY)
    assert copied(retriever).search(QUERY) == hits
    assert copied(retriever.index).search(QUERY) == retriever.index.search(QUERY)
    assert list(copied(Documents.open(place / "documents"))) == list(Documents.open(place / "documents"))
    bag = Bag.load(place / "model")
    assert (copied(bag).encode([QUERY]) == bag.encode([QUERY])).all()
    assert copied(bag).location == bag.location


def test_little_is_sent(place):
    assert len(pickle.dumps(Retriever.load(place / "index"))) < 2000
    assert len(pickle.dumps(Retriever.load(place / "model"))) < 2000


def test_a_transformer_is_sent_by_its_path(tmp_path):
    """Alone, with documents in memory, and in an index whose own copy it is."""
    model = labelling.transformer_model(tmp_path / "model")
    retriever = Retriever.load(model, query_prompt="kilu ")
    alone = pickle.dumps(retriever)
    assert len(alone) < 2000
    assert (pickle.loads(alone).model.encode_queries([QUERY]) == retriever.model.encode_queries([QUERY])).all()
    retriever.documents = MADE
    assert again(retriever).search(QUERY, top_k=3) == retriever.search(QUERY, top_k=3)
    retriever.save(tmp_path / "index")
    shutil.rmtree(model)
    stored = Retriever.load(tmp_path / "index")
    assert len(pickle.dumps(stored)) < 2000
    assert again(stored).search(QUERY) == stored.search(QUERY)


def test_an_index_in_memory_is_copied_whole(place):
    made = [Document(id="a", text="violins sound"), Document(id="b", text="castles stand")]
    for encoder in (None, Bag.load(place / "model")):
        index = Index.of(made, encoder)
        index.search("violin")
        assert again(index).search("violin") == index.search("violin")
        assert copy.deepcopy(index).search("violin") == index.search("violin")


POOL = """
import multiprocessing, os, sys
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from pretrieve import Retriever

def search(retriever, query):
    return [(hit.id, hit.score) for hit in retriever.search(query)]

if __name__ == "__main__":
    retriever = Retriever.load(sys.argv[2])
    with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
        found = pool.starmap(search, [(retriever, query) for query in sys.argv[3:]])
    assert found == [search(retriever, query) for query in sys.argv[3:]]
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_pool_of_processes(place, tmp_path, method):
    """In a program of its own: a fork of the tests' process, with the threads of other libraries, may block."""
    (tmp_path / "pool.py").write_text(POOL)
    queries = [document.text[:30] for document in MADE[:4]]
    command = [sys.executable, str(tmp_path / "pool.py"), method, str(place / "index"), *queries]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_no_longer_there_or_another_is_refused(tmp_path):
    Documents.write(tmp_path / "documents", MADE)
    sent = pickle.dumps(Documents.open(tmp_path / "documents"))
    shutil.rmtree(tmp_path / "documents")
    with pytest.raises(UsageError, match="documents"):
        pickle.loads(sent)
    Documents.write(tmp_path / "documents", MADE[:5])
    with pytest.raises(FingerprintError, match="open it again"):
        pickle.loads(sent)
    sent = pickle.dumps(Bag.load(static_model(tmp_path / "model", MADE)))
    shutil.rmtree(tmp_path / "model")
    static_model(tmp_path / "model", MADE, seed=2)
    with pytest.raises(FingerprintError, match="open it again"):
        pickle.loads(sent)
