"""Approximate search and smaller vectors beside exact search in float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pretrieve.core import files
from pretrieve.core.errors import CorruptError, UsageError
from pretrieve.core.types import Document
from pretrieve.index.compressed import Compressed, compress
from pretrieve.index.index import Index, IndexOptions
from pretrieve.index.recall import Loss
from pretrieve.index.storing import held_out_queries
from pretrieve.index.vector_options import VectorOptions

SIZE, COUNT = 64, 4000
RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(60, SIZE))
VECTORS = (CENTRES[RNG.integers(60, size=COUNT)] + 0.5 * RNG.normal(size=(COUNT, SIZE))).astype(np.float32)
DOCUMENTS = [Document(id=f"d{n:05}", text=f"number{n}") for n in range(COUNT)]
QUERIES = [f"near{n}" for n in range(0, COUNT, 40)]
NEAR = IndexOptions(dense=1.0, vectors=VectorOptions(recall=0.95, exact_up_to=1000))


class Numbers:
    """A model that knows the vector of each number; a query's is beside that of its document."""

    fingerprint, similarity, location, views = "numbers", "cosine", "a model of numbers", 1

    def encode_queries(self, texts):
        numbers = [int("".join(filter(str.isdigit, text))) for text in texts]
        noise = [np.random.default_rng(n + 1).normal(size=SIZE) for n in numbers]
        return np.array(VECTORS[numbers] + 0.4 * np.array(noise), np.float32)

    def encode_documents(self, texts):
        return VECTORS[[int(text.removeprefix("number")) % COUNT for text in texts]]


class Several(Numbers):
    """The same with three vectors of a document."""

    fingerprint = "several"

    def encode_documents(self, texts):
        first = super().encode_documents(texts)
        return np.stack([first, np.roll(first, 7, axis=1), -first], axis=1)


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Index:
    return Index.build(tmp_path_factory.mktemp("near") / "index", DOCUMENTS, Numbers(), NEAR)


def hits(index: Index, k: int = 10, mode: str = "dense", allowed=None) -> list[list[str]]:
    return [index.members.names(found) for found, _ in index.rank(QUERIES, k, mode, allowed=allowed)]


def overlap(found: list[list[str]], exact: list[list[str]]) -> float:
    return float(np.mean([len({*a} & {*b}) / max(1, len(b)) for a, b in zip(found, exact, strict=True)]))


def exact(encoder=None, documents=DOCUMENTS) -> Index:
    return Index.of(documents, encoder or Numbers(), IndexOptions(dense=1.0))


def facts_of(index: Index, part: int = 0):
    assert index.path is not None
    return files.load_manifest(index.path, "index")["meta"]["parts"][part].get("measured", {}).get("vectors", {})


def test_the_recall_that_is_asked_for_is_reached_and_told(near: Index) -> None:
    measured = facts_of(near)["approximate"]
    assert near.dense is not None
    assert near.dense.near[0] is not None
    assert measured["probes"] < measured["lists"] // 2
    assert measured["recall"] >= 0.93
    assert overlap(hits(near), hits(exact())) >= 0.93
    assert f"recall@10 {measured['recall']:.3f} of exact search" in near.describe()


def test_scores_are_exact_and_ordered(near: Index) -> None:
    assert near.dense is not None
    asked = near.dense.encode(QUERIES)
    for query, (found, scores) in zip(asked, near.rank(QUERIES, 10, "dense"), strict=True):
        np.testing.assert_allclose(scores, near.dense.vectors[found] @ query, rtol=0, atol=1e-6)
        assert (np.diff(scores) <= 0).all()


def test_a_recall_of_one_is_exact_search(tmp_path: Path) -> None:
    options = replace(NEAR, vectors=replace(NEAR.vectors, recall=1.0))
    index = Index.build(tmp_path / "index", DOCUMENTS, Numbers(), options)
    assert facts_of(index) == {}
    assert hits(index) == hits(exact())


def test_more_recall_looks_at_more_lists(tmp_path: Path, near: Index) -> None:
    probes = []
    for recall in (0.3, 0.995):
        options = replace(NEAR, vectors=replace(NEAR.vectors, recall=recall))
        index = Index.build(tmp_path / str(recall), DOCUMENTS, Numbers(), options)
        probes.append(facts_of(index)["approximate"]["probes"])
    assert probes[0] < facts_of(near)["approximate"]["probes"] < probes[1]


