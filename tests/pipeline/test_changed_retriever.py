"""A retriever whose documents change: hits are those of one that is built anew; vectors of texts, and what is shown."""

from __future__ import annotations

import pickle
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import searching
from pretrieve import Retriever
from pretrieve.core.errors import DataError, UsageError
from pretrieve.index.find import search
from pretrieve.index.index import MODES, Changes, Index

MADE = searching.documents(40)
RECORDS = [{"id": one.id, "title": one.title, "text": one.text} for one in MADE]
QUERIES = [MADE[number].text[:40] for number in (2, 19, 30)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searching.static_model(tmp_path_factory.mktemp("model") / "model", MADE)


def hits(retriever: Retriever) -> list:
    """By words and by vectors: the weights of fusion are chosen when an index is built."""
    return [
        [(hit.id, hit.score, hit.text) for hit in found]
        for mode in ("lexical", "dense")
        for found in retriever.search(QUERIES, top_k=50, mode=mode)
    ]


def rebuilt(model: Path, records: list, folder: Path) -> Retriever:
    Retriever(Retriever.load(model).model, str(model), [MADE[RECORDS.index(one)] for one in records]).save(folder)
    return Retriever.load(folder)


@pytest.mark.parametrize("kind", ["loaded", "in memory", "a model alone"])
def test_hits_after_changes_are_those_of_a_rebuild(model: Path, tmp_path: Path, kind: str) -> None:
    retriever = Retriever.load(model)
    if kind == "in memory":
        retriever.documents = MADE[:20]
    if kind == "loaded":
        retriever = rebuilt(model, RECORDS[:20], tmp_path / "index")
    before = Index.open(tmp_path / "index") if kind == "loaded" else None
    if kind == "a model alone":
        assert retriever.add(RECORDS[:20]) == Changes(new=20, encoded=20)
    changed = {**RECORDS[3], "text": f"{RECORDS[3]['text']} and more"}
    assert retriever.add([*RECORDS[20:30], changed]) == Changes(new=10, changed=1, encoded=11)
    assert retriever.add({one["id"]: one for one in RECORDS[30:32]}) == Changes(new=2, encoded=2)
    assert retriever.add(RECORDS[3:5]) == Changes(changed=1, unchanged=1, encoded=1)
    assert retriever.delete([RECORDS[0]["id"], RECORDS[25]["id"]]) == Changes(removed=2, unchanged=30)
    left = [*RECORDS[1:25], *RECORDS[26:32]]
    again = rebuilt(model, left, tmp_path / "again")
    assert hits(retriever) == hits(again)
    assert len(retriever.documents or []) == 30
    if before is not None:
        assert hits(Retriever.load(tmp_path / "index")) == hits(again), "it is the index on disk that changed"
        assert len(before.search(QUERIES[0], k=50, mode="dense")) == 20, "one that is open answers as before"
    retriever.save(tmp_path / "saved")
    assert hits(Retriever.load(tmp_path / "saved")) == hits(again)


def test_what_cannot_be_changed_is_refused(model: Path, tmp_path: Path) -> None:
    retriever = rebuilt(model, RECORDS[:5], tmp_path / "index")
    before = hits(retriever)
    for wrong, said in (
        (["a text"], r"documents\[0\] has no id: give records with ids"),
        ([RECORDS[7], {"text": "x"}], r"documents\[1\] has no id"),
        ("docs/", "documents is of type str"),
        ([], "documents is empty"),
    ):
        with pytest.raises(UsageError, match=said):
            retriever.add(wrong)
    with pytest.raises(DataError, match="two of documents have the id 'd007'"):
        retriever.add([RECORDS[7], RECORDS[7]])
    with pytest.raises(UsageError, match="has no document 'nobody'"):
        retriever.delete(["nobody"])
    with pytest.raises(UsageError, match="ids='d001': give a list"):
        retriever.delete("d001")
    with pytest.raises(UsageError, match="no document would be left"):
        retriever.delete([one["id"] for one in RECORDS[:5]])
    with pytest.raises(UsageError, match="holds no documents"):
        Retriever.load(model).delete(["d001"])
    assert hits(retriever) == before


def test_vectors_of_texts(tmp_path: Path) -> None:
    import labelling

    retriever = Retriever.load(
        labelling.static_model(tmp_path / "model", prompts={"query": "doba ", "document": "nepo "})
    )
    texts = ["baki dolu", "mane pora nelu"]
    documents, queries = retriever.encode(texts), retriever.encode(iter(texts), queries=True)
    assert documents.dtype == queries.dtype == np.float32
    assert np.array_equal(documents, retriever.model.encode_documents(texts))
    assert np.array_equal(queries, retriever.model.encode_queries(texts))
    assert not np.array_equal(documents, queries)
    with pytest.raises(UsageError, match="texts='one': give a list"):
        retriever.encode("one")
    with pytest.raises(UsageError, match=r"texts\[1\] is 3"):
        retriever.encode(["a", 3])  # type: ignore[list-item]


def test_it_is_shown_in_a_line(model: Path, tmp_path: Path) -> None:
    assert repr(Retriever.load(model)) == f"Retriever({str(model)!r}, no documents)"
    retriever = Retriever(Retriever.load(model).model, "a-model", MADE[:7])
    assert repr(retriever) == "Retriever('a-model', 7 documents)"
    retriever.search("a")
    assert repr(retriever).startswith("Retriever('a-model', 7 documents, BM25 1, vectors 0.")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hits_are_a_list_that_notebooks_show_escaped(model: Path) -> None:
    hostile = {
        "id": "<script>1</script>",
        "title": '"><img src=x onerror=alert(1)>',
        "text": f"<b onclick=1>{MADE[2].text}",
    }
    retriever = Retriever.load(model)
    for found in (retriever.search(QUERIES[0], [hostile, *RECORDS[:3]]), *retriever.search(QUERIES[:1], [hostile])):
        assert isinstance(found, list)
        assert found[0].id in (hostile["id"], "d002")
        html, parser = found._repr_html_(), Tags()
        parser.feed(html)
        assert parser.tags <= {"table", "thead", "tbody", "tr", "th", "td", "b", "br", "mark"}
        assert parser.attributes == {"style"}
        assert "&lt;img" in html
        assert "<mark>" in html
        assert pickle.loads(pickle.dumps(found)) == found


def test_the_index_says_the_relevance_that_search_says(model: Path) -> None:
    index = Index.of(MADE, Retriever.load(model).model)
    for mode in MODES:
        many = index.search_many([*QUERIES, "unheard words"], 5, mode)
        for query, found in zip([*QUERIES, "unheard words"], many, strict=True):
            assert found == search(index, query, 5, mode).hits == index.search(query, 5, mode)
            values = [hit.relevance for hit in found]
            assert None not in values
            assert values == sorted(values, reverse=True)  # type: ignore[type-var]
        assert many[0][0].relevance > 0.2  # type: ignore[operator]
