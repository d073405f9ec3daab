"""An index that is changed answers as one that is built anew: what was added, replaced and deleted, in any order."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretrieve.core import files
from pretrieve.core.errors import DataError, LockedError, UsageError
from pretrieve.core.types import Document
from pretrieve.index.compaction import MERGED
from pretrieve.index.index import MODES, Changes, Index, IndexOptions
from pretrieve.index.lexical import BM25
from pretrieve.index.writing import writing
from pretrieve.models.bag import Bag
from searching import documents, queries, static_model

MADE = documents(60)
QUERIES = list(queries(MADE, 12)[0].values())
OPTIONS = IndexOptions(
    bm25=BM25(), dense=0.7, passages=0.4, languages=("en",)
)  # what an index keeps when it is updated


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Bag:
    return Bag.load(static_model(tmp_path_factory.mktemp("model") / "model", MADE))


@pytest.fixture(autouse=True, scope="module")
def without_waiting_for_the_disk() -> Iterator[None]:
    """Hundreds of commits: ``tests/core/test_commits.py`` looks at what a kill leaves."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


class Counting:
    """A model that counts the texts that it encodes."""

    def __init__(self, bag: Bag) -> None:
        self.bag, self.texts = bag, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.bag, name)

    def encode_documents(self, texts: list[str]) -> np.ndarray:
        self.texts += len(texts)
        return self.bag.encode_documents(texts)


def other(document: Document, version: int) -> Document:
    """Another text under the same id."""
    return replace(document, text=f"{MADE[version % len(MADE)].text} {document.text}")


def answers(index: Index) -> list[list[tuple[str, float]]]:
    """Ids and scores of all hits, in every mode."""
    return [
        [(index.members.name(number), score) for number, score in zip(found.tolist(), scores.tolist(), strict=True)]
        for mode in MODES
        for found, scores in index.rank(QUERIES, 100, mode)
    ]


def same_as_rebuilt(index: Index, expected: dict[str, Document], folder: Path, bag: Bag) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    rebuilt = Index.build(folder, expected.values(), bag, OPTIONS)
    assert len(index) == len(rebuilt) == len(index.documents)
    assert {document.id: document for document in index.documents} == expected
    assert answers(index) == answers(rebuilt)
    hits, again = index.search(QUERIES[0], k=5), rebuilt.search(QUERIES[0], k=5)
    assert hits == again
    assert files.verify(index.path)["files"] > 5  # type: ignore[arg-type]


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["add", "update", "delete", "compact"]),
        st.lists(st.tuples(st.integers(0, 59), st.integers(0, 5)), min_size=1, max_size=12),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=12, deadline=None)
@given(operations=OPERATIONS)
def test_any_sequence_of_changes_equals_a_rebuild(
    operations: list, bag: Bag, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("sequence")
    expected = {document.id: document for document in MADE[:30]}
    index = Index.build(folder / "index", expected.values(), bag, OPTIONS)
    for kind, picks in operations:
        chosen = {MADE[number].id: other(MADE[number], version) for number, version in picks}
        if kind == "add":
            index, _ = index.add(chosen.values())
            expected |= chosen
        elif kind == "update":
            expected = {name: expected.get(name, document) for name, document in chosen.items()}
            index, _ = index.add(expected.values(), remove=True)
        elif kind == "delete" and len(gone := [name for name in chosen if name in expected]) < len(expected):
            index, _ = index.delete(gone)
            expected = {name: document for name, document in expected.items() if name not in gone}
        elif kind == "compact":
            index = index.compact()
    same_as_rebuilt(index, expected, folder / "again", bag)
    same_as_rebuilt(index.compact(), expected, folder / "again", bag)
    shutil.rmtree(folder)


def test_changes_are_counted_and_only_new_texts_are_encoded(bag: Bag, tmp_path: Path) -> None:
    model = Counting(bag)
    Index.build(tmp_path / "index", MADE[:43], model, OPTIONS)
    index = Index.open(tmp_path / "index", model)
    before, model.texts = answers(index), 0
    given = [*MADE[:40], *MADE[50:53]]
    given[7] = other(given[7], 3)
    given[9] = replace(given[9], group="another record of the same text")
    changed, changes = index.add(given, remove=True)
    assert changes == Changes(new=3, changed=2, removed=3, unchanged=38, encoded=4)
    assert changes.describe() == "3 new, 2 changed, 3 removed, 38 unchanged; 4 encoded"
    assert model.texts == 4
    assert answers(index) == before, "an open index answers from its version"
    same_as_rebuilt(changed, {document.id: document for document in given}, tmp_path / "again", bag)
    manifest = (tmp_path / "index" / files.MANIFEST).read_bytes()
    _, changes = changed.add(given, remove=True)
    assert changes == Changes(unchanged=43)
    assert (tmp_path / "index" / files.MANIFEST).read_bytes() == manifest, "nothing is written where nothing changed"


def test_what_cannot_be_changed_is_refused(bag: Bag, tmp_path: Path) -> None:
    index = Index.build(tmp_path / "index", MADE[:5], bag, OPTIONS)
    before = (tmp_path / "index" / files.MANIFEST).read_bytes()
    with pytest.raises(UsageError, match="has no document 'nobody'"):
        index.delete(["d001", "nobody"])
    with pytest.raises(UsageError, match="no document would be left"):
        index.delete([document.id for document in MADE[:5]])
    with pytest.raises(DataError, match="both have the id 'd007'"):
        index.add([MADE[7], MADE[8], other(MADE[7], 1)])
    with pytest.raises(DataError, match="no documents"):
        index.add([])
    with writing(tmp_path / "index"), pytest.raises(LockedError, match="is being written by pid"):
        index.add(MADE[7:9])
    assert (tmp_path / "index" / files.MANIFEST).read_bytes() == before
    with pytest.raises(UsageError, match="in memory"):
        Index.of(MADE[:5], bag).add(MADE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]


def test_many_small_updates_write_each_document_a_few_times(bag: Bag, tmp_path: Path) -> None:
    """150 updates of one document each: what they write, beside what writing the index each time would."""
    index = Index.build(tmp_path / "index", MADE, bag, OPTIONS)
    known: set[int] = set()
    written = rewritten = 0
    for number in range(150):
        index, _ = index.add([Document(id=f"new{number}", text=MADE[number % 60].text)])
        sizes = {path.stat().st_ino: path.stat().st_size for path in (tmp_path / "index" / "parts").rglob("*")}
        written += sum(size for inode, size in sizes.items() if inode not in known)
        rewritten += sum(sizes.values())
        known = set(sizes)
        assert len(files.load_manifest(tmp_path / "index", "index")["meta"]["parts"]) <= 4 * MERGED
    assert len(index) == 210
    assert written < rewritten / 8


def test_equal_scores_in_several_parts_go_by_id(bag: Bag, tmp_path: Path) -> None:
    names = [f"{number:03}" for number in np.random.default_rng(0).permutation(90).tolist()]
    made = [Document(id=name, text=f"the same text {'again' if int(name) % 2 else ''}") for name in names]
    index = Index.build(tmp_path / "index", made[:30], bag, replace(OPTIONS, passages=0.0))
    for start in (30, 50, 70):
        index, _ = index.add(made[start : start + 20])
    for mode in MODES:
        hits = [hit.id for hit in index.search("text", k=20, mode=mode)]
        by_score = {hit.id: hit.score for hit in index.search("text", k=90, mode=mode)}
        assert hits == sorted(by_score, key=lambda name: (-by_score[name], name))[:20]