@pytest.mark.parametrize("part", [0.5, 0.1, 0.02, 0.001])
def test_filters_find_what_exact_search_finds(near: Index, part: float) -> None:
    allowed = np.random.default_rng(3).random(COUNT) < part
    found, wanted = hits(near, allowed=allowed), hits(exact(), allowed=allowed)
    assert [len(row) for row in found] == [len(row) for row in wanted]
    assert all(allowed[int(name[1:])] for row in found for name in row)
    assert overlap(found, wanted) >= 0.93


def test_as_many_hits_as_are_wanted(near: Index) -> None:
    for k in (1, 500, 3000, COUNT + 5):
        assert {len(row) for row in hits(near, k)} == {min(k, COUNT)}
    assert [row[:10] for row in hits(near, 40)] == hits(near, 10)


def test_hybrid_search_is_near_that_of_exact_search(near: Index) -> None:
    assert overlap(hits(near, mode="hybrid"), hits(exact(), mode="hybrid")) >= 0.93


def test_updates_stay_exact_and_compaction_learns_again(near: Index, tmp_path: Path) -> None:
    index = Index.build(tmp_path / "index", DOCUMENTS[:3000], Numbers(), NEAR)
    index, _ = index.add(DOCUMENTS[3000:])
    assert index.dense is not None
    assert [one is not None for one in index.dense.near] == [True, False]
    index, _ = index.delete([document.id for document in DOCUMENTS[:50]])
    wanted = hits(exact(documents=DOCUMENTS[50:]))
    assert overlap(hits(index), wanted) >= 0.93
    assert not {name for row in hits(index) for name in row} & {document.id for document in DOCUMENTS[:50]}
    index = index.compact()
    assert facts_of(index)["approximate"]["kind"] == "pseudo-queries"
    assert len(index.dense.near) == 1 if index.dense else False
    assert overlap(hits(index), wanted) >= 0.93


def test_small_parts_that_are_merged_become_approximate(tmp_path: Path) -> None:
    options = replace(NEAR, vectors=replace(NEAR.vectors, exact_up_to=2500))
    index = Index.build(tmp_path / "index", DOCUMENTS[:2000], Numbers(), options)
    index, _ = index.add(DOCUMENTS[2000:])
    assert index.dense is not None
    assert not any(index.dense.near)
    index = index.compact()
    assert facts_of(index)["approximate"]["kind"] == "vectors of documents, with noise"
    assert overlap(hits(index), hits(exact())) >= 0.93


def test_several_vectors_of_a_document(tmp_path: Path) -> None:
    index = Index.build(tmp_path / "index", DOCUMENTS, Several(), NEAR)
    assert index.dense is not None
    assert index.dense.near[0] is not None
    assert index.dense.near[0].views == 3
    whole = exact(Several())
    assert overlap(hits(index), hits(whole)) >= 0.93
    allowed = np.arange(COUNT) % 2 == 0
    assert overlap(hits(index, allowed=allowed), hits(whole, allowed=allowed)) >= 0.93


@pytest.mark.parametrize(("dtype", "recall", "difference"), [("float16", 0.99, 2e-4), ("int8", 0.95, 4e-3)])
@pytest.mark.parametrize("encoder", [Numbers(), Several()])
@pytest.mark.parametrize("exact_up_to", [10**6, 1000])
def test_smaller_vectors_tell_their_loss(tmp_path: Path, dtype, recall, difference, encoder, exact_up_to) -> None:
    vectors = VectorOptions(dtype=dtype, exact_up_to=exact_up_to)
    index = Index.build(tmp_path / "index", DOCUMENTS, encoder, replace(NEAR, vectors=vectors))
    loss = facts_of(index)["loss"]
    assert recall <= loss["recall"] <= 1
    assert 0 < loss["difference"] < difference
    assert f"stored as {dtype}: recall@10 {loss['recall']:.3f} of float32" in index.describe()
    size = (index.path / "parts/000001/vectors").stat().st_size
    assert size == 128 + COUNT * (3 if isinstance(encoder, Several) else 1) * SIZE * (2 if dtype == "float16" else 1)
    assert overlap(hits(index), hits(exact(encoder))) >= 0.9


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_an_updated_index_of_smaller_vectors_equals_a_new_one(tmp_path: Path, dtype) -> None:
    options = replace(NEAR, vectors=VectorOptions(dtype=dtype))
    titled = [replace(document, group="other") for document in DOCUMENTS[:100]]
    index = Index.build(tmp_path / "updated", DOCUMENTS[:200], Numbers(), options)
    index, changes = index.add(titled)  # the same texts: vectors are copied
    assert changes.encoded == 0
    whole = Index.build(tmp_path / "new", [*DOCUMENTS[100:200], *titled], Numbers(), options)

    def scored(index: Index) -> list[list[tuple[str, float]]]:
        return [
            [*zip(index.members.names(found), scores.tolist(), strict=True)]
            for found, scores in index.rank(QUERIES[:20], 20, "dense")
        ]

    assert scored(index) == scored(whole)
    assert scored(index.compact()) == scored(whole)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 3e4])
def test_what_is_stored_again_is_the_same(scale: float) -> None:
    vectors = np.vstack([VECTORS * np.float32(scale), np.zeros((1, SIZE), np.float32)])
    for dtype in ("float16", "int8"):
        once = compress(vectors, dtype)  # type: ignore[arg-type]
        again = compress(np.asarray(once[:]), dtype)  # type: ignore[arg-type]
        assert isinstance(once, Compressed)
        assert (np.asarray(once[:]) == np.asarray(again[:])).all()
        assert np.isfinite(np.asarray(once[:])).all()
    np.testing.assert_allclose(np.asarray(once[:]), vectors, atol=float(np.abs(vectors).max()) / 200)


def test_the_loss_is_that_of_a_product_with_everything() -> None:
    queries, stored = VECTORS[:50], np.asarray(compress(VECTORS, "int8")[:])
    loss = Loss(queries)
    for rows in np.array_split(np.arange(COUNT), 7):
        loss.add(VECTORS[rows], stored[rows])
    best, found = (np.argsort(-(queries @ side.T), axis=1)[:, :10] for side in (VECTORS, stored))
    facts = loss.facts()
    assert facts["recall"] == pytest.approx(np.mean([len({*a} & {*b}) / 10 for a, b in zip(best, found, strict=True)]))
    assert facts["queries"] == 50


def test_damage_is_refused(near: Index, tmp_path: Path) -> None:
    index = Index.build(tmp_path / "index", DOCUMENTS, Numbers(), NEAR)
    assert index.path is not None
    place = index.path / "parts/000001/vectors.near"
    whole = place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptError):
        Index.open(index.path, Numbers())
    place.unlink()
    with pytest.raises(CorruptError):
        Index.open(index.path, Numbers())


@pytest.mark.parametrize("options", [{"recall": 1.5}, {"recall": -0.1}, {"exact_up_to": -1}, {"dtype": "int4"}])
def test_bounds(options, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Index.build(tmp_path / "index", DOCUMENTS[:5], Numbers(), IndexOptions(vectors=VectorOptions(**options)))


def test_what_is_told_reaches_what_was_wanted(tmp_path) -> None:
    """Many queries find all of their neighbours or none: one half may say that a recall is reached, and it is not."""
    pytest.importorskip("faiss")
    from pretrieve.index.approximate import _chosen, _trained

    index = _trained(VECTORS)
    index.add(VECTORS)
    queries = VECTORS[:512].copy()
    queries[1::2] += VECTORS[1000:1256] + VECTORS[2000:2256]  # the half that chooses is the easy one
    found = _chosen(index, VECTORS, queries, 0.95, "test")
    assert found is not None
    assert found.recall >= 0.95


class Asked(Numbers):
    """The same, and it keeps what it was asked."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode_queries(self, texts):
        self.texts += texts
        return np.ones((len(texts), SIZE), np.float32)


def test_held_out_queries_are_as_short_as_those_of_people() -> None:
    sentences = [" ".join(f"word{n + at}" for at in range(15)) + "." for n in range(0, 3000, 15)]
    documents = [Document(id=str(n), text=" ".join(sentences[n : n + 4])) for n in range(0, len(sentences), 4)]
    model = Asked()
    assert len(held_out_queries(documents, model)) == len(model.texts) >= 40
    whole = " ".join(sentences)
    assert {len(text.split()) for text in model.texts} == {6}
    assert all(text in whole for text in model.texts)
    starts = {text.split()[0] for text in model.texts}
    assert len(starts) > len(sentences) / 8  # not always the first words
